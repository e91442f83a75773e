"""From what is believed of an appeal to what is said of it: retention and count, with intervals."""

from __future__ import annotations

from math import erfc, exp, log, sqrt

import numpy as np

from models.forecast import Forecast
from models.gaussian import NORMAL_95, NORMAL_99, count_interval, matched_size, tilted_nodes
from models.joint import Belief

__all__ = ["outlook", "outlook_given"]

# The floor of the interval of log retention (STATISTICS section 1: units that go on appealing are
# not a random sample).
FLOOR_RELATIVE, FLOOR_ABSOLUTE = 0.05, 0.02
IMMUNE_MIN = 0.005  # probability of immunity that an upper limit of 99 % must mind
LOG_MEAN_MAX = 700.0
SQRT_2 = sqrt(2.0)
REACH_SDS = 4.0
ACCURACY = 1e-4  # of a quantile of log retention


def outlook(belief: Belief, size: float) -> Forecast:
    """Return the forecast of an appeal none of whose responses is in; `size` is the dispersion."""
    mean = exp(min(belief.eta + belief.eta_variance / 2.0, LOG_MEAN_MAX))
    low, high = count_interval(mean, matched_size(belief.eta_variance, size))
    return _said(belief, mean, low, high)


def outlook_given(belief: Belief, size: float, responses: float, completion: float) -> Forecast:
    """Return the forecast of an appeal of whose responses a share `completion` could arrive.

    What is believed of the log mean is tilted by the responses so far; log retention follows by
    regression. The appeal's own multiplier is Gamma(phi, phi) beforehand, Gamma(phi + y, phi + mean
    so far) afterwards, and so the rest of the responses is negative binomial again.
    """
    so_far_eta, variance = belief.eta + log(completion), belief.eta_variance
    nodes, weights = np.array(tilted_nodes(responses, so_far_eta, variance, size))
    tilted = float(weights @ nodes)
    spread = float(weights @ (nodes - tilted) ** 2)
    gain = belief.covariance / variance
    after = belief._replace(
        retention=belief.retention + gain * (tilted - so_far_eta),
        retention_variance=belief.retention_variance - gain * gain * (variance - spread),
    )
    so_far = np.exp(nodes)
    rate = so_far * ((size + responses) / (size + so_far)) * (1.0 / completion - 1.0)
    rest = float(weights @ rate)
    second = float(weights @ (rate * rate)) * (1.0 + 1.0 / (size + responses))
    if rest <= 0.0:
        return _said(after, responses, responses, responses)
    low, high = count_interval(rest, rest * rest / max(second - rest * rest, 1e-12 * rest * rest))
    return _said(after, responses + rest, responses + low, responses + high)


def _said(belief: Belief, mean: float, mean_low: float, mean_high: float) -> Forecast:
    """Return the forecast: the median of retention, its 90 % interval, and the count's."""
    centre, immune = belief.retention, belief.immune
    floor = (FLOOR_RELATIVE * centre) ** 2 + FLOOR_ABSOLUTE**2
    sd = sqrt(max(belief.retention_variance, 0.0) + floor)
    low, middle, high = centre - NORMAL_95 * sd, centre, centre + NORMAL_95 * sd
    if immune > IMMUNE_MIN:
        low, middle, high, highest = (
            _quantile(p, centre, sd, immune) for p in (0.05, 0.5, 0.95, 0.99)
        )
        # So wide that the upper limits taken from it hold, immunity included.
        sd = max((high - middle) / NORMAL_95, (highest - middle) / NORMAL_99)
    return Forecast(exp(middle), exp(low), exp(high), mean, mean_low, mean_high, sd)


def _quantile(p: float, mean: float, sd: float, immune: float) -> float:
    """Return a quantile of N(mean, sd^2), or of N(0, FLOOR_ABSOLUTE^2) with chance `immune`.

    >>> round(_quantile(0.5, -1.0, 0.1, 0.0), 3), round(_quantile(0.95, -1.0, 0.1, 0.3), 3)
    (-1.0, 0.019)
    """
    low = min(mean - REACH_SDS * sd, -REACH_SDS * FLOOR_ABSOLUTE)
    high = max(mean + REACH_SDS * sd, REACH_SDS * FLOOR_ABSOLUTE)
    while high - low > ACCURACY:
        middle = 0.5 * (low + high)
        below = (1.0 - immune) * _normal(middle, mean, sd)
        below += immune * _normal(middle, 0.0, FLOOR_ABSOLUTE)
        low, high = (middle, high) if below < p else (low, middle)
    return 0.5 * (low + high)


def _normal(value: float, mean: float, sd: float) -> float:
    """Return the distribution function of N(mean, sd^2)."""
    return 0.5 * erfc((mean - value) / (sd * SQRT_2))
