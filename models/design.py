"""From an appeal's features to plain, checked numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign, isfinite, log, log1p
from typing import Any, NamedTuple

from models.stock import HALF_LIVES_DAYS

__all__ = ["AXES", "LOG_HALF_LIVES", "STOCK_KEYS", "Appeal", "read_appeal"]

AXES = ("own", "kind", "crowd")
STOCK_KEYS = ("own", "kind_stock", "crowd")
KNOWN = frozenset(
    ("time_days", "appealer", "kind", "audience", "exposure", "own", "kind_stock", "crowd")
    + ("repeat", "reciprocity", "attributes")
)
LOG_HALF_LIVES: list[float] = [log(h) for h in HALF_LIVES_DAYS]
_STEP = LOG_HALF_LIVES[1] - LOG_HALF_LIVES[0]
_HALF_LIVES = len(LOG_HALF_LIVES)
LOG_2 = log(2.0)


class Appeal(NamedTuple):
    """An appeal's features, checked; its stocks read off at the half-lives believed in.

    unit : who is asked by whom. stocks : of each axis; rises : their derivatives by the log
    half-life.
    """

    time_days: float
    unit: str
    appealer: str
    kind: str
    log_exposure: float
    stocks: tuple[float, float, float]
    rises: tuple[float, float, float]
    attributes: list[tuple[str, float]]


def read_appeal(x: Mapping[Any, Any], log_half_lives: list[float]) -> Appeal:
    """Return the checked features of an appeal; what is missing takes its default.

    Entries that `Features` does not name are attributes if they are numbers, and left aside if not.

    Raises
    ------
    ValueError
        If a number is not finite, the exposure not above 0, or stocks are not on the grid of
        half-lives.

    >>> read_appeal({"appealer": "a", "brand": True}, [2.0, 2.0, 2.0]).attributes
    [('brand', 1.0)]
    """
    appealer = str(x.get("appealer", "default"))
    exposure = _finite(x.get("exposure", 1.0), "exposure")
    if exposure <= 0.0:
        raise ValueError(f"exposure: expected a number > 0, got {exposure!r}")
    audience = str(x.get("audience", appealer))
    own, own_rise = _stock_at(x.get("own"), log_half_lives[0], "own")
    kind, kind_rise = _stock_at(x.get("kind_stock"), log_half_lives[1], "kind_stock")
    crowd, crowd_rise = _stock_at(x.get("crowd"), log_half_lives[2], "crowd")
    return Appeal(
        _finite(x.get("time_days", 0.0), "time_days"),
        f"{len(appealer)}:{appealer}{audience}",
        appealer,
        str(x.get("kind", "default")),
        log(exposure),
        (own, kind, crowd),
        (own_rise, kind_rise, crowd_rise),
        _attributes(x),
    )


def _finite(value: Any, name: str) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return number


def _attributes(x: Mapping[Any, Any]) -> list[tuple[str, float]]:
    found = [(str(k), _squeeze(v, str(k))) for k, v in x.get("attributes", {}).items()]
    if x.get("reciprocity"):
        found.append(("reciprocity", _finite(x["reciprocity"], "reciprocity")))
    if not x.keys() <= KNOWN:
        for key, value in x.items():
            if key not in KNOWN and isinstance(value, int | float):
                found.append((str(key), _squeeze(value, str(key))))
    found.sort()
    return found


def _squeeze(value: Any, name: str) -> float:
    """Return an attribute on a log scale, its sign kept: 0 and 1 stay, 100,000 becomes 16.6."""
    number = _finite(value, name)
    return copysign(log1p(abs(number)) / LOG_2, number)


def _stock_at(values: Any, log_half_life: float, name: str) -> tuple[float, float]:
    """Return the stock at a half-life between those of the grid, and its derivative by the log.

    Raises
    ------
    ValueError
        If it is not finite, or there are not as many stocks as half-lives.
    """
    if values is None:
        return 0.0, 0.0
    if len(values) != _HALF_LIVES:
        raise ValueError(f"{name}: expected {_HALF_LIVES} stocks, got {len(values)}")
    place = (log_half_life - LOG_HALF_LIVES[0]) / _STEP
    index = min(max(int(place), 0), _HALF_LIVES - 2)
    low, high = float(values[index]), float(values[index + 1])
    rise = high - low
    if not isfinite(rise):
        raise ValueError(f"{name}: expected finite stocks, got {low!r} and {high!r}")
    return low + (place - index) * rise, rise / _STEP
