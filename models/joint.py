"""What is believed of one appeal: its log mean, its log retention and what else they depend on.

An appeal is linearised at the current mean of the coefficients (the extended Kalman filter:
Jazwinski 1970, "Stochastic processes and filtering theory", section 8.3), which makes everything
said about it jointly Gaussian.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.design import Appeal
from models.effects import Effects
from models.layout import STEPS, WEEKDAYS, Layout
from models.level import Level

__all__ = ["SHARE_MAX", "SHARE_MIN", "Belief", "Joint", "linearise", "moderation"]

Floats = NDArray[np.float64]

# A conditioned quantity comes after all that are still of interest (see _exchange_prior).
ETA, RETENTION, JUMP, U_WEAR, U_LEVEL = range(5)
SHARE_MIN, SHARE_MAX = 0.0, 3.0  # of the common wear-out, that a unit is linearised at
MODERATION_MAX = 1.6  # natural log: moderators change wear-out by at most a factor of five
STEP_WIDTH = 0.04  # of a step's place: all but sharp, yet with a slope to learn half-lives from
STEP_REACH = 12.0  # widths from a step beyond which it is fully up or down


class Belief(NamedTuple):
    """Mean and variance of log mean and log retention, and their covariance, for prediction."""

    eta: float
    eta_variance: float
    retention: float
    retention_variance: float
    covariance: float


class Joint:
    """The Gaussian over one appeal's log mean, log retention, its unit's effects, the latest jump.

    It stands under the wide priors used for learning.

    Attributes
    ----------
    mean : 5 numbers. covariance : 5 rows of 5.
    row : shape (capacity,), what the log mean owes to the coefficients, effects integrated out.
    spread : shape (capacity,), its covariance with the coefficients.
    slope : what one more u_wear adds to log retention.
    open_variance : of the level, as it may have moved since it was last learned.
    prior_sds : of the unit's level and wear-out.
    """

    __slots__ = ("covariance", "mean", "open_variance", "prior_sds", "row", "slope", "spread")

    def __init__(
        self,
        mean: list[float],
        covariance: list[list[float]],
        row: Floats,
        spread: Floats,
        slope: float,
        open_variance: float,
        prior_sds: list[float],
    ) -> None:
        self.mean = mean
        self.covariance = covariance
        self.row = row
        self.spread = spread
        self.slope = slope
        self.open_variance = open_variance
        self.prior_sds = prior_sds

    def believe(self, level_sd: float, wear_sd: float, jump_chance: float) -> Belief:
        """Return the belief under the priors used for prediction.

        Units differ with the sds given, and the level has jumped in its latest slot with that
        chance: the two possibilities together have the moments of a mixture.
        """
        mean, covariance = list(self.mean), [list(row) for row in self.covariance]
        _exchange_prior(mean, covariance, U_LEVEL, self.prior_sds[0], level_sd)
        _exchange_prior(mean, covariance, U_WEAR, self.prior_sds[1], wear_sd)
        eta_jump, retention_jump, variance = covariance[JUMP][:3]
        shift = change = 0.0
        if variance > 0.0:
            # Had there been no jump, means would differ by -cov / variance * jump, covariances by
            # -cov cov' / variance; mixing adds what the means differ.
            still, jump = 1.0 - jump_chance, mean[JUMP]
            shift = -still * jump / variance
            change = still * (jump_chance * jump * jump - variance) / (variance * variance)
        return Belief(
            mean[ETA] + shift * eta_jump,
            covariance[ETA][ETA] + change * eta_jump * eta_jump + self.open_variance,
            mean[RETENTION] + shift * retention_jump,
            covariance[RETENTION][RETENTION] + change * retention_jump * retention_jump,
            covariance[RETENTION][ETA] + change * retention_jump * eta_jump,
        )

    def log_fit_of_sds(
        self, effect: int, other_sd: float, sds: Floats, seen: float, noise: float
    ) -> Floats:
        """Return how well each sd units may have in one effect foretold the log mean.

        Parameters
        ----------
        effect : U_LEVEL or U_WEAR. other_sd : of the other one.
        sds : shape (n,), those to compare.
        seen, noise : the log mean as seen, and the variance of the error.
        """
        mean, covariance = list(self.mean), [list(row) for row in self.covariance]
        # The last index is conditioned on first: bring the other effect there.
        other = U_LEVEL + U_WEAR - effect
        _swap_last(mean, covariance, other)
        _exchange_prior(mean, covariance, U_LEVEL, self.prior_sds[U_LEVEL - other], other_sd)
        prior_variance = self.prior_sds[U_LEVEL - effect] ** 2
        # As in _exchange_prior, for all sds at once.
        lacking = sds**-2 - 1.0 / prior_variance
        across, own = covariance[U_WEAR][ETA], min(covariance[U_WEAR][U_WEAR], prior_variance)
        gain = across * lacking / (1.0 + own * lacking)
        surprise = seen - mean[ETA] + gain * mean[U_WEAR]
        variances = covariance[ETA][ETA] - gain * across + noise
        fit: Floats = -0.5 * (np.log(variances) + surprise * surprise / variances)
        return fit


def _swap_last(mean: list[float], covariance: list[list[float]], index: int) -> None:
    """Let the quantities at `index` and at the end change places."""
    last = len(mean) - 1
    if index == last:
        return
    mean[index], mean[last] = mean[last], mean[index]
    covariance[index], covariance[last] = covariance[last], covariance[index]
    for row in covariance:
        row[index], row[last] = row[last], row[index]


def _exchange_prior(
    mean: list[float], covariance: list[list[float]], index: int, prior_sd: float, sd: float
) -> None:
    """Believe what would be believed had the effect at `index` had the prior N(0, sd^2) instead.

    It is one more observation, of 0 with the precision that was lacking (a negative one loosens).
    Only what stands before `index` is brought up to date, at and below the diagonal. The variance
    is at most what the prior allowed; stand-ins for forgotten levels may exceed that a little.
    """
    lacking = sd**-2 - prior_sd**-2
    column, own = covariance[index], mean[index]
    factor = lacking / (1.0 + min(column[index], prior_sd * prior_sd) * lacking)
    for i in range(index):
        gain = column[i] * factor
        mean[i] -= gain * own
        row = covariance[i]
        for j in range(i + 1):
            row[j] -= gain * column[j]


def linearise(appeal: Appeal, unit: int, layout: Layout, level: Level, effects: Effects) -> Joint:
    """Return what is believed of an appeal by the unit in row `unit` of the effects."""
    coefficients = layout.coefficients
    mean, loading = coefficients.mean, effects.loading[unit]
    rows = np.zeros((5, len(mean)))
    open_variance = _fill_first(appeal, layout, level, rows[ETA])
    u_level, u_wear = (effects.mean[unit] + loading @ mean).tolist()
    log_first = float(rows[ETA] @ mean) + appeal.log_exposure + u_level
    share = min(max(1.0 + u_wear, SHARE_MIN), SHARE_MAX)
    slope = _fill_wear(appeal, share, layout, rows[RETENTION])
    rows[JUMP, level.jump] = 1.0
    rows[U_WEAR], rows[U_LEVEL] = loading[1], loading[0]
    rows[RETENTION] += slope * loading[1]
    rows[ETA] += rows[RETENTION] + loading[0]
    spread = rows @ coefficients.covariance
    covariance: list[list[float]] = (spread @ rows.T).tolist()
    _add_effects(covariance, effects.covariance[unit].tolist(), slope)
    retention = share * slope
    means = [log_first + retention, retention, float(mean[level.jump]), u_wear, u_level]
    prior_sds = effects.prior_sds[unit].tolist()
    return Joint(means, covariance, rows[ETA], spread[ETA], slope, open_variance, prior_sds)


def _add_effects(covariance: list[list[float]], own: list[list[float]], slope: float) -> None:
    """Add what a unit's effects vary given the coefficients; `own` is their covariance."""
    (level, both), (_, wear) = own
    # What each of the five quantities owes to (u_level, u_wear).
    owes = ((1.0, slope), (0.0, slope), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    for (a, b), row in zip(owes, covariance, strict=True):
        by_level, by_wear = a * level + b * both, a * both + b * wear
        for j, (c, d) in enumerate(owes):
            row[j] += by_level * c + by_wear * d


def _fill_first(appeal: Appeal, layout: Layout, level: Level, row: Floats) -> float:
    """Write what a first appeal's log mean owes to what; return the variance the level leaves."""
    row[layout.intercept] = 1.0
    row[layout.weekday + int(appeal.time_days) % WEEKDAYS] = 1.0
    entries, open_variance = level.entries(appeal.time_days)
    for index, weight in entries:
        row[index] = weight
    kind = layout.find("kind", appeal.kind)
    if kind is not None:
        row[kind] = 1.0
    for name, value in appeal.attributes:
        at = layout.find("attribute", name)
        if at is not None:
            row[at] += value
    group = layout.at["group"].get(appeal.appealer)
    if group is not None:
        row[group] = 1.0
    return open_variance


def _fill_wear(appeal: Appeal, share: float, layout: Layout, row: Floats) -> float:
    """Write what log retention owes to what; return what one more u_wear adds to it."""
    mean = layout.coefficients.mean
    strength = exp(moderation(appeal, layout))
    factor = -share * strength
    kind, wear = layout.find("kind", appeal.kind), 0.0
    rates: list[float] = mean[layout.wear : layout.wear + 3].tolist()
    for axis, (stock, rise) in enumerate(appeal.stocks):
        if stock == 0.0:
            continue
        rate = rates[axis]
        if kind is not None:
            rate += float(mean[kind + 1 + axis])
            row[kind + 1 + axis] = factor * stock
        row[layout.wear + axis] = factor * stock
        row[layout.half_life + axis] = factor * rate * rise
        wear += rate * stock
    wear += _fill_steps(*appeal.stocks[1], factor, layout, row)
    slope = -strength * wear
    for name, value in appeal.attributes:
        at = layout.find("attribute", name)
        if at is not None:
            row[at + 1] += share * slope * value
    group = layout.at["group"].get(appeal.appealer)
    if group is not None:
        row[group + 1] = share * slope
    return slope


def _fill_steps(stock: float, rise: float, factor: float, layout: Layout, row: Floats) -> float:
    """Write what log retention owes to the steps of the kind axis; return what they wear out."""
    if stock < STEPS[0] * (1.0 - STEP_REACH * STEP_WIDTH):
        return 0.0
    at, added, turn = layout.steps, 0.0, 0.0
    heights = layout.coefficients.mean[at : at + len(STEPS)].tolist()
    for i, place in enumerate(STEPS):
        away = (stock - place) / (STEP_WIDTH * place)
        if away < -STEP_REACH:
            break
        share = 1.0 if away > STEP_REACH else 1.0 / (1.0 + exp(-away))
        row[at + i] = factor * share
        turn += heights[i] * share * (1.0 - share) / (STEP_WIDTH * place)
        added += heights[i] * share
    row[layout.half_life + 1] += factor * turn * rise
    return added


def moderation(appeal: Appeal, layout: Layout) -> float:
    """Return the log of the factor that moderators, and belonging to a group, put on wear-out."""
    mean, total = layout.coefficients.mean, 0.0
    for name, value in appeal.attributes:
        at = layout.find("attribute", name)
        if at is not None:
            total += value * float(mean[at + 1])
    group = layout.at["group"].get(appeal.appealer)
    if group is not None:
        total += float(mean[group + 1])
    return min(max(total, -MODERATION_MAX), MODERATION_MAX)
