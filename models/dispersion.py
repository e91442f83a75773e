"""Discrete posteriors over what the Gaussian filter takes as given: the dispersion, and how much
units differ.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GridPosterior"]

Floats = NDArray[np.float64]


class GridPosterior:
    """A posterior over a grid of values, learned from their log likelihoods, slowly forgetting.

    Forgetting raises what was known to a power below 1 before each step (power discounting: West &
    Harrison 1997, "Bayesian forecasting and dynamic models", 2nd ed., section 2.4 on discount
    factors), so that 1 / (1 - forgetting) appeals are remembered in effect.

    >>> posterior = GridPosterior([1.0, 2.0], [0.0, 0.0], forgetting=1.0)
    >>> posterior.learn(np.log([0.1, 0.3]))
    >>> round(posterior.mean, 9)
    1.75
    """

    def __init__(self, values: list[float], log_prior: list[float], forgetting: float) -> None:
        self.values: Floats = np.asarray(values)
        self.forgetting = forgetting
        self.log_prior: Floats = np.asarray(log_prior)
        self.log_likelihood: Floats = np.zeros(len(values))
        self._refresh()

    def _refresh(self) -> None:
        log_weights = self.log_prior + self.log_likelihood
        weights = np.exp(log_weights - log_weights.max())
        self.weights: Floats = weights / weights.sum()
        self.mean = float(self.weights @ self.values)
        self._cumulated: list[float] = np.cumsum(self.weights).tolist()

    def learn(self, log_likelihood: Floats, observations: float = 1.0) -> None:
        """Learn from the log likelihood of so many observations together, shape of the grid."""
        self.log_likelihood *= self.forgetting**observations
        self.log_likelihood += log_likelihood - log_likelihood.max()
        self._refresh()

    @property
    def inverse_mean(self) -> float:
        """The mean of one over the value."""
        return float(self.weights @ (1.0 / self.values))

    def quantile(self, p: float) -> float:
        """Return the smallest value of the grid with at least a share `p` of the weight at or below
        it.
        """
        index = bisect_left(self._cumulated, p - 1e-12)
        return self.values.item(min(index, self.values.size - 1))

    def state(self) -> dict[str, Any]:
        return {"log_likelihood": self.log_likelihood.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        self.log_likelihood = np.asarray(state["log_likelihood"], dtype=np.float64)
        self._refresh()
