"""How units differ in how fast they wear out: most of them somewhat, some not at all.

A unit's wear-out is that of its kind times 1 + u. A share of the units is immune, u = -1, for ever;
the others are N(mean, sd^2), with the mean that makes u zero on average over all. The filter
carries one Gaussian of the same variance; what it would believe under either hypothesis, and the
odds of the two, follow from it exactly (Dickey 1971: see models.jumps).
"""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dispersion import GridPosterior
from models.kernels import IMMUNE

__all__ = ["IMMUNE", "Strength", "StrengthPosterior"]

Floats = NDArray[np.float64]
SDS: list[float] = [0.0125 * 1.45**i for i in range(12)]  # .0125 to .74
SHARES: list[float] = [0.0, 0.04, 0.08, 0.15, 0.25]
# A community's units are much alike, or they are not, and then some may well be immune: how likely,
# the centre of the sd and its log sd, and the shares. Were a few immune as likely where nobody
# differs otherwise, an upper limit of 99 % would take hundreds of repeats to rule that out. Shares
# larger than a quarter look like a large sd.
ALIKE = (0.95, 0.05, 1.0, (1.0, 0.0, 0.0, 0.0, 0.0))
DIFFERENT = (0.05, 0.4, 0.5, (0.2, 0.2, 0.2, 0.2, 0.2))


class Strength(NamedTuple):
    """How u is distributed over units: N(mean, sd^2), or IMMUNE with probability `share`."""

    sd: float
    share: float

    @property
    def mean(self) -> float:
        return self.share / (1.0 - self.share)

    @property
    def total_sd(self) -> float:
        """The sd of u over all units."""
        return sqrt(self.share / (1.0 - self.share) + (1.0 - self.share) * self.sd**2)


def _prior(weight: float, centre: float, log_sd: float, shares: tuple[float, ...]) -> Floats:
    """Return the probabilities of sds and shares, shape (12, 5): log-normal, and as given."""
    of_sd = np.exp(-0.5 * (np.log(np.divide(SDS, centre)) / log_sd) ** 2)
    return weight * np.outer(of_sd / of_sd.sum(), shares)


class StrengthPosterior:
    """A posterior over the sd and the share of immune units, on a grid.

    Attributes
    ----------
    sds, shares : shape (12,) and (5,). estimate : their posterior means.
    """

    def __init__(self, forgetting: float) -> None:
        self.sds: Floats = np.asarray(SDS)
        self.shares: Floats = np.asarray(SHARES)
        log_prior: list[float] = np.log(_prior(*ALIKE) + _prior(*DIFFERENT)).ravel().tolist()
        self._grid = GridPosterior([1.0] * len(log_prior), log_prior, forgetting)
        self._refresh()

    def _refresh(self) -> None:
        weights = self._grid.weights.reshape(len(SDS), len(SHARES))
        by_sd, by_share = weights.sum(axis=1), weights.sum(axis=0)
        self.estimate = Strength(float(by_sd @ SDS), float(by_share @ SHARES))

    def learn(self, log_likelihood: Floats, observations: float) -> None:
        """Learn from the log likelihood of so many appeals together, shape (12, 5)."""
        self._grid.learn(log_likelihood.ravel(), observations)
        self._refresh()

    def state(self) -> dict[str, Any]:
        return self._grid.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._grid.restore(state)
        self._refresh()
