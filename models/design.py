"""From an appeal's features to plain numbers, and which coefficients they meet."""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign, isfinite, log, log1p
from typing import Any, NamedTuple

from models.coefficients import Coefficients
from models.shrinkage import Shrinkage
from models.stock import HALF_LIVES_DAYS

__all__ = ["AXES", "LOG_HALF_LIVES", "Appeal", "Layout", "read_appeal"]

AXES = ("own", "kind", "crowd")
STOCK_KEYS = ("own", "kind_stock", "crowd")
KNOWN = frozenset(
    ("time_days", "appealer", "kind", "audience", "exposure", "own", "kind_stock", "crowd")
    + ("repeat", "reciprocity", "attributes")
)
LOG_HALF_LIVES: list[float] = [log(h) for h in HALF_LIVES_DAYS]
_STEP = LOG_HALF_LIVES[1] - LOG_HALF_LIVES[0]
OTHER = "other"
WEEKDAYS = 7

INTERCEPT_MEAN, INTERCEPT_SD = (
    -4.0,
    3.0,
)  # one response in fifty people, give or take a factor of twenty
HALF_LIFE_MEAN_DAYS, HALF_LIFE_LOG_SD = 16.0, 0.7
# Grids of prior sds. Those of wear-out are per typical stock of the axis.
WEAR_GRID, WEAR_SD = [0.01, 0.03, 0.1, 0.3], 0.1
WEAR = [(0.1, 0.3, 0.85), (0.2, 0.3, 0.85), (0.02, 0.8, 0.95)]
KIND_NONE, MODERATOR_NONE = 0.7, 0.7
KIND_GRID, KIND_SD = [0.002, 0.01, 0.04, 0.15], 0.01
BASE_GRID, BASE_SD = [0.1, 0.3, 1.0], 0.4
MODERATOR_GRID, MODERATOR_SD = [0.02, 0.1, 0.5], 0.1
WEEKDAY_GRID, WEEKDAY_SD = [0.02, 0.07, 0.2], 0.07
ATTRIBUTE_SD = 0.5
GROUP_SDS = [1.0, 0.3]
LEARN_EVERY = 32  # appeals


class Appeal(NamedTuple):
    """An appeal's features, checked. The stocks are given on the grid of half-lives; `unit` is who
    is asked by whom.
    """

    time_days: float
    unit: str
    appealer: str
    kind: str
    log_exposure: float
    stocks: tuple[Any, Any, Any]
    attributes: list[tuple[str, float]]


def read_appeal(x: Mapping[Any, Any]) -> Appeal:
    """Return the checked features of an appeal; what is missing takes its default.

    Entries that `Features` does not name are attributes if they are numbers, and left aside if not.

    Raises
    ------
    ValueError
        If a number is not finite, the exposure not above 0, or stocks are not on the grid of
        half-lives.
    """
    appealer = str(x.get("appealer", "default"))
    exposure = _finite(x.get("exposure", 1.0), "exposure")
    if exposure <= 0.0:
        raise ValueError(f"exposure: expected a number > 0, got {exposure!r}")
    audience = str(x.get("audience", appealer))
    return Appeal(
        _finite(x.get("time_days", 0.0), "time_days"),
        f"{len(appealer)}:{appealer}{audience}",
        appealer,
        str(x.get("kind", "default")),
        log(exposure),
        (_stock(x, "own"), _stock(x, "kind_stock"), _stock(x, "crowd")),
        _attributes(x),
    )


def _finite(value: Any, name: str) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return number


def _stock(x: Mapping[Any, Any], name: str) -> Any:
    values = x.get(name)
    if values is None:
        return None
    if len(values) != len(HALF_LIVES_DAYS):
        raise ValueError(f"{name}: expected {len(HALF_LIVES_DAYS)} stocks, got {len(values)}")
    return values


def _attributes(x: Mapping[Any, Any]) -> list[tuple[str, float]]:
    found = [(str(k), _squeeze(v, str(k))) for k, v in x.get("attributes", {}).items()]
    if x.get("reciprocity"):
        found.append(("reciprocity", _finite(x["reciprocity"], "reciprocity")))
    for key, value in x.items():
        if key not in KNOWN and isinstance(value, int | float):
            found.append((str(key), _squeeze(value, str(key))))
    return sorted(found)


def _squeeze(value: Any, name: str) -> float:
    """Return an attribute on a log scale, sign kept: 0 and 1 stay (in log 2 units), 100,000 becomes
    16.6.
    """
    number = _finite(value, name)
    return copysign(log1p(abs(number)) / log(2.0), number)


def stock_at(values: Any, log_half_life: float, name: str) -> tuple[float, float]:
    """Return the stock at a half-life between those of the grid, and its derivative by the log
    half-life.

    Raises
    ------
    ValueError
        If it is not finite.
    """
    if values is None:
        return 0.0, 0.0
    place = (log_half_life - LOG_HALF_LIVES[0]) / _STEP
    index = min(max(int(place), 0), len(LOG_HALF_LIVES) - 2)
    low, high = float(values[index]), float(values[index + 1])
    if not isfinite(low + high):
        raise ValueError(f"{name}: expected finite stocks, got {low!r} and {high!r}")
    rise = high - low
    return low + (place - index) * rise, rise / _STEP


class Layout:
    """Where each kind, attribute and group of audiences has its coefficients; room is made as they
    appear.

    Beyond a limit they share the entries of "other", and `crowded_out` counts the names that do.
    """

    def __init__(self, kinds_max: int, attributes_max: int, groups_max: int) -> None:
        self.limits = {"kind": kinds_max, "attribute": attributes_max, "group": groups_max}
        self.coefficients = belief = Coefficients()
        self.intercept = belief.add("intercept", [INTERCEPT_MEAN], [INTERCEPT_SD])
        self.half_life = belief.add(
            "half_life", [log(HALF_LIFE_MEAN_DAYS)] * 3, [HALF_LIFE_LOG_SD] * 3
        )
        self.wear = belief.add("wear", [0.0] * 3, [w[0] for w in WEAR])
        self.weekday = belief.add("weekday", [0.0] * WEEKDAYS, [WEEKDAY_SD] * WEEKDAYS)
        self.shrinkage = {
            f"wear {name}": Shrinkage(WEAR_GRID, *wear)
            for name, wear in zip(AXES, WEAR, strict=True)
        }
        for axis, name in enumerate(AXES):
            self.shrinkage[f"wear {name}"].entries.append(self.wear + axis)
            self.shrinkage[f"kind {name}"] = Shrinkage(KIND_GRID, KIND_SD, KIND_NONE)
        self.shrinkage["kind base"] = Shrinkage(BASE_GRID, BASE_SD, 0.33)
        self.shrinkage["weekday"] = Shrinkage(WEEKDAY_GRID, WEEKDAY_SD, 0.5)
        self.shrinkage["weekday"].entries += range(self.weekday, self.weekday + WEEKDAYS)
        self.stock_sums = [0.0, 0.0, 0.0]
        self.appeals = 0
        self.known = {"kind": 0, "attribute": 0, "group": 0}
        self.crowded_out = {"kind": 0, "attribute": 0, "group": 0}

    def find(self, sort: str, name: str) -> int | None:
        """Return where a name's coefficients begin, None if there are none."""
        start = self.coefficients.start
        at = start.get(f"{sort}:{name}")
        return at if at is not None else start.get(f"{sort} {OTHER}")

    def own_place(self, sort: str, name: str) -> int | None:
        """Return where the coefficients begin that a name shares with no other, None if it has
        none.
        """
        return self.coefficients.start.get(f"{sort}:{name}")

    def make(self, sort: str, name: str, sds: list[float]) -> int:
        """Return where a name's coefficients begin, having made them if it is new."""
        start = self.coefficients.start
        at = start.get(f"{sort}:{name}")
        if at is not None:
            return at
        if self.known[sort] >= self.limits[sort]:
            self.crowded_out[sort] += 1
            shared = start.get(f"{sort} {OTHER}")
            return shared if shared is not None else self._add(f"{sort} {OTHER}", sds)
        self.known[sort] += 1
        return self._add(f"{sort}:{name}", sds)

    def _add(self, key: str, sds: list[float]) -> int:
        return self.coefficients.add(key, [0.0] * len(sds), sds)

    def make_kind(self, name: str) -> int:
        """Return where a kind's coefficients begin, having made them if it is new."""
        sds = [self.shrinkage[f"kind {what}"].sd for what in ("base", *AXES)]
        at = self.make("kind", name, sds)
        self._share_prior([f"kind {what}" for what in ("base", *AXES)], at)
        return at

    def make_attribute(self, name: str) -> int:
        """Return where a moderator's coefficients begin, having made them if it is new."""
        key = f"moderator {name}"
        if f"attribute:{name}" not in self.coefficients.start:
            self.shrinkage.setdefault(key, Shrinkage(MODERATOR_GRID, MODERATOR_SD, MODERATOR_NONE))
        at = self.make("attribute", name, [ATTRIBUTE_SD, MODERATOR_SD])
        if f"attribute:{name}" in self.coefficients.start:
            self._share_prior([key], at + 1)
        return at

    def _share_prior(self, keys: list[str], at: int) -> None:
        for offset, key in enumerate(keys):
            entries = self.shrinkage[key].entries
            if at + offset not in entries:
                entries.append(at + offset)

    def notice_stocks(self, stocks: list[float]) -> None:
        """Learn what stocks are typical: wear-out is small or large per typical stock, not per
        appeal.

        A community's crowd may count fifty appeals where an appealer's own stock counts two.
        """
        self.appeals += 1
        for axis, stock in enumerate(stocks):
            self.stock_sums[axis] += stock
        if self.appeals % LEARN_EVERY == 0:
            self.learn_priors()

    def learn_priors(self) -> None:
        for name, total in zip(AXES, self.stock_sums, strict=True):
            unit = 1.0 / max(1.0, total / self.appeals)
            self.shrinkage[f"wear {name}"].unit = unit
            self.shrinkage[f"kind {name}"].unit = unit
        for shrinkage in self.shrinkage.values():
            shrinkage.learn(self.coefficients)

    def names(self, sort: str) -> list[str]:
        """Return the names that have coefficients of their own, in order of appearance."""
        prefix = f"{sort}:"
        return [k[len(prefix) :] for k in self.coefficients.start if k.startswith(prefix)]

    def state(self) -> dict[str, Any]:
        return {
            "coefficients": self.coefficients.state(),
            "shrinkage": {key: each.state() for key, each in self.shrinkage.items()},
            "stock_sums": list(self.stock_sums),
            "appeals": self.appeals,
            "known": dict(self.known),
            "crowded_out": dict(self.crowded_out),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.coefficients.restore(state["coefficients"])
        for key, kept in state["shrinkage"].items():
            each = self.shrinkage.setdefault(
                key, Shrinkage(MODERATOR_GRID, MODERATOR_SD, MODERATOR_NONE)
            )
            each.restore(kept)
        self.stock_sums = list(state["stock_sums"])
        self.appeals = state["appeals"]
        self.known = dict(state["known"])
        self.crowded_out = dict(state["crowded_out"])
