"""Counts of responses: what may be learned from, and a negative binomial that learns its
dispersion.
"""

from __future__ import annotations

from math import ceil, exp, isfinite, lgamma, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from models.forecast import Features
from models.kernels import compiled

__all__ = ["Dispersion", "learned", "require_count", "require_exposure"]


def require_count(y: float) -> float:
    """Return `y`, having seen that it can be a number of responses.

    Raises
    ------
    ValueError
        If it is not a finite number >= 0.
    """
    if not (isfinite(y) and y >= 0):
        raise ValueError(f"responses: expected a finite number >= 0, got {y!r}")
    return y


def require_exposure(x: Features) -> float:
    """Return the exposure of `x`, having seen that it, the time and the attributes fit for use.

    Raises
    ------
    ValueError
        If the exposure is not a finite number > 0, or the others are not finite.
    """
    exposure = x["exposure"]
    if not (isfinite(exposure) and exposure > 0):
        raise ValueError(f"exposure: expected a finite number > 0, got {exposure!r}")
    if not isfinite(x["time_days"]):
        raise ValueError(f"time_days: expected a finite number, got {x['time_days']!r}")
    if not all(map(isfinite, x.get("attributes", {}).values())):
        raise ValueError(f"attributes: expected finite numbers, got {x['attributes']}")
    return exposure


class Dispersion:
    """How much counts scatter beyond Poisson: a posterior over the size of a negative binomial.

    A count of mean m and size phi has the variance m + m^2 / phi (Lawless 1987, "Negative binomial
    and mixed Poisson regression", Canadian Journal of Statistics 15(3)). Where the log of the mean
    is uncertain with variance v, matching two moments gives 1 / phi' = (1 + 1 / phi) e^v - 1.

    Parameters
    ----------
    forgetting
        Weight, in (0, 1], that all earlier counts keep when another one is learned.

    Examples
    --------
    >>> dispersion = Dispersion()
    >>> for y in (10, 0, 31, 4, 1, 22, 3, 15) * 20:
    ...     _ = dispersion.learn_one(10.0, y)
    >>> 0.7 < 1 / dispersion.inverse < 1.5
    True
    """

    GRID = tuple(2.0**k for k in range(-2, 9))

    def __init__(self, forgetting: float = 0.9995) -> None:
        self.forgetting = forgetting
        self.log_weights = np.zeros(len(self.GRID))
        self.inverse = 0.1  # mean of 1 / phi: what most platforms show, until something was seen

    def log_score_one(self, mean: float, y: float, log_variance: float = 0.0) -> float:
        """Return log P(y), natural, averaged over what is believed of phi."""
        return learned(self.log_weights.copy(), 1.0, mean, float(y), log_variance)[0]

    def learn_one(self, mean: float, y: float, log_variance: float = 0.0) -> float:
        """Learn that `y` responses came where `mean` were expected; return log P(y) before that."""
        log_score, self.inverse = learned(
            self.log_weights, self.forgetting, mean, float(y), log_variance
        )
        return log_score

    def interval(self, mean: float, log_variance: float = 0.0) -> tuple[float, float]:
        """Return the 90 % predictive interval of a count.

        By the gamma law of the same mean and variance, read between the whole numbers; within one
        response of the negative binomial's own quantiles for means up to a thousand.
        """
        spread = exp(min(log_variance, _LOG_VARIANCE_MAX))
        shape = mean / (1.0 + mean * ((1.0 + self.inverse) * spread - 1.0))
        low, high = (float(gammaincinv(shape, p)) * mean / shape for p in (0.05, 0.95))
        return float(max(0, ceil(low - 0.5))), float(max(0, ceil(high - 0.5)))

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {"log_weights": self.log_weights.tolist(), "inverse": self.inverse}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        self.log_weights, self.inverse = np.array(state["log_weights"]), state["inverse"]


_GRID = np.array(Dispersion.GRID)
_LOG_VARIANCE_MAX = 4.0  # beyond it the negative binomial is improper in all but name


@compiled
def learned(
    log_weights: NDArray[np.float64], keep: float, mean: float, y: float, log_variance: float
) -> tuple[float, float]:
    """Learn a count; return log P(y) before that, and the mean of 1 / phi after it."""
    spread = exp(min(log_variance, _LOG_VARIANCE_MAX))
    log_mean, log_factorial = log(mean), lgamma(y + 1.0)
    before, terms = log_weights.copy(), np.empty(_GRID.shape[0])
    for k in range(_GRID.shape[0]):
        size = 1.0 / ((1.0 + 1.0 / _GRID[k]) * spread - 1.0)
        log_total = log(size + mean)
        choices = lgamma(y + size) - lgamma(size) - log_factorial
        terms[k] = choices + size * (log(size) - log_total) + y * (log_mean - log_total)
        log_weights[k] = keep * log_weights[k] + terms[k]
    log_weights -= log_weights.max()
    total = inverse = 0.0
    for k in range(_GRID.shape[0]):
        weight = exp(log_weights[k])
        total += weight
        inverse += weight / _GRID[k]
    return _log_sum_exp(before + terms) - _log_sum_exp(before), inverse / total


@compiled
def _log_sum_exp(terms: NDArray[np.float64]) -> float:
    highest, total = float(terms.max()), 0.0
    for k in range(terms.shape[0]):
        total += exp(terms[k] - highest)
    return highest + log(total)
