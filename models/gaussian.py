"""A Gaussian belief about a log mean, tilted by one negative binomial count: moments, prediction,
quantiles.

A count y of log mean eta and shape phi has log p(y | eta) = y eta - (y + phi) log(phi + e^eta) +
terms free of eta (Lawless 1987, "Negative binomial and mixed Poisson regression", Canadian Journal
of Statistics 15(3)). The posterior of a Gaussian eta is replaced by the Gaussian of equal mean and
variance (assumed-density filtering: Minka 2001, "A family of algorithms for approximate Bayesian
inference", MIT thesis, ch. 3); the integrals are Gauss-Hermite sums moved to the mode and scaled by
the curvature there (Liu & Pierce 1994, "A note on Gauss-Hermite quadrature", Biometrika 81(3)),
because a count of thousands is far sharper than what was believed before it.
"""

from __future__ import annotations

from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special.cython_special import gammaincinv

from models import kernels

__all__ = [
    "ABSCISSAE",
    "LOG_WEIGHTS",
    "NODES",
    "NORMAL_95",
    "NORMAL_99",
    "CountInterval",
    "between",
    "count_limits",
    "seen_as",
]

Floats = NDArray[np.float64]

NORMAL_95 = (
    1.6448536269514722  # 95 % point of the standard normal: a 90 % interval leaves out both tails
)
NORMAL_99 = 2.3263478740408408
NODES = 15
PRECISION_MIN = 1e-9  # of what a count tells of eta; less is rounding
# Below it the probabilities are summed one by one; above, a count is nearly continuous.
EXACT_MEAN_MAX = 30.0
_hermite_x, _hermite_w = np.polynomial.hermite.hermgauss(NODES)
ABSCISSAE: Floats = sqrt(2.0) * _hermite_x
# log(w_k) + x_k^2: the weight of a node once the Gaussian it was made for has been divided out.
LOG_WEIGHTS: Floats = np.log(_hermite_w) + _hermite_x**2


@kernels.compiled
def seen_as(y: float, mean: float, variance: float, size: float) -> tuple[float, float]:
    """Return the Gaussian observation of eta ~ N(mean, variance) that does what a count does: as
    what eta is seen, and the variance of the error, infinite where the count says nothing.

    Parameters
    ----------
    y : the count, >= 0.
    mean, variance : of eta, natural log.
    size : phi of the negative binomial, > 0.

    >>> seen, noise = seen_as(400.0, 0.0, 9.0, 1e6)  # a sharp count overrules a vague belief
    >>> round(seen, 2), round(1 / noise)
    (5.99, 399)
    """
    nodes = np.empty(NODES)
    after, left = kernels.tilted(
        y, mean, variance, size, ABSCISSAE, LOG_WEIGHTS, nodes, np.empty(NODES)
    )
    precision = 1.0 / left - 1.0 / variance
    if precision <= PRECISION_MIN:
        return mean, np.inf
    return (after / left - mean / variance) / precision, 1.0 / precision


# Low and high; or, where shape is above 0, those of a Gamma of that shape and scale.
CountInterval = tuple[float, float, float, float]


@kernels.compiled
def count_limits(mean: float, size: float) -> CountInterval:
    """Return the 5 % and 95 % points of a negative binomial count of dispersion phi = size: in at
    least 90 % of cases it lies between. `between` reads them.
    """
    if mean <= 0.0:
        return 0.0, 0.0, 0.0, 0.0
    if mean <= EXACT_MEAN_MAX:
        low, high = kernels.exact_interval(mean, size)
        return low, high, 0.0, 0.0
    # A Gamma of equal mean and variance, to be cut to whole counts.
    variance = mean + mean * mean / size
    return 0.0, 0.0, mean * mean / variance, variance / mean


def between(count: CountInterval) -> tuple[float, float]:
    """Return the limits, the Gamma's quantiles by scipy, which compiled loops cannot reach.

    >>> between(count_limits(0.01, 5.0)), between(count_limits(3.0, 1e9))
    ((0.0, 0.0), (1.0, 6.0))
    """
    low, high, shape, scale = count
    if shape == 0.0:
        return low, high
    low, high = scale * gammaincinv(shape, 0.05), scale * gammaincinv(shape, 0.95)
    return float(floor(low)), float(floor(high + 0.5))
