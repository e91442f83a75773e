"""Which coefficients there are, where they stand, and what is held of them beforehand."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.coefficients import Coefficients
from models.design import AXES, LOG_HALF_LIVES, Appeal, felt
from models.kernels import compiled
from models.scaling import Scaling
from models.shrinkage import Prior, Shrinkage

__all__ = ["KIND_PARTS", "STEPS", "WEEKDAYS", "Found", "Layout"]

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Found = tuple[int, int, Places, Floats, Floats]  # see Layout.found

OTHER = "(other)"
WEEKDAYS = 7
KIND_PARTS = ("base", *AXES)  # a kind's coefficients: base rate, then wear-out on each axis
INTERCEPT_MEAN, INTERCEPT_SD = -4.0, 3.0  # one response in fifty people, give or take a factor 20
HALF_LIFE_DAYS, HALF_LIFE_LOG_SD = 16.0, 0.7
STEPS = [1.25**i for i in range(12)]  # stocks (1 to 11.6 appeals) at which wear-out may jump

# Grids of prior sds, natural log. Wear-out is per typical stock of its axis. Appealers copy each
# other far less surely than they repeat themselves, and crowds that help are rarer still.
PRIORS = {
    "wear own": Prior((0.005, 0.05, 0.15), start=0.08, none=0.6, positive=0.85, patient=True),
    "wear kind": Prior((0.005, 0.05, 0.15), start=0.08, none=0.6, positive=0.85, patient=True),
    "wear crowd": Prior((0.01, 0.1, 0.3), start=0.02, none=0.8, positive=0.95),
    "kind base": Prior((0.1, 0.3, 1.0), start=0.4, none=0.33),
    "kind own": Prior((0.002, 0.01, 0.04, 0.15), start=0.01, none=0.7),
    "kind kind": Prior((0.002, 0.01, 0.04, 0.15), start=0.01, none=0.7),
    "kind crowd": Prior((0.002, 0.01, 0.04, 0.15), start=0.01, none=0.7),
    "weekday": Prior((0.02, 0.07, 0.2), start=0.07, none=0.5),
    "step": Prior((0.01, 0.1, 0.5, 1.0), start=0.01, none=0.9, positive=0.9),
    "moderator": Prior((0.02, 0.5), start=0.1, none=0.7),
    # Held as they are: what attributes and single appealers do to the level is large or small.
    "attribute": Prior((0.5,), start=0.5),
    "group level": Prior((1.0,), start=1.0),
    "group wear": Prior((0.3,), start=0.3),
}
PLACES_MAX = 1000  # combinations of attributes looked up once; some 300 bytes each
# Priors are learned anew after a sixteenth more appeals, which is often while it changes much.
LEARN_SHARE, LEARN_MIN, LEARN_MAX = 16, 16, 1024


class Layout:
    """Where each kind, attribute and appealer with several audiences has its coefficients.

    Room is made as they appear. Beyond a limit they share the entries of "other", and `crowded_out`
    counts the times a name had to. `told`: whether data have said more of own and kind wear-out
    than was held beforehand.
    """

    def __init__(self, kinds_max: int, attributes_max: int, groups_max: int) -> None:
        self.limits = {"kind": kinds_max, "attribute": attributes_max, "group": groups_max}
        self.coefficients = belief = Coefficients()
        self.shrinkage: dict[str, Shrinkage] = {}
        self.intercept = belief.add("intercept", [INTERCEPT_MEAN], [INTERCEPT_SD])
        self.half_life = belief.add("half_life", [log(HALF_LIFE_DAYS)] * 3, [HALF_LIFE_LOG_SD] * 3)
        self.wear = self._add("wear", [f"wear {axis}" for axis in AXES])
        self.weekday = self._add("weekday", ["weekday"] * WEEKDAYS)
        self.steps = self._add("steps", [f"step {i}" for i in range(len(STEPS))])
        # Where the runs of these begin, for the compiled loops; the last is that of the jumps.
        self.places: Places = np.array(
            [self.intercept, self.weekday, self.wear, self.half_life, self.steps, -1]
        )
        self.at: dict[str, dict[str, int]] = {"kind": {}, "attribute": {}, "group": {}}
        self.scaling = Scaling()
        # Where attributes stand, and their units, by the names that an appeal has.
        self._places: dict[tuple[str, ...], tuple[Places, Floats]] = {}
        self._settled: set[tuple[str, ...]] = {()}  # names whose units stay as they are
        self.crowded_out = {"kind": 0, "attribute": 0, "group": 0}
        self.stock_sums = [0.0, 0.0, 0.0]
        self.appeals = 0
        self.learn_at = LEARN_MIN
        self.told = self._is_told()

    @property
    def log_half_lives(self) -> list[float]:
        """The half-lives believed in, natural log of days, for each axis."""
        found: list[float] = self.coefficients.mean[self.half_life : self.half_life + 3].tolist()
        return found

    def keep_half_lives_on_grid(self) -> None:
        keep_within(self.coefficients.mean, self.half_life, LOG_HALF_LIVES[0], LOG_HALF_LIVES[-1])

    def typical_stock(self, axis: int) -> float:
        """Return the mean stock of an axis so far, or 1 if it is less."""
        return max(1.0, self.stock_sums[axis] / max(self.appeals, 1))

    def find(self, sort: str, name: str) -> int | None:
        """Return where a name's coefficients begin, None if there are none."""
        places = self.at[sort]
        at = places.get(name)
        return at if at is not None else places.get(OTHER)

    def found(self, appeal: Appeal) -> Found:
        """Return where the coefficients of an appeal's kind, group and attributes begin, -1 where
        one has none of its own; and the attributes' values, and the units to scale them by.
        """
        kinds, names = self.at["kind"], appeal.attributes
        kind = kinds.get(appeal.kind)
        if kind is None:
            kind = kinds.get(OTHER, -1)
        places, units = self._places.get(names) or self._look_up(names)
        return kind, self.at["group"].get(appeal.appealer, -1), places, appeal.values, units

    def _look_up(self, names: tuple[str, ...]) -> tuple[Places, Floats]:
        known = (self.find("attribute", name) for name in names)
        places = np.array([-1 if at is None else at for at in known], dtype=np.int64)
        if len(self._places) >= PLACES_MAX:
            self._places.clear()
        found = self._places[names] = places, self.scaling.of([*map(self._scaled_as, names)])
        return found

    def _scaled_as(self, name: str) -> str:
        """Return the name by which an attribute's values are remembered: that of its place."""
        return name if name in self.at["attribute"] else OTHER

    def make_room(self, appeal: Appeal, several_audiences: bool) -> None:
        """Give coefficients to what appears for the first time."""
        if appeal.kind not in self.at["kind"]:
            self._make("kind", appeal.kind, [f"kind {part}" for part in KIND_PARTS])
        for name in appeal.attributes:
            if name not in self.at["attribute"]:
                self._make("attribute", name, [f"attribute {name}", f"moderator {name}"])
        if several_audiences and appeal.appealer not in self.at["group"]:
            self._make("group", appeal.appealer, ["group level", "group wear"])

    def _make(self, sort: str, name: str, priors: list[str]) -> None:
        places = self.at[sort]
        if len(places) - (OTHER in places) >= self.limits[sort]:
            self.crowded_out[sort] += 1
            name = OTHER
        if name not in places:
            places[name] = self._add(f"{sort}:{name}", priors)
            self._places.clear()

    def _add(self, name: str, priors: list[str]) -> int:
        """Hand out entries, each with the prior it shares with those of the same name."""
        for key in priors:
            if key not in self.shrinkage:
                self.shrinkage[key] = Shrinkage(PRIORS.get(key) or PRIORS[key.split()[0]])
        sds = [self.shrinkage[key].sd for key in priors]
        at = self.coefficients.add(name, [0.0] * len(priors), sds)
        for offset, key in enumerate(priors):
            self.shrinkage[key].entries.append(at + offset)
        return at

    def notice(self, appeal: Appeal) -> None:
        """Count an appeal, and now and then learn the priors.

        Wear-out is small or large per typical stock, not per appeal: a community's crowd may count
        fifty appeals where an appealer's own stock counts two.
        """
        self.appeals += 1
        if appeal.attributes not in self._settled:
            self._notice_attributes(appeal)
        stocks = felt_by_axis(appeal.stocks, self.coefficients.mean, self.half_life)
        for axis, stock in enumerate(stocks):
            self.stock_sums[axis] += stock
        if self.appeals >= self.learn_at:
            self.learn_at += min(max(self.appeals // LEARN_SHARE, LEARN_MIN), LEARN_MAX)
            self._learn_priors()

    def _notice_attributes(self, appeal: Appeal) -> None:
        names = [*map(self._scaled_as, appeal.attributes)]
        values = zip(names, appeal.values.tolist(), strict=True)
        changes = [self.scaling.notice(name, value) for name, value in values]
        if any(changes):
            self._places.clear()
        elif all(map(self.scaling.settled, names)) and len(self._settled) < PLACES_MAX:
            self._settled.add(appeal.attributes)

    def _learn_priors(self) -> None:
        for axis, name in enumerate(AXES):
            unit = 1.0 / self.typical_stock(axis)
            self.shrinkage[f"wear {name}"].unit = unit
            if f"kind {name}" in self.shrinkage:
                self.shrinkage[f"kind {name}"].unit = unit
        for shrinkage in self.shrinkage.values():
            shrinkage.learn(self.coefficients)
        self.told = self._is_told()

    def state(self) -> dict[str, Any]:
        return {
            "coefficients": self.coefficients.state(),
            "shrinkage": {key: each.state() for key, each in self.shrinkage.items()},
            "at": {sort: dict(places) for sort, places in self.at.items()},
            "crowded_out": dict(self.crowded_out),
            "scaling": self.scaling.state(),
            "stock_sums": list(self.stock_sums),
            "appeals": self.appeals,
            "learn_at": self.learn_at,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.coefficients.restore(state["coefficients"])
        for key, kept in state["shrinkage"].items():
            self.shrinkage[key] = Shrinkage(PRIORS.get(key) or PRIORS[key.split()[0]])
            self.shrinkage[key].restore(kept)
        self.at = {sort: dict(places) for sort, places in state["at"].items()}
        self.scaling.restore(state["scaling"])
        self._places.clear()
        self._settled = {()}
        self.crowded_out = dict(state["crowded_out"])
        self.stock_sums = list(state["stock_sums"])
        self.appeals = state["appeals"]
        self.learn_at = state["learn_at"]
        self.told = self._is_told()

    def _is_told(self) -> bool:
        return self.shrinkage["wear own"].told and self.shrinkage["wear kind"].told


@compiled
def keep_within(mean: Floats, at: int, low: float, high: float) -> None:
    """Keep the three entries from `at` on within limits."""
    for i in range(at, at + 3):
        mean[i] = min(max(mean[i], low), high)


@compiled
def half_life_sds(covariance: Floats, half_life: int) -> Floats:
    """Return the sds of the log half-lives, shape (3,): of the entries from `half_life` on."""
    sds = np.empty(3)
    for axis in range(3):
        sds[axis] = sqrt(max(covariance[half_life + axis, half_life + axis], 0.0))
    return sds


@compiled
def felt_by_axis(stocks: Floats, mean: Floats, half_life: int) -> tuple[float, float, float]:
    """Return the stocks felt, the log half-lives being the three entries from `half_life` on."""
    own, _ = felt(stocks[0], mean[half_life])
    kind, _ = felt(stocks[1], mean[half_life + 1])
    crowd, _ = felt(stocks[2], mean[half_life + 2])
    return own, kind, crowd
