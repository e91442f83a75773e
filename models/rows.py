"""What an appeal's log mean and log retention owe to each coefficient, at the current mean.

Compiled, and called with numbers and arrays only: it runs some times for every appeal. See
models.retention for the terms, models.joint for what is made of them.
"""

from __future__ import annotations

from math import copysign, exp, inf, log1p, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from models.design import felt
from models.effects import BLANK, COVARIANCE, LOADING, MEAN, PRIOR_SDS
from models.jumps import unpacked
from models.kernels import ETA, RETENTION, believe, compiled, foresee, learn
from models.layout import STEPS, WEEKDAYS, Found
from models.level import Slots, entry
from models.scaling import scaled

__all__ = [
    "SHARE_MAX",
    "SHARE_MIN",
    "Given",
    "learn_row",
    "linearised",
    "moderation",
    "room",
    "share_of",
    "step_rate",
    "wear_now",
]

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
# Stocks and time_days of design.Appeal, the log exposure, then what Layout.found says.
Seen = tuple[Floats, float, float, Found]
Differ = tuple[float, float, float]  # see spreads.Spreads
# All that what is believed of an appeal rests on, but for its unit: Layout.places; the appeal; mean
# and covariance of the coefficients; Effects.packed; Level.slots; Jumps.packed; how units differ,
# for the belief to predict with; and Layout.told: till then all that is believed is normal.
Given = tuple[Places, Seen, tuple[Floats, Floats], Floats, Slots, Floats, Differ, bool]

SHARE_MIN, SHARE_MAX = 0.0, 3.0  # of the common wear-out, that a unit can have
SHARE_WIDTH = 0.15  # over which it bends towards its limits
# Natural log: a factor of four and a half, beyond which moderators change wear-out ever less.
MODERATION_FREE, MODERATION_WIDTH = 1.5, 0.3
STEP_WIDTH = 0.04  # of a step's place: all but sharp, yet with a slope to learn half-lives from
STEP_WIDTHS = 8.0  # from its place, beyond which a logistic step is fully up or down
_STEPS: Floats = np.asarray(STEPS)
# Beyond these, natural logs, nothing that asks people for things has ever been.
ETA_MAX, VARIANCE_MAX, RETENTION_MAX = 40.0, 16.0, 10.0
VARIANCE_MIN = 1e-6
# Where the runs of coefficients begin: see layout.Layout.places.
INTERCEPT, WEEKDAY, WEAR, HALF_LIFE, STEP, JUMPS = range(6)


@compiled
def fill_first(
    row: Floats,
    places: Places,
    weekday: int,
    slot: int,
    slot_weight: float,
    time_days: float,
    jump_days: Floats,
    kind: int,
    group: int,
    attributes: Places,
    values: Floats,
) -> None:
    """Write what a first appeal's log mean owes to the coefficients; -1: has none of its own.

    attributes : where theirs are, values : what they are multiplied by.
    """
    row[places[INTERCEPT]] = 1.0
    row[places[WEEKDAY] + weekday] = 1.0
    row[slot] = slot_weight
    for i in range(jump_days.shape[0]):
        if jump_days[i] <= time_days:
            row[places[JUMPS] + i] = 1.0
    if kind >= 0:
        row[kind] = 1.0
    for i in range(attributes.shape[0]):
        if attributes[i] >= 0:
            row[attributes[i]] += values[i]
    if group >= 0:
        row[group] = 1.0


@compiled
def bend(value: float) -> tuple[float, float]:
    """Return max(value, 0) with its corner rounded off (softplus; Dugas et al. 2001, "Incorporating
    second-order functional knowledge", NIPS 13), and its derivative.
    """
    turned = 1.0 / (1.0 + exp(-min(max(value / SHARE_WIDTH, -50.0), 50.0)))
    return max(value, 0.0) + SHARE_WIDTH * log1p(exp(-abs(value) / SHARE_WIDTH)), turned


@compiled
def share_of(mean: Floats, own: Floats, known: bool) -> tuple[float, float, float, float]:
    """Return a unit's level and wear-out u, and the share of the common wear-out that it has: 1 + u
    within its limits; and what one more u adds to it.

    own : its row of effects.Effects.packed. known : whether it owes anything to the coefficients.

    It bends rather than breaks off, and its derivative with it: were an effect still to be learned
    where it changes nothing, it would run away, and take with it all that it is correlated with.
    """
    u_level, u_wear = own[MEAN], own[MEAN + 1]
    if known:
        n = mean.shape[0]
        for i in range(n):
            u_level += own[LOADING + i] * mean[i]
            u_wear += own[LOADING + n + i] * mean[i]
    above, rising = bend(1.0 + u_wear - SHARE_MIN)
    below, turning = bend(SHARE_MAX - SHARE_MIN - above)
    return u_level, u_wear, SHARE_MAX - below, rising * turning


@compiled
def moderation(mean: Floats, group: int, attributes: Places, values: Floats) -> tuple[float, float]:
    """Return the factor that moderators, and belonging to a group, put on wear-out, and what one
    more of its log adds to the log.

    It bends as in `share_of`, and never stops to rise: were nothing to be learned of those beyond a
    limit, a moderator that has run away would stay there.
    """
    total = mean[group + 1] if group >= 0 else 0.0
    for i in range(attributes.shape[0]):
        if attributes[i] >= 0:
            total += values[i] * mean[attributes[i] + 1]
    beyond = max(abs(total) - MODERATION_FREE, 0.0) / MODERATION_WIDTH
    bent = abs(total) - MODERATION_WIDTH * (beyond - log1p(beyond))
    return exp(copysign(bent, total)), 1.0 / (1.0 + beyond)


@compiled
def fill_steps(
    row: Floats,
    mean: Floats,
    places: Places,
    stock: float,
    rise: float,
    stock_sd: float,
    factor: float,
) -> float:
    """Write what log retention owes to the steps of the kind axis; return what they wear out.

    A step is as blurred as the stock is uncertain, with its half-life: what is expected of a
    logistic function of a Gaussian is nearly the logistic function of a width that much greater
    (MacKay 1992, "The evidence framework applied to classification networks", Neural Computation
    4(5)). Taken at the mean half-life alone, a sharp step would make the filter sure of a half-life
    of which it has seen next to nothing.
    """
    at, added, turn = places[STEP], 0.0, 0.0
    for i in range(_STEPS.shape[0]):
        width = sqrt((STEP_WIDTH * _STEPS[i]) ** 2 + pi / 8.0 * stock_sd * stock_sd)
        away = (_STEPS[i] - stock) / width
        if away >= STEP_WIDTHS:
            break
        share = 1.0 if away <= -STEP_WIDTHS else 1.0 / (1.0 + exp(away))
        row[at + i] = factor * share
        turn += mean[at + i] * share * (1.0 - share) / width
        added += mean[at + i] * share
    row[places[HALF_LIFE] + 1] += factor * turn * rise
    return added


@compiled
def step_rate(mean: Floats, places: Places, kind_stock: float) -> float:
    """Return what the steps of the kind axis add to its wear-out per unit of stock, spread over the
    stock felt now.
    """
    rate = 0.0
    for i in range(_STEPS.shape[0]):
        if _STEPS[i] <= kind_stock:
            rate += mean[places[STEP] + i] / kind_stock
    return rate


@compiled
def wear_rates(mean: Floats, places: Places, kind: int, kind_stock: float) -> Floats:
    """Return the wear-out per unit of stock on each axis, shape (3,), steps included."""
    rates = mean[places[WEAR] : places[WEAR] + 3].copy()
    if kind >= 0:
        rates += mean[kind + 1 : kind + 4]
    rates[1] += step_rate(mean, places, kind_stock)
    return rates


@compiled
def wear_now(
    places: Places,
    found: Found,
    stocks: Floats,
    mean: Floats,
    unit: int,
    units: Floats,
) -> Floats:
    """Return, by axis, the stocks felt, what a unit wears out per unit of them, and the half-lives
    in days; shape (3, 3). Arguments as in `Given`.
    """
    _, _, share, _ = share_of(mean, units[unit], unit != BLANK)
    kind, group, attributes, values, scale = found
    strength, _ = moderation(mean, group, attributes, scaled(values, scale))
    now = np.empty((3, 3))
    for axis in range(3):
        log_half_life = mean[places[HALF_LIFE] + axis]
        now[0, axis], _ = felt(stocks[axis], log_half_life)
        now[2, axis] = exp(log_half_life)
    now[1] = wear_rates(mean, places, kind, now[0, 1])
    now[1] *= share * strength
    return now


@compiled
def fill_wear(
    row: Floats,
    mean: Floats,
    places: Places,
    stocks: Floats,
    kind_half_life_sd: float,
    share: float,
    kind: int,
    group: int,
    attributes: Places,
    values: Floats,
) -> float:
    """Write what log retention owes to the coefficients; return what it is at the whole of the
    common wear-out.

    stocks : shape (3, half-lives), read off at the half-lives believed in.
    """
    strength, within = moderation(mean, group, attributes, values)
    factor, wear, at = -share * strength, 0.0, places[WEAR]
    for axis in range(3):
        stock, rise = felt(stocks[axis], mean[places[HALF_LIFE] + axis])
        if stock != 0.0:
            rate = mean[at + axis]
            if kind >= 0:
                rate += mean[kind + 1 + axis]
                row[kind + 1 + axis] = factor * stock
            row[at + axis] = factor * stock
            row[places[HALF_LIFE] + axis] = factor * rate * rise
            wear += rate * stock
        if axis == 1:
            wear += fill_steps(row, mean, places, stock, rise, rise * kind_half_life_sd, factor)
    slope = -strength * wear
    for i in range(attributes.shape[0]):
        if attributes[i] >= 0:
            row[attributes[i] + 1] += within * share * slope * values[i]
    if group >= 0:
        row[group + 1] = within * share * slope
    return slope


@compiled
def room(coefficients: int) -> int:
    """Return how long the array is that `linearised` fills, of so many coefficients."""
    return 6 * coefficients + 22


@compiled
def linearised(
    given: Given, unit: int, filled: Floats
) -> tuple[float, float, float, float, float, float, float, float, float, float, float]:
    """Work out what is believed of an appeal; see Joint.linearise and kernels.foresee.

    Parameters
    ----------
    given : see `Given`. unit : row of its units; 0 is that of a unit never seen.
    filled : shape (room(n),); rows, spread, means and covariances of the four quantities, and the
        prior sds of the unit's effects, of shapes (2, n), (4, n), (4,), (4, 4) and (2,); filled.

    Returns
    -------
    Mean and variance of the log mean, every candidate for a jump being one, what one more u_wear
    adds to log retention, and the variance that the level leaves open; then the numbers of
    joint.Belief.
    """
    places, appeal, (mean, covariance), units, level, jumps, differ, told = given
    stocks, time_days, base, (kind, group, attributes, values, scale) = appeal
    own_features = kind, group, attributes, scaled(values, scale)
    n, own, known = mean.shape[0], units[unit], unit != BLANK
    rows, spread = filled[: 2 * n].reshape((2, n)), filled[2 * n : 6 * n].reshape((4, n))
    joint_mean, joint = filled[6 * n : 6 * n + 4], filled[6 * n + 4 : 6 * n + 20].reshape((4, 4))
    index, weight, open_variance = entry(time_days, *level)
    rows[:] = 0.0
    began_days, shift, change = unpacked(jumps)
    weekday = int(time_days) % WEEKDAYS
    fill_first(rows[ETA], places, weekday, index, weight, time_days, began_days, *own_features)
    u_level, u_wear, share, turn = share_of(mean, own, known)
    kind_half_life = places[HALF_LIFE] + 1
    kind_half_life_sd = sqrt(max(covariance[kind_half_life, kind_half_life], 0.0))
    whole = fill_wear(
        rows[RETENTION], mean, places, stocks, kind_half_life_sd, share, *own_features
    )
    slope = turn * whole
    eta, variance = foresee(
        *(rows, base, share * whole, slope, mean, covariance),
        *(own[LOADING:].reshape((2, n)), (u_level, u_wear)),
        *(own[COVARIANCE:PRIOR_SDS].reshape((2, 2)), known, places[JUMPS]),
        *(shift, change, spread, joint_mean, joint),
    )
    filled[6 * n + 20 :] = own[PRIOR_SDS : PRIOR_SDS + 2]
    belief = believe(joint_mean, joint, filled[-2], filled[-1], *differ, slope)
    normal_variance = slope * slope * own_wear_variance(own, differ[1])
    reasonable = within_reason(open_variance, *belief, normal_variance)
    normal_variance = reasonable[6] if told else inf
    return eta, variance, slope, open_variance, *reasonable[:6], normal_variance


@compiled
def own_wear_variance(own: Floats, sd: float) -> float:
    """Return the variance of a unit's u_wear given the coefficients, had it the prior sd `sd`.

    own : its row of effects.Effects.packed. Priors are exchanged as in kernels.exchange_prior.
    """
    prior_sd = own[PRIOR_SDS + 1]
    variance = min(own[COVARIANCE + 3], prior_sd * prior_sd)
    return float(variance / (1.0 + variance * (sd**-2 - prior_sd**-2)))


@compiled
def learn_row(
    filled: Floats,
    innovation: float,
    total: float,
    slope: float,
    noise: float,
    mean: Floats,
    covariance: Floats,
    unit: int,
    units: Floats,
) -> None:
    """Learn from an observation of the log mean of the appeal that `filled` is of; see `linearised`
    for the arrays and kernels.learn for the rest.
    """
    n, own = mean.shape[0], units[unit]
    learn(
        *(filled[:n], filled[2 * n : 3 * n], innovation, total, slope, noise, mean, covariance),
        *(own[LOADING:].reshape((2, n)), own[MEAN:COVARIANCE]),
        own[COVARIANCE:PRIOR_SDS].reshape((2, 2)),
    )


@compiled
def within_reason(
    open_variance: float,
    eta: float,
    variance: float,
    retention: float,
    retention_variance: float,
    covariance: float,
    immune: float,
    normal_variance: float,
) -> tuple[float, float, float, float, float, float, float]:
    """Return the belief, what the level leaves open added, its spread cut to what a response rate
    can be.

    A hundred appeals felt at once, before any has been learned, leave a log mean open by a sd of
    25; exponentials of that are no numbers.
    """
    variance += open_variance
    known, share = variance < VARIANCE_MIN, min(1.0, VARIANCE_MAX / max(variance, VARIANCE_MIN))
    if abs(eta) > ETA_MAX or share < 1.0 or known:
        eta = min(max(eta, -ETA_MAX), ETA_MAX)
        retention = min(max(retention, -RETENTION_MAX), RETENTION_MAX)
    if known:
        # Known as well as that, it is rounding that is left of the variance, or less than nothing.
        return eta, VARIANCE_MIN, retention, retention_variance, 0.0, immune, normal_variance
    variance, retention_variance = variance * share, retention_variance * share
    covariance, normal_variance = covariance * share, normal_variance * share
    return eta, variance, retention, retention_variance, covariance, immune, normal_variance
