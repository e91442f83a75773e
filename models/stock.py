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

__all__ = ["HALF_LIVES_DAYS", "Stock"]

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
        fade(self.values, float(time_ms - self.time_ms))
        self.values += 1.0
        self.time_ms = time_ms
        self.appeals += 1


@compiled
def fade(values: Floats, elapsed_ms: float) -> None:
    """Let stocks fade for so long, in place."""
    for i in range(values.shape[0]):
        values[i] *= 2.0 ** (elapsed_ms * _DECAY_PER_MS[i])
