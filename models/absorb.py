"""One count absorbed by many beliefs about its log mean at once, compiled.

Per row the log mean eta has the prior N(mean, variance), and y given eta is NB(exp(eta), phi). The
likelihood is the same for every row, so one Gaussian about the first row's posterior mode, times
the row's prior, says where a row's integrand lies; the integrals are by the trapezoidal rule, and
the posterior is summarised by its first two moments (assumed-density filtering: Minka 2001, "A
family of algorithms for approximate Bayesian inference", MIT thesis, ch. 3).

The nodes of all rows lie on one lattice, so the likelihood is reckoned once a node. From node to
node it changes by a factor known, and a Gaussian prior by one that itself changes by a constant
factor: a row costs multiplications, and a handful of exponentials.
"""

from __future__ import annotations

from math import exp, expm1, isnan, log, log1p, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["absorb", "step"]

Floats = NDArray[np.float64]

NEWTON_STEPS_MAX = 60
# Trapezoidal rule over +-4.9 sd of the proposal in steps of .7: for a Gaussian half or one and a
# half times as wide as the proposal the error stays below 1e-3, for one of its width below 1e-6.
STEP, REACH = 0.7, 4.9
NODES: Floats = np.linspace(-REACH, REACH, 15)
_MASS = STEP / sqrt(2.0 * pi)
# Where y is such a surprise that one node has it all, some spread must be left.
SPREAD_LEFT = 0.01
# Rows so far apart that they share no lattice, or so surprised that the factors from node to node
# leave the range of doubles, are absorbed each by itself.
LATTICE_MAX, LOG_FACTOR_MAX, MASS_MAX = 1_000, 300.0, 1e200


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
def centre(mean: float, variance: float, weight: float, total: float, about: float) -> float:
    """Return where a row's integrand has its mode, about: between what was expected and what came.

    mean, variance : of the row. weight : precision times mean of the Gaussian about the mode.
    total : its precision and the row's together. about : the log mean that y speaks for.
    """
    eta = (mean / variance + weight) / total
    return min(max(eta, min(mean, about)), max(mean, about))


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
    """Return log p(y) up to a constant shared by all rows, and posterior mean and variance, from
    nodes of the row's own; parameters as for `centre`.
    """
    precision = 1.0 / variance
    total = precision + information
    eta = centre(mean, variance, weight, total, about)
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
    return log_p, eta + width * shift, max(second / mass - shift * shift, SPREAD_LEFT) / total


@compiled
def lattice(
    low: float, step: float, nodes: int, y: float, phi: float
) -> tuple[Floats, Floats, Floats]:
    """Return the log likelihood at each node, and by what factor it changes to the next and back.

    low : log mean at the first node. The log likelihood is up to a constant of y and phi; where it
    changes too fast for a factor, this is no number.
    """
    logs, onward, back = np.empty(nodes), np.empty(nodes), np.empty(nodes)
    growth, odds = expm1(step), exp(low) / phi
    logs[0] = y * low - (y + phi) * log1p(odds)
    for k in range(nodes - 1):
        change = y * step - (y + phi) * log1p(growth * odds / (1.0 + odds))
        logs[k + 1] = logs[k] + change
        onward[k] = exp(change) if abs(change) < LOG_FACTOR_MAX else np.nan
        back[k + 1] = 1.0 / onward[k]
        odds += growth * odds
    return logs, onward, back


@compiled
def sums_from(
    node: int, nodes: int, side: int, factors: Floats, factor: float, fall: float
) -> tuple[float, float, float]:
    """Return the moments, up to the second, of an integrand over the nodes to one side of a node;
    in steps from there, and relative to its value there.

    side : 1 or -1. factors : by which the likelihood changes from node to node. factor : by which
    the prior changes to the first of the nodes; with each, this falls by `fall`.
    """
    mass = first = second = 0.0
    value, away = 1.0, 0.0
    for _ in range(nodes):
        value *= factors[node] * factor
        factor *= fall
        node += side
        away += side
        mass += value
        first += away * value
        second += away * away * value
    return mass, first, second


@compiled
def absorb_on_lattice(
    mean: float,
    precision: float,
    width: float,
    node: int,
    low: float,
    step: float,
    logs: Floats,
    onward: Floats,
    back: Floats,
) -> tuple[float, float, float]:
    """Return what `absorb_row` does; log p(y) is no number if the row must be absorbed by itself.

    width : sd of the row's integrand, roughly. node : at its mode, roughly. The others are the
    lattice's.
    """
    eta = low + node * step
    from_mean, nodes = eta - mean, int(REACH * width / step + 1.5)
    if precision * step * (abs(from_mean) + nodes * step) > LOG_FACTOR_MAX:
        return np.nan, eta, width
    factor, fall = exp(-precision * step * (from_mean + 0.5 * step)), exp(-precision * step * step)
    above = sums_from(node, nodes, 1, onward, factor, fall)
    below = sums_from(node, nodes, -1, back, fall / factor, fall)
    mass = 1.0 + above[0] + below[0]
    if not mass < MASS_MAX:
        return np.nan, eta, width
    shift = (above[1] + below[1]) / mass
    spread = (above[2] + below[2]) / mass - shift * shift
    log_p = logs[node] - 0.5 * precision * from_mean * from_mean
    log_p += log(mass * step * sqrt(precision / (2.0 * pi)))
    return log_p, eta + step * shift, max(spread * step * step, SPREAD_LEFT * width * width)


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
    # The narrowest row says how close the nodes are, the outermost how far they go.
    step, low, high = STEP / sqrt(1.0 / variance.min() + information), np.inf, -np.inf
    for i in range(n):
        total = 1.0 / variance[i] + information
        eta[i], left[i] = centre(mean[i], variance[i], weight, total, about), 1.0 / sqrt(total)
        low = min(low, eta[i] - REACH * left[i] - 2.0 * step)
        high = max(high, eta[i] + REACH * left[i] + 2.0 * step)
    nodes = int(min((high - low) / step, LATTICE_MAX)) + 2
    logs, onward, back = lattice(low, step, nodes, y, phi)
    for i in range(n):
        if i > 0 and mean[i] == mean[0] and variance[i] == variance[0]:
            log_p[i], eta[i], left[i] = log_p[0], eta[0], left[0]
            continue
        log_p[i] = np.nan
        if nodes < LATTICE_MAX:
            node, precision = int((eta[i] - low) / step + 0.5), 1.0 / variance[i]
            log_p[i], eta[i], left[i] = absorb_on_lattice(
                mean[i], precision, left[i], node, low, step, logs, onward, back
            )
        if isnan(log_p[i]):
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
