"""Exposure stocks (adstock): how much of the earlier appeals on an axis is still felt.

The stock at time t is the sum over the earlier appeals j of 2^(-(t - t_j) / h), h the half-life
(Broadbent 1979, "One way TV advertisements work", Journal of the Market Research Society 21(3); the
geometric adstock with its decay written as a half-life). Half-lives are learned, so every stock is
kept on a grid of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["HALF_LIVES_DAYS", "NO_STOCK", "Stock", "add_to_all", "felt_on_axes"]

Floats = NDArray[np.float64]

# Six a factor of four, 1 to 128 days: linear interpolation of S between neighbours is then off by
# less than 1 %.
HALF_LIVES_DAYS: Floats = np.geomspace(1.0, 128.0, 22)
MILLISECONDS_A_DAY = 86_400_000.0
_DECAY_PER_MS = -1.0 / (HALF_LIVES_DAYS * MILLISECONDS_A_DAY)


class Stock:
    """The stock of one key on one axis, for every half-life of the grid.

    >>> stock = Stock()
    >>> stock.add(0)
    >>> float(stock.at(86_400_000)[0])  # one day later, half-life of one day
    0.5
    """

    __slots__ = ("appeals", "time_ms", "values")

    def __init__(self) -> None:
        self.time_ms = 0
        self.appeals = 0
        self.values: Floats = np.zeros(len(HALF_LIVES_DAYS))

    def at(self, time_ms: int) -> Floats:
        """Return the stocks felt at `time_ms`, shape (len(HALF_LIVES_DAYS),), in appeals."""
        felt = self.values.copy()
        fade(felt, float(time_ms - self.time_ms))
        return felt

    def add(self, time_ms: int) -> None:
        """Count an appeal put at `time_ms`, which must not be earlier than the last one."""
        count_one(self.values, float(time_ms - self.time_ms))
        self.time_ms = time_ms
        self.appeals += 1


NO_STOCK = Stock()  # of whom nobody has asked yet; never added to


def felt_on_axes(own: Stock, kind: Stock, crowd: Stock, series: Stock, time_ms: int) -> Floats:
    """Return what is felt at `time_ms`, shape (3, half-lives): own, kind, and the crowd without the
    series, which is part of it. Four calls of `Stock.at`, in one.
    """
    felt = np.empty((3, len(HALF_LIVES_DAYS)))
    of_self = *_since(own, time_ms), *_since(kind, time_ms)
    feel_three(felt, *of_self, *_since(crowd, time_ms), *_since(series, time_ms))
    return felt


def add_to_all(own: Stock, kind: Stock, crowd: Stock, series: Stock, time_ms: int) -> None:
    """Count an appeal in four stocks. Four calls of `Stock.add`, in one."""
    of_self = *_since(own, time_ms), *_since(kind, time_ms)
    count_four(*of_self, *_since(crowd, time_ms), *_since(series, time_ms))
    for stock in (own, kind, crowd, series):
        stock.time_ms = time_ms
        stock.appeals += 1


def _since(stock: Stock, time_ms: int) -> tuple[Floats, float]:
    """Return the stocks as they last were, and for how many milliseconds they have faded since."""
    return stock.values, float(time_ms - stock.time_ms)


@compiled
def faded(value: float, doublings: float) -> float:
    """Return what is left; nothing of nothing, though it were put an eternity later."""
    return value * 2.0**doublings if value != 0.0 else 0.0


@compiled
def fade(values: Floats, elapsed_ms: float) -> None:
    """Let stocks fade for so long, in place."""
    for i in range(values.shape[0]):
        values[i] = faded(values[i], elapsed_ms * _DECAY_PER_MS[i])


@compiled
def count_one(values: Floats, elapsed_ms: float) -> None:
    """Let stocks fade for so long, then count one more appeal, in place."""
    for i in range(values.shape[0]):
        values[i] = faded(values[i], elapsed_ms * _DECAY_PER_MS[i]) + 1.0


@compiled
def count_four(
    a: Floats,
    a_ms: float,
    b: Floats,
    b_ms: float,
    c: Floats,
    c_ms: float,
    d: Floats,
    d_ms: float,
) -> None:
    """Count one more appeal in four stocks, each faded for so long, in place."""
    count_one(a, a_ms)
    count_one(b, b_ms)
    count_one(c, c_ms)
    count_one(d, d_ms)


@compiled
def feel_three(
    felt: Floats,
    own: Floats,
    own_ms: float,
    kind: Floats,
    kind_ms: float,
    crowd: Floats,
    crowd_ms: float,
    series: Floats,
    series_ms: float,
) -> None:
    """Fill in own, kind and crowd stocks, each faded for so long; the crowd without the series."""
    for i in range(own.shape[0]):
        decay = _DECAY_PER_MS[i]
        felt[0, i] = faded(own[i], own_ms * decay)
        felt[1, i] = faded(kind[i], kind_ms * decay)
        others = faded(crowd[i], crowd_ms * decay) - faded(series[i], series_ms * decay)
        # The difference of sums that are all but equal is only nearly zero.
        felt[2, i] = max(others, 0.0)
