"""One count absorbed by many beliefs about its log mean at once, compiled.

Per row the log mean eta has the prior N(mean, variance), and y given eta is NB(exp(eta), phi). The
likelihood is the same for every row, so one Gaussian about the first row's posterior mode, times
the row's prior, places the row's nodes; the integrals over them are by the trapezoidal rule, and
the posterior is summarised by its first two moments (assumed-density filtering: Minka 2001, "A
family of algorithms for approximate Bayesian inference", MIT thesis, ch. 3).
"""

from __future__ import annotations

from math import exp, expm1, log, log1p, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["absorb", "step"]

Floats = NDArray[np.float64]

NEWTON_STEPS_MAX = 60
# Trapezoidal rule over +-4.9 sd of the proposal in steps of .7: for a Gaussian half or one and a
# half times as wide as the proposal the error stays below 1e-3, for one of its width below 1e-6.
STEP = 0.7
NODES: Floats = np.linspace(-4.9, 4.9, 15)
_MASS = STEP / sqrt(2.0 * pi)


@compiled
def gaussian_about_mode(
    mean: float, variance: float, y: float, phi: float, likeliest: float
) -> tuple[float, float]:
    """Return the Gaussian that touches the likelihood at the posterior mode: precision times mean,
    and precision.

    The log likelihood y eta - (y + phi) log(1 + exp(eta) / phi) is concave. Newton's steps find the
    mode, mostly in three; one that leaves the bracket is replaced by halving it.
    """
    precision, information = 1.0 / variance, 1.0 / (1.0 / (y + 0.5) + 1.0 / phi)
    low, high = min(mean, likeliest) - 1.0, max(mean, likeliest) + 1.0
    eta, weight = (mean * precision + log(y + 0.5) * information) / (precision + information), 0.0
    for _ in range(NEWTON_STEPS_MAX):
        odds = phi * exp(-eta)
        pulled = 1.0 / (1.0 + odds)
        slope = y - (y + phi) * pulled
        information = (y + phi) * pulled * pulled * odds
        weight, total = eta * information + slope, precision + information
        step = (weight + mean * precision) / total - eta
        if step * step * total < 0.01:
            break
        if step > 0.0:
            low = eta
        else:
            high = eta
        eta = eta + step if low < eta + step < high else 0.5 * (low + high)
    return weight, information


@compiled
def absorb_row(
    mean: float,
    variance: float,
    y: float,
    phi: float,
    weight: float,
    information: float,
    about: float,
) -> tuple[float, float, float]:
    """Return log p(y) up to a constant shared by all rows, and posterior mean and variance.

    weight, information : of the Gaussian about the mode. about : the log mean that y speaks for.
    """
    precision = 1.0 / variance
    total = precision + information
    # The mode lies between what was expected and what came.
    eta = (mean * precision + weight) / total
    eta = min(max(eta, min(mean, about)), max(mean, about))
    width, from_mean, rate = 1.0 / sqrt(total), eta - mean, exp(eta)
    pulled = rate / (rate + phi)
    values, peak = np.empty(NODES.shape[0]), -np.inf
    for k in range(NODES.shape[0]):  # the integrand, relative to that at eta
        step = width * NODES[k]
        value = step * (y - precision * from_mean - 0.5 * precision * step)
        value -= (y + phi) * log1p(pulled * expm1(step))
        values[k] = value
        peak = max(peak, value)
    mass = first = second = 0.0
    for k in range(NODES.shape[0]):
        value = _MASS * exp(values[k] - peak)
        mass += value
        first += value * NODES[k]
        second += value * NODES[k] * NODES[k]
    shift = first / mass
    log_p = peak + y * eta - (y + phi) * log1p(rate / phi) - 0.5 * precision * from_mean * from_mean
    log_p += log(mass * width * sqrt(precision))
    # Where y is such a surprise that one node has it all, some spread must be left.
    return log_p, eta + width * shift, max(second / mass - shift * shift, 0.01) / total


@compiled
def absorb(mean: Floats, variance: Floats, y: float, phi: float) -> tuple[Floats, Floats, Floats]:
    """Return, row by row, log p(y) up to a shared constant, and posterior mean and variance.

    Rows that say what the first one says, as those do whose alternative has not begun, take over
    its answer.
    """
    n = mean.shape[0]
    log_p, eta, left = np.empty(n), np.empty(n), np.empty(n)
    about = log(y) if y > 0.0 else -2.0  # none speak for a little below one half
    weight, information = gaussian_about_mode(mean[0], variance[0], y, phi, about)
    for i in range(n):
        if i > 0 and mean[i] == mean[0] and variance[i] == variance[0]:
            log_p[i], eta[i], left[i] = log_p[0], eta[0], left[0]
        else:
            log_p[i], eta[i], left[i] = absorb_row(
                mean[i], variance[i], y, phi, weight, information, about
            )
    return log_p, eta, left


@compiled
def step(
    mean: Floats,
    variance: Floats,
    ratios: Floats,
    offset: Floats,
    drift: float,
    y: float,
    phi: float,
    spares_last: bool,
) -> Floats:
    """Let every row absorb a count; brings `mean`, `variance` and `ratios` up to date in place.

    Parameters
    ----------
    offset : log of what each row expects where its mean is 0. drift : variance that has come to
        each since the last count. spares_last : whether the last row does not learn this one.

    Returns
    -------
    What the count adds to the log ratio of each row's likelihood to the first one's.
    """
    n = mean.shape[0]
    for i in range(n):
        mean[i] += offset[i]
        variance[i] += drift
    increments, eta, left = absorb(mean, variance, y, phi)
    if spares_last:
        eta[n - 1], left[n - 1] = mean[n - 1], variance[n - 1]
    null = increments[0]
    for i in range(n):
        mean[i], variance[i] = eta[i] - offset[i], left[i]
        increments[i] -= null
        ratios[i] += increments[i]
    return increments
