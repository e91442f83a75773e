"""From an appeal's features to plain, checked numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign, isfinite, log, log1p
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled
from models.stock import HALF_LIVES_DAYS

__all__ = [
    "AXES",
    "LOG_HALF_LIVES",
    "STOCK_KEYS",
    "Appeal",
    "felt",
    "moderators",
    "read_appeal",
    "unit_of",
]

Floats = NDArray[np.float64]

AXES = ("own", "kind", "crowd")
STOCK_KEYS = ("own", "kind_stock", "crowd")
KNOWN = frozenset(
    ("time_days", "appealer", "kind", "audience", "exposure", "own", "kind_stock", "crowd")
    + ("repeat", "reciprocity", "attributes")
)
LOG_HALF_LIVES: list[float] = [log(h) for h in HALF_LIVES_DAYS]
_FIRST, _STEP = LOG_HALF_LIVES[0], LOG_HALF_LIVES[1] - LOG_HALF_LIVES[0]
_HALF_LIVES = len(LOG_HALF_LIVES)
_NOTHING: Floats = np.zeros((len(AXES), _HALF_LIVES))
_NO_VALUES: Floats = np.empty(0)
LOG_2 = log(2.0)


class Appeal(NamedTuple):
    """An appeal's features, checked.

    unit : who is asked by whom. stocks : shape (3, half-lives), of each axis at every half-life of
    the grid. attributes : names in alphabetical order; values : of these, shape (attributes,).
    """

    time_days: float
    unit: str
    appealer: str
    kind: str
    log_exposure: float
    stocks: Floats
    attributes: tuple[str, ...]
    values: Floats


def read_appeal(x: Mapping[Any, Any]) -> Appeal:
    """Return the checked features of an appeal; what is missing takes its default.

    Entries that `Features` does not name are attributes if they are numbers, and left aside if not.

    Raises
    ------
    ValueError
        If a number is not finite, the exposure not above 0, or stocks are not on the grid of
        half-lives.

    >>> read_appeal({"appealer": "a", "brand": True}).attributes
    ('brand',)
    """
    appealer = str(x.get("appealer", "default"))
    exposure = _finite(x.get("exposure", 1.0), "exposure")
    if exposure <= 0.0:
        raise ValueError(f"exposure: expected a number > 0, got {exposure!r}")
    audience = str(x.get("audience", appealer))
    more = x if not x.keys() <= KNOWN else {}
    names, values = moderators(x.get("attributes", {}), x.get("reciprocity", 0.0), more)
    return Appeal(
        _finite(x.get("time_days", 0.0), "time_days"),
        unit_of(appealer, audience),
        appealer,
        str(x.get("kind", "default")),
        log(exposure),
        _stocks(x),
        names,
        values,
    )


def unit_of(appealer: str, audience: str) -> str:
    """Return the name of a unit."""
    return f"{len(appealer)}:{appealer}{audience}"


def _finite(value: Any, name: str) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return number


def moderators(
    attributes: Mapping[str, float], reciprocity: float, more: Mapping[Any, Any] | None = None
) -> tuple[tuple[str, ...], Floats]:
    """Return the names of what may moderate, in alphabetical order, and the value of each, shape
    (names,).

    attributes : on a log scale. reciprocity : as it is, unless it is 0. more : other features, of
    which those that are numbers count as attributes.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    found = [(str(k), _squeeze(v, str(k))) for k, v in attributes.items()]
    if reciprocity:
        found.append(("reciprocity", _finite(reciprocity, "reciprocity")))
    for key, value in (more or {}).items():
        if key not in KNOWN and isinstance(value, int | float):
            found.append((str(key), _squeeze(value, str(key))))
    if not found:
        return (), _NO_VALUES
    found.sort()
    names, values = zip(*found, strict=True)
    return names, np.array(values)


def _squeeze(value: Any, name: str) -> float:
    """Return an attribute on a log scale, its sign kept: 0 and 1 stay, 100,000 becomes 16.6."""
    number = _finite(value, name)
    return copysign(log1p(abs(number)) / LOG_2, number)


def _stocks(x: Mapping[Any, Any]) -> Floats:
    """Return the stocks of the three axes, none where none are given.

    Raises
    ------
    ValueError
        If one is not finite, or there are not as many stocks as half-lives.
    """
    stocks = _NOTHING.copy()
    for row, name in zip(stocks, STOCK_KEYS, strict=True):
        values = x.get(name)
        if values is None:
            continue
        if len(values) != _HALF_LIVES:
            raise ValueError(f"{name}: expected {_HALF_LIVES} stocks, got {len(values)}")
        row[:] = values
        if not _all_finite(row):
            raise ValueError(f"{name}: expected finite stocks, got {row.tolist()}")
    return stocks


@compiled
def _all_finite(values: Floats) -> bool:
    for i in range(values.shape[0]):
        if not isfinite(values[i]):
            return False
    return True


@compiled
def felt(stocks: Floats, log_half_life: float) -> tuple[float, float]:
    """Return the stock at a half-life between those of the grid, and its derivative by the log.

    stocks : shape (half-lives,).
    """
    place = (log_half_life - _FIRST) / _STEP
    index = min(max(int(place), 0), _HALF_LIVES - 2)
    rise = stocks[index + 1] - stocks[index]
    return stocks[index] + (place - index) * rise, rise / _STEP
