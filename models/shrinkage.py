"""How far coefficients of one sort lie from zero, learned; and their priors exchanged accordingly.

Priors of coefficients that may well all be zero (wear-out on an axis, what kinds or moderators
change about it) decide how fast the model learns that there is nothing to learn. So the sd of each
sort's prior is learned: empirical Bayes (Efron & Morris 1973, "Stein's estimation rule and its
competitors", JASA 68(341)) over a grid of sds. For a Gaussian posterior both steps are exact after
the fact: dividing one Gaussian prior out and multiplying another in gives the evidence for the
other, and is the same as seeing each coefficient as 0 with the variance that makes up the
difference of the precisions (a negative one loosens).
"""

from __future__ import annotations

from typing import Any


import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from models.coefficients import Coefficients

__all__ = ["Shrinkage"]

Floats = NDArray[np.float64]
CHANGE_MIN = 0.05  # relative change of an sd that is worth exchanging the priors for


class Shrinkage:
    """The common prior N(0, sd^2) of some coefficients, its sd learned from them.

    Parameters
    ----------
    sds : grid of sds, all held equally likely. start : the sd to begin with.

    >>> belief = Coefficients()
    >>> entries = [belief.add(f"c{i}", [0.0], [1.0]) for i in range(3)]
    >>> for entry in entries:
    ...     belief.condition(entry, 0.01, 0.0001)
    >>> shrinkage = Shrinkage([0.01, 0.1, 1.0], start=1.0, none=0.3)
    >>> shrinkage.entries = entries
    >>> shrinkage.learn(belief)
    >>> 0.005 < shrinkage.sd < 0.05
    True
    """

    def __init__(self, sds: list[float], start: float, none: float, positive: float = 0.5) -> None:
        self.positive = positive
        rest = [(1.0 - none) / (len(sds) - 1)] * (len(sds) - 1)
        self.log_prior: Floats = np.log([none, *rest])
        self.variances: Floats = np.square(sds)
        self.sd = start
        self.entries: list[int] = []
        self.unit = 1.0  # what the grid is multiplied by

    def learn(self, belief: Coefficients) -> None:
        """Estimate the sd from what is believed now, and exchange the priors if it has changed."""
        if not self.entries:
            return
        entries = np.asarray(self.entries)
        own = belief.covariance[np.ix_(entries, entries)]
        variances, axes = np.linalg.eigh(own)
        variances = np.clip(variances, 1e-12 * self.sd**2, None)
        along = axes.T @ belief.mean[entries]
        self._exchange(belief, self._estimate(along, variances))

    def _estimate(self, along: Floats, variances: Floats) -> float:
        """Return the sd whose shrinkage is the average over the grid, weighted by the evidence.

        along, variances : shape (n,), posterior means and variances in the posterior's principal
            axes.
        """
        candidates = self.variances * self.unit**2
        extra = 1.0 / candidates - self.sd**-2  # precision to add
        precision = 1.0 / variances + extra[:, None]
        precision = np.clip(precision, 1e-9 / variances, None)
        informed = along / variances
        evidence = 0.5 * (
            (informed**2 / precision - along * informed).sum(axis=1)
            - np.log(precision * variances).sum(axis=1)
            - len(along) * np.log(candidates / self.sd**2)
        )
        evidence += self.log_prior
        if self.positive != 0.5:
            evidence += self._sign(along / variances / precision, 1.0 / precision)[:, 0]
        weights = np.exp(evidence - evidence.max())
        weights /= weights.sum()
        error = 1.0 / np.mean(np.clip(1.0 / variances - self.sd**-2, 1e-9 / self.sd**2, None))
        share = float(weights @ (candidates / (candidates + error)))
        return float(np.sqrt(error * share / (1.0 - share)))

    def _sign(self, mean: Floats, variance: Floats) -> Floats:
        """Return the log of how much better than even the sign of a coefficient fits its prior."""
        above = ndtr(mean / np.sqrt(variance))
        found: Floats = np.log(
            2.0 * (self.positive * above + (1.0 - self.positive) * (1.0 - above))
        )
        return found

    def _exchange(self, belief: Coefficients, sd: float) -> None:
        if abs(sd / self.sd - 1.0) < CHANGE_MIN:
            return
        lacking = sd**-2 - self.sd**-2
        for entry in self.entries:
            belief.condition(entry, 0.0, 1.0 / lacking)
        self.sd = sd

    def state(self) -> dict[str, Any]:
        return {"sd": self.sd, "entries": list(self.entries), "unit": self.unit}

    def restore(self, state: dict[str, Any]) -> None:
        self.sd, self.entries, self.unit = state["sd"], list(state["entries"]), state["unit"]
