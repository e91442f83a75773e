"""The filter's inner loops, compiled: they run some times for every appeal.

Each is plain arithmetic over arrays, without allocation where it can be. `fastmath` stays off, so
that sums are added up in the order written, on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from math import exp, lgamma, log, log1p, sqrt
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["compiled", "exact_interval", "foresee", "learn", "log_probability", "tilted"]

Floats = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])
QUANTITIES = 4  # log mean, log retention, u_wear, u_level: see models.joint
# A conditioned quantity comes after all that are still of interest (see exchange_prior).
ETA, RETENTION, U_WEAR, U_LEVEL = range(QUANTITIES)
IMMUNE = -1.0  # u of a unit that never wears out: see models.strength
SHARE_IGNORED = 0.001  # a probability of immunity not worth reckoning with
NEWTON_STEPS_MAX = 30
COUNT_MAX = 2_000
SPREAD_MIN = 0.01  # of the variance that the curvature at the mode says


def _keep_apart() -> None:
    """Keep what is compiled from these very sources in a place of its own: numba looks for changes
    in a function's own file only, and loops here call loops of other files.
    """
    folder = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    version = sha256(sources).hexdigest()[:12]
    _settings.CACHE_DIR = str(folder / "__pycache__" / f"compiled-{version}")


_settings: Any = numba.config
if not _settings.CACHE_DIR:
    _keep_apart()


def compiled(function: Function) -> Function:
    """Return the function, compiled when first called and kept on disk.

    Where another compiled function calls it, it is written out in place: an array is passed in
    seven parts, so that a call of a small loop costs more than the loop.
    """
    made = numba.njit(cache=True, fastmath=False, error_model="numpy", forceinline=True)(function)
    return cast(Function, made)


@compiled
def spread_out(
    rows: Floats, slope: float, covariance: Floats, loading: Floats, known: bool, spread: Floats
) -> None:
    """Fill in the covariances of the four quantities with the coefficients; see `foresee`.

    rows : without the unit's effects, so that most of what they hold is zero and passed over; so
        is what a unit has never owed anything to.
    """
    n = rows.shape[1]
    spread[:] = 0.0
    for i in range(n):
        a, b = rows[0, i], rows[1, i]
        if a != 0.0:
            for j in range(n):
                spread[0, j] += a * covariance[i, j]
        if b != 0.0:
            for j in range(n):
                spread[1, j] += b * covariance[i, j]
        c, d = loading[1, i], loading[0, i]
        if known and (c != 0.0 or d != 0.0):
            for j in range(n):
                spread[2, j] += c * covariance[i, j]
                spread[3, j] += d * covariance[i, j]
    for j in range(n):
        spread[1, j] += slope * spread[2, j]
        spread[0, j] += spread[1, j] + spread[3, j]


@compiled
def cross(rows: Floats, loading: Floats, known: bool, spread: Floats, joint: Floats) -> None:
    """Fill in the covariances of the four quantities, as far as the coefficients make them."""
    n = rows.shape[1]
    joint[:] = 0.0
    for j in range(n):
        a, b = spread[0, j], spread[1, j]
        joint[0, 0] += a * rows[0, j]
        joint[1, 0] += b * rows[0, j]
        joint[1, 1] += b * rows[1, j]
        if known:
            c, d = loading[1, j], loading[0, j]
            joint[2, 0] += a * c
            joint[3, 0] += a * d
            joint[2, 1] += b * c
            joint[3, 1] += b * d
            joint[2, 2] += spread[2, j] * c
            joint[3, 2] += spread[2, j] * d
            joint[3, 3] += spread[3, j] * d
    for p in range(QUANTITIES):
        for q in range(p):
            joint[q, p] = joint[p, q]


@compiled
def foresee(
    rows: Floats,
    base: float,
    retention: float,
    slope: float,
    mean: Floats,
    covariance: Floats,
    loading: Floats,
    effects: tuple[float, float],
    own: Floats,
    known: bool,
    jumps_at: int,
    shift: Floats,
    change: Floats,
    spread: Floats,
    joint_mean: Floats,
    joint: Floats,
) -> tuple[float, float]:
    """Work out what is believed of an appeal's four quantities, jointly.

    Parameters
    ----------
    rows : shape (2, n), what log mean (without retention) and log retention owe to the
        coefficients. On return, all they owe, the unit's effects integrated out.
    base : log exposure. retention : log retention. slope : what one more u_wear adds to it.
    mean, covariance, loading, effects, own : of the coefficients, and of the unit's effects:
        what they owe to the coefficients, means, covariance. known : whether loadings are not 0.
    jumps_at, shift, change : see jumps.Jumps.
    spread, joint_mean, joint : shapes (4, n), (4,), (4, 4); filled.

    Returns
    -------
    Mean and variance of the log mean, every candidate for a jump being one.
    """
    n = mean.shape[0]
    eta = base + effects[0] + retention
    spread_out(rows, slope, covariance, loading, known, spread)
    for i in range(n):
        eta += rows[0, i] * mean[i]
        if known:
            rows[1, i] += slope * loading[1, i]
        rows[0, i] += rows[1, i] + loading[0, i]
    cross(rows, loading, known, spread, joint)
    for p in range(QUANTITIES):
        a = 1.0 if p == 0 or p == 3 else 0.0
        b = slope if p < 2 else (1.0 if p == 2 else 0.0)
        by_level, by_wear = a * own[0, 0] + b * own[1, 0], a * own[0, 1] + b * own[1, 1]
        joint[p, 0] += by_level + by_wear * slope
        joint[p, 1] += by_wear * slope
        joint[p, 2] += by_wear
        joint[p, 3] += by_level
    eta_variance = joint[0, 0]
    joint_mean[0] = eta
    joint_mean[1] = retention
    joint_mean[2] = effects[1]
    joint_mean[3] = effects[0]
    weigh_jumps(jumps_at, shift, change, spread, joint_mean, joint)
    return eta, eta_variance


@compiled
def weigh_jumps(
    jumps_at: int,
    shift: Floats,
    change: Floats,
    spread: Floats,
    joint_mean: Floats,
    joint: Floats,
) -> None:
    """Believe in each candidate for a jump as much as it deserves: see jumps.Jumps."""
    m = shift.shape[0]
    for p in range(QUANTITIES):
        for k in range(m):
            c = spread[p, jumps_at + k]
            joint_mean[p] += c * shift[k]
            for q in range(QUANTITIES):
                for o in range(m):
                    joint[p, q] += c * change[k, o] * spread[q, jumps_at + o]


@compiled
def believe(
    joint_mean: Floats,
    joint: Floats,
    level_prior_sd: float,
    wear_prior_sd: float,
    level_sd: float,
    wear_sd: float,
    immune_share: float,
    slope: float,
) -> tuple[float, float, float, float, float, float]:
    """Return what to predict with: see joint.Belief, without the variance the level leaves open."""
    mean, covariance = joint_mean.copy(), joint.copy()
    exchange_prior(mean, covariance, U_LEVEL, level_prior_sd, level_sd, 0.0)
    mixed = immune_share > SHARE_IGNORED and slope != 0.0
    never, never_variance = 0.0, 0.0
    if mixed:
        gain = covariance[U_WEAR, ETA] / covariance[U_WEAR, U_WEAR]
        never = mean[ETA] + gain * (IMMUNE - mean[U_WEAR])
        never_variance = covariance[ETA, ETA] - gain * covariance[U_WEAR, ETA]
    centre = immune_share / (1.0 - immune_share)
    exchange_prior(mean, covariance, U_WEAR, wear_prior_sd, wear_sd, centre)
    eta, variance, across = mean[ETA], covariance[ETA, ETA], covariance[RETENTION, ETA]
    immune = 0.0
    if mixed:
        own, away = covariance[U_WEAR, U_WEAR], IMMUNE - mean[U_WEAR]
        prior = IMMUNE - centre
        log_odds = log(centre) + 0.5 * (
            log(wear_sd**2 / own) + prior * prior / wear_sd**2 - away * away / own
        )
        immune = 1.0 / (1.0 + exp(-max(-50.0, min(50.0, log_odds))))
        apart = never - eta
        variance = (1.0 - immune) * variance + immune * never_variance
        variance += immune * (1.0 - immune) * apart * apart
        eta += immune * apart
        across *= 1.0 - immune
    return eta, variance, mean[RETENTION], covariance[RETENTION, RETENTION], across, immune


@compiled
def exchange_prior(
    mean: Floats, covariance: Floats, index: int, prior_sd: float, sd: float, centre: float
) -> None:
    """Believe what would be believed had an effect the prior N(centre, sd^2), not N(0, prior_sd^2).

    It is one more observation, with the precision that was lacking (a negative one loosens). The
    variance is at most what the prior allowed; stand-ins for forgotten levels may exceed it a bit.
    Only what stands before `index` is brought up to date besides, at and below the diagonal.
    """
    lacking = sd**-2 - prior_sd**-2
    own = min(covariance[index, index], prior_sd * prior_sd)
    share = 1.0 / (1.0 + own * lacking)
    change = (centre * sd**-2 - mean[index] * lacking) * share
    for i in range(index):
        mean[i] += covariance[index, i] * change
        gain = covariance[index, i] * lacking * share
        for j in range(i + 1):
            covariance[i, j] -= gain * covariance[index, j]
    mean[index] += own * change
    covariance[index, index] = own * share


@compiled
def learn(
    row: Floats,
    spread: Floats,
    innovation: float,
    total: float,
    slope: float,
    noise: float,
    mean: Floats,
    covariance: Floats,
    loading: Floats,
    effects: Floats,
    own: Floats,
) -> None:
    """Learn from an observation of the log mean: the coefficients, then the unit given them.

    The step is that of Kalman (1960), "A new approach to linear filtering and prediction problems",
    Journal of Basic Engineering 82(1).

    Parameters
    ----------
    row, spread : shape (n,), what it owes to the coefficients, and its covariance with them.
    innovation, total : how far off it was, and with what variance, its error included.
    slope : what it owes to u_wear. noise : variance of its error.
    mean, covariance, loading, effects, own : as in `foresee`; brought up to date.
    """
    n = mean.shape[0]
    from_state = innovation
    for i in range(n):
        from_state += row[i] * mean[i]
    for i in range(n):
        gain = spread[i] / total
        mean[i] += gain * innovation
        if gain != 0.0:
            for j in range(n):
                covariance[i, j] -= gain * spread[j]
    by_level = own[0, 0] + slope * own[0, 1]
    by_wear = own[0, 1] + slope * own[1, 1]
    own_total = by_level + slope * by_wear + noise
    gain_level, gain_wear = by_level / own_total, by_wear / own_total
    effects[0] += gain_level * from_state
    effects[1] += gain_wear * from_state
    for i in range(n):
        loading[0, i] -= gain_level * row[i]
        loading[1, i] -= gain_wear * row[i]
    own[0, 0] -= by_level * gain_level
    own[0, 1] -= by_level * gain_wear
    own[1, 0] = own[0, 1]
    own[1, 1] -= by_wear * gain_wear


@compiled
def tilted(
    y: float,
    mean: float,
    variance: float,
    size: float,
    abscissae: Floats,
    log_weights: Floats,
    nodes: Floats,
    weights: Floats,
) -> tuple[float, float]:
    """Return mean and variance of a log mean eta ~ N(mean, variance) once a count `y` of dispersion
    phi = size was seen: see models.gaussian.

    abscissae, log_weights : of the quadrature. nodes, weights : of the same shape; filled with
    those of the posterior.
    """
    information = (y + 0.5) * size / (y + 0.5 + size)
    mode = (mean / variance + information * log(y + 0.5)) / (1.0 / variance + information)
    log_size, curvature = log(size), 1.0 / variance
    # The density is log-concave: steps from between belief and count cannot get lost.
    for _ in range(NEWTON_STEPS_MAX):
        turned = 1.0 / (1.0 + exp(min(max(log_size - mode, -700.0), 700.0)))
        slope = y - (y + size) * turned - (mode - mean) / variance
        curvature = (y + size) * turned * (1.0 - turned) + 1.0 / variance
        step = slope / curvature
        mode += max(-2.0, min(2.0, step))
        if abs(step) < 1e-6:
            break
    scale, total, first, second = 1.0 / sqrt(curvature), 0.0, 0.0, 0.0
    n = abscissae.shape[0]
    peak = 0.0
    for k in range(n):
        node = mode + scale * abscissae[k]
        away = node - mean
        value = y * node - (y + size) * log(size + exp(min(node, 700.0)))
        value += log_weights[k] - 0.5 * away * away / variance
        nodes[k], weights[k] = node, value
        peak = value if k == 0 else max(peak, value)
    for k in range(n):
        weights[k] = exp(weights[k] - peak)
        total += weights[k]
    for k in range(n):
        weights[k] /= total
        away = nodes[k] - mode
        first += weights[k] * away
        second += weights[k] * away * away
    # Where the count is such a surprise that one node has it all, some spread must be left.
    return mode + first, max(second - first * first, SPREAD_MIN / curvature)


@compiled
def matched_size(variance: float, size: float) -> float:
    """Return phi of the negative binomial with the variance of one whose log mean is N(.,
    `variance`): with both spreads multiplied, 1 / phi' = (1 + 1 / phi) e^variance - 1.

    >>> round(matched_size(0.0, 10.0), 9)
    10.0
    """
    return 1.0 / max((1.0 + 1.0 / size) * exp(min(variance, 50.0)) - 1.0, 1e-12)


@compiled
def log_probability(y: float, mean: float, variance: float, size: float) -> float:
    """Return log P(y) of one count, its log mean N(mean, variance), by matching two moments: `size`
    is the dispersion of the matched negative binomial (`matched_size`), whose mean is
    exp(mean + variance / 2).
    """
    log_mean, log_size = mean + variance / 2.0, log(size)
    highest = max(log_size, log_mean)
    log_total = highest + log1p(exp(-abs(log_size - log_mean)))
    choices = lgamma(y + size) - lgamma(size) - lgamma(y + 1.0)
    return choices + size * log_size + y * log_mean - (y + size) * log_total


@compiled
def log_score(y: float, mean: float, variance: float, size: float) -> float:
    """Return log P(y) of a count of dispersion phi = size whose log mean is N(mean, variance)."""
    return log_probability(y, mean, variance, matched_size(variance, size))


@compiled
def exact_interval(mean: float, size: float) -> tuple[float, float]:
    """Return the 5 % and 95 % points of a negative binomial count, summed one by one."""
    ratio = mean / (mean + size)
    term = exp(max(-size * log1p(mean / size), -700.0))
    total, count, low = term, 0, -1.0
    while count < COUNT_MAX:
        if low < 0.0 and total >= 0.05:
            low = float(count)
        if total >= 0.95:
            break
        term *= ratio * (size + count) / (count + 1)
        total += term
        count += 1
    return max(low, 0.0), float(count)
