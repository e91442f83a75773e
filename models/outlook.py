"""From what is believed of an appeal to what is said of it: retention and count, with intervals."""

from __future__ import annotations

from math import erfc, exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from models.forecast import Forecast
from models.gaussian import (
    ABSCISSAE,
    LOG_WEIGHTS,
    NODES,
    NORMAL_95,
    NORMAL_99,
    CountInterval,
    between,
    count_limits,
)
from models.joint import Belief
from models.kernels import compiled, matched_size, tilted

__all__ = ["looked", "looked_given", "outlook"]

Floats = NDArray[np.float64]

# The floor of the interval of log retention (STATISTICS section 1: units that go on appealing are
# not a random sample).
FLOOR_RELATIVE, FLOOR_ABSOLUTE = 0.05, 0.02
# The error of what is learned of all has heavier tails than a normal, its variance being learned
# too (how wide priors are, the half-lives at which all is linearised): Student (1908), "The
# probable error of a mean", Biometrika 6(1). Over 112 simulated worlds with wear-out it had, in
# sds, the shape of his t with 3.5 degrees of freedom: 98 % lay within 2.1, nearly a normal's 2.3,
# but 90 % within 1.2, not 1.6. A limit of 99 % therefore takes the whole sd, an interval of 90 %
# this share of it: (t_.95 / t_.99) / (z_.95 / z_.99) at 4 degrees of freedom, which
# is the less bold of the round numbers beside 3.5.
HEAVY_TAILED_90 = (2.13185 / 3.74695) / (NORMAL_95 / NORMAL_99)
IMMUNE_MIN = 0.005  # probability of immunity that an upper limit of 99 % must mind
LOG_MEAN_MAX = 700.0
SQRT_2 = sqrt(2.0)
REACH_SDS = 4.0
ACCURACY = 1e-4  # of a quantile of log retention


def outlook(belief: Belief, size: float) -> Forecast:
    """Return the forecast of an appeal none of whose responses is in; `size` is the dispersion."""
    retention, low, high, sd, mean, count = looked(*belief, size)
    least, most = between(count)
    return Forecast(retention, low, high, mean, least, most, sd)


@compiled
def looked(
    eta: float,
    eta_variance: float,
    retention: float,
    retention_variance: float,
    covariance: float,
    immune: float,
    normal_variance: float,
    size: float,
) -> tuple[float, float, float, float, float, CountInterval]:
    """Return retention, its limits and the sd of its log; the mean of the count, and its limits."""
    mean = exp(min(eta + eta_variance / 2.0, LOG_MEAN_MAX))
    count = count_limits(mean, matched_size(eta_variance, size))
    low, middle, high, sd = _interval(retention, retention_variance, immune, normal_variance)
    return exp(middle), exp(low), exp(high), sd, mean, count


@compiled
def looked_given(
    eta: float,
    eta_variance: float,
    retention: float,
    retention_variance: float,
    covariance: float,
    immune: float,
    normal_variance: float,
    size: float,
    responses: float,
    completion: float,
) -> tuple[float, float, float, float, float, CountInterval]:
    """Return what `looked` does, of the responses to come to an appeal of whose responses a share
    `completion` could arrive.

    What is believed of the log mean is tilted by the responses so far; log retention follows by
    regression. The appeal's own multiplier is Gamma(phi, phi) beforehand, Gamma(phi + y, phi + mean
    so far) afterwards, and so the rest of the responses is negative binomial again.
    """
    so_far = eta + log(completion)
    nodes, weights = np.empty(NODES), np.empty(NODES)
    tilted(responses, so_far, eta_variance, size, ABSCISSAE, LOG_WEIGHTS, nodes, weights)
    after, spread, rest, second = _rest(nodes, weights, size, responses, 1.0 / completion - 1.0)
    gain = covariance / eta_variance
    left = max(retention_variance - gain * gain * (eta_variance - spread), 0.0)
    # What has come takes as much off the one part of the variance as off the other.
    normal_variance = min(normal_variance, retention_variance)
    normal_variance *= left / max(retention_variance, 1e-300)
    low, middle, high, sd = _interval(
        retention + gain * (after - so_far), left, immune, normal_variance
    )
    square = rest * rest
    count = count_limits(rest, square / max(second - square, 1e-12 * square, 1e-300))
    return exp(middle), exp(low), exp(high), sd, rest, count


@compiled
def _rest(
    nodes: Floats, weights: Floats, size: float, responses: float, to_come: float
) -> tuple[float, float, float, float]:
    """Return mean and variance of the log mean over its nodes, and the first two moments of the
    rate of the responses to come, `to_come` times those that could arrive so far.
    """
    tilted = spread = rest = second = 0.0
    for i in range(nodes.shape[0]):
        tilted += weights[i] * nodes[i]
    for i in range(nodes.shape[0]):
        so_far = exp(nodes[i])
        rate = so_far * ((size + responses) / (size + so_far)) * to_come
        spread += weights[i] * (nodes[i] - tilted) ** 2
        rest += weights[i] * rate
        second += weights[i] * rate * rate
    return tilted, spread, rest, second * (1.0 + 1.0 / (size + responses))


@compiled
def _interval(
    centre: float, variance: float, immune: float, normal_variance: float
) -> tuple[float, float, float, float]:
    """Return the 5 %, 50 % and 95 % quantiles of log retention, and an sd to take limits of 99 %
    from.

    normal_variance : see joint.Belief. The floor's, which is held and not learned, is normal too.
    """
    variance = max(variance, 0.0)
    heavy_tailed_variance = max(variance - normal_variance, 0.0)
    floor = (FLOOR_RELATIVE * centre) ** 2 + FLOOR_ABSOLUTE**2
    normal_variance = variance - heavy_tailed_variance + floor
    sd = sqrt(normal_variance + heavy_tailed_variance)
    sd_90 = sqrt(normal_variance + HEAVY_TAILED_90**2 * heavy_tailed_variance)
    if immune <= IMMUNE_MIN:
        return centre - NORMAL_95 * sd_90, centre, centre + NORMAL_95 * sd_90, sd
    low, middle = _quantile(0.05, centre, sd_90, immune), _quantile(0.5, centre, sd_90, immune)
    high, highest = _quantile(0.95, centre, sd_90, immune), _quantile(0.99, centre, sd, immune)
    # So wide that the upper limits taken from it hold, immunity included.
    return low, middle, high, max((high - middle) / NORMAL_95, (highest - middle) / NORMAL_99)


@compiled
def _quantile(p: float, mean: float, sd: float, immune: float) -> float:
    """Return a quantile of N(mean, sd^2), or of N(0, FLOOR_ABSOLUTE^2) with chance `immune`.

    >>> round(_quantile(0.5, -1.0, 0.1, 0.0), 3), round(_quantile(0.95, -1.0, 0.1, 0.3), 3)
    (-1.0, 0.019)
    """
    low = min(mean - REACH_SDS * sd, -REACH_SDS * FLOOR_ABSOLUTE)
    high = max(mean + REACH_SDS * sd, REACH_SDS * FLOOR_ABSOLUTE)
    while high - low > ACCURACY:
        middle = 0.5 * (low + high)
        below = (1.0 - immune) * 0.5 * erfc((mean - middle) / (sd * SQRT_2))
        below += immune * 0.5 * erfc(-middle / (FLOOR_ABSOLUTE * SQRT_2))
        if below < p:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
