"""How far coefficients of one sort lie from zero, learned; and their priors exchanged accordingly.

Priors of coefficients that may well all be zero (wear-out on an axis, what kinds or moderators
change about it) decide how fast the model learns that there is nothing to learn. So the sd of each
sort's prior is learned: empirical Bayes (Efron & Morris 1973, "Stein's estimation rule and its
competitors", JASA 68(341)) over a grid of sds, the smallest of which stands for "nothing there".
For a Gaussian posterior both steps are exact after the fact: dividing one Gaussian prior out and
multiplying another in gives the evidence for the other, and is the same as seeing each coefficient
as 0 with the variance that makes up the difference of the precisions (a negative one loosens).
"""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from models.coefficients import Coefficients

__all__ = ["Prior", "Shrinkage"]

Floats = NDArray[np.float64]
CHANGE_MIN = 0.05  # relative change of an sd that is worth exchanging the priors for
# No sd falls below this share of the smallest on its grid: precisions must not drown each other.
SD_SHARE_MIN = 0.1


class Prior(NamedTuple):
    """What is held of some coefficients before they are learned.

    sds : the grid; the first stands for "nothing there". A grid of one is not learned.
    start : the sd to begin with. none : how likely "nothing there" is; the others share the rest.
    positive : how likely the sign is to be positive.
    patient : whether it stays as wide as it began until data have said more than it did: so that
    nobody is called fresh because nothing is known.
    """

    sds: tuple[float, ...]
    start: float
    none: float = 1.0
    positive: float = 0.5
    patient: bool = False


class Shrinkage:
    """Coefficients that share one prior N(0, sd^2), its sd learned from them.

    >>> belief = Coefficients()
    >>> shrinkage = Shrinkage(Prior((0.01, 0.1, 1.0), start=1.0, none=0.3))
    >>> shrinkage.entries = [belief.add(f"c{i}", [0.0], [1.0]) for i in range(3)]
    >>> for entry in shrinkage.entries:
    ...     belief.condition(entry, 0.01, 0.0001)
    >>> shrinkage.learn(belief)
    >>> 0.005 < shrinkage.sd < 0.05
    True
    """

    def __init__(self, prior: Prior) -> None:
        others = len(prior.sds) - 1
        self.variances: Floats = np.square(prior.sds)
        self.log_prior: Floats = np.log(
            [prior.none] + [(1.0 - prior.none) / max(others, 1)] * others
        )
        self.positive = prior.positive
        self.sd = self.start = prior.start
        self.told = not prior.patient  # whether data have said more than the prior
        self.entries: list[int] = []
        self.unit = 1.0  # what the grid is multiplied by

    def learn(self, belief: Coefficients) -> None:
        """Estimate the sd from what is believed now, and exchange the priors if it has changed."""
        if not self.entries or len(self.variances) == 1:
            return
        if len(self.entries) == 1:
            entry = self.entries[0]
            variances, along = belief.covariance[entry, entry, None], belief.mean[entry, None]
        else:
            entries = np.asarray(self.entries)
            variances, axes = np.linalg.eigh(belief.covariance[entries[:, None], entries])
            along = axes.T @ belief.mean[entries]
        if (
            not self.told
            and (1.0 / variances - self.sd**-2).mean() < (self.start * self.unit) ** -2
        ):
            return
        self.told = True
        self._exchange(belief, self._estimate(along, np.maximum(variances, 1e-12 * self.sd**2)))

    def _estimate(self, along: Floats, variances: Floats) -> float:
        """Return the sd whose shrinkage is the average over the grid, weighted by the evidence.

        along, variances : shape (n,), posterior means and variances in its principal axes.
        """
        candidates = self.variances * self.unit**2
        now = 1.0 / variances
        precision = now + (1.0 / candidates - self.sd**-2)[:, None]
        precision = np.maximum(precision, 1e-9 * now)
        informed = along * now
        evidence = self.log_prior + 0.5 * (
            (informed**2 / precision - along * informed - np.log(precision * variances)).sum(axis=1)
            - len(along) * np.log(candidates / self.sd**2)
        )
        if self.positive != 0.5:
            above = ndtr(informed[0] / np.sqrt(precision[:, 0]))
            evidence += np.log(self.positive * above + (1.0 - self.positive) * (1.0 - above))
        weights: Floats = np.exp(evidence - evidence.max())
        from_data = np.maximum(now - self.sd**-2, 1e-9 * self.sd**-2)
        error = len(along) / float(from_data.sum())
        share = float(weights @ (candidates / (candidates + error))) / float(weights.sum())
        sd = sqrt(error * share / (1.0 - share))
        return max(sd, SD_SHARE_MIN * sqrt(float(candidates[0])))

    def _exchange(self, belief: Coefficients, sd: float) -> None:
        if abs(sd / self.sd - 1.0) < CHANGE_MIN:
            return
        lacking = sd**-2 - self.sd**-2
        for entry in self.entries:
            belief.condition(entry, 0.0, 1.0 / lacking)
        self.sd = sd

    def state(self) -> dict[str, Any]:
        return {
            "sd": self.sd,
            "told": self.told,
            "entries": list(self.entries),
            "unit": self.unit,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.sd, self.told, self.unit = state["sd"], state["told"], state["unit"]
        self.entries = list(state["entries"])
