"""What is believed of one appeal: its log mean, its log retention and what else they depend on.

An appeal is linearised at the current mean of the coefficients (the extended Kalman filter:
Jazwinski 1970, "Stochastic processes and filtering theory", section 8.3), which makes everything
said about it jointly Gaussian.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import kernels
from models.design import Appeal
from models.effects import Effects
from models.layout import WEEKDAYS, Layout
from models.level import Level
from models.rows import linearised
from models.strength import Strength

__all__ = [
    "ETA",
    "U_LEVEL",
    "U_WEAR",
    "Belief",
    "Joint",
    "linearise",
]

Floats = NDArray[np.float64]

# A conditioned quantity comes after all that are still of interest (see exchange_prior).
ETA, RETENTION, U_WEAR, U_LEVEL = range(kernels.QUANTITIES)
# Beyond these, natural logs, nothing that asks people for things has ever been.
ETA_MAX, VARIANCE_MAX, RETENTION_MAX = 40.0, 16.0, 10.0
VARIANCE_MIN = 1e-6


class Belief(NamedTuple):
    """What to predict with: mean and variance of log mean and log retention, their covariance.

    immune : the probability that the unit never wears out. Log retention is what it is if not.
    """

    eta: float
    eta_variance: float
    retention: float
    retention_variance: float
    covariance: float
    immune: float


class Joint:
    """The Gaussian over one appeal's log mean, log retention, and its unit's effects.

    It stands under the wide priors used for learning.

    Attributes
    ----------
    mean, covariance : shapes (4,) and (4, 4). All that may have jumped is weighed in.
    eta, eta_variance : of the log mean, every candidate for a jump being one.
    row : shape (capacity,), what the log mean owes to the coefficients, effects integrated out.
    spread : shape (capacity,), its covariance with the coefficients.
    slope : what one more u_wear adds to log retention.
    open_variance : of the level, as it may have moved since it was last learned.
    prior_sds : of the unit's level and wear-out.
    """

    __slots__ = (
        "covariance",
        "eta",
        "eta_variance",
        "mean",
        "open_variance",
        "prior_sds",
        "row",
        "slope",
        "spread",
    )

    def __init__(
        self,
        mean: Floats,
        covariance: Floats,
        eta: float,
        eta_variance: float,
        row: Floats,
        spread: Floats,
        slope: float,
        open_variance: float,
        prior_sds: list[float],
    ) -> None:
        self.mean = mean
        self.covariance = covariance
        self.eta = eta
        self.eta_variance = eta_variance
        self.row = row
        self.spread = spread
        self.slope = slope
        self.open_variance = open_variance
        self.prior_sds = prior_sds

    def believe(self, level_sd: float, strength: Strength) -> Belief:
        """Return the belief under the priors used for prediction: units differ as given."""
        level_prior_sd, wear_prior_sd = self.prior_sds
        eta, variance, *retention = kernels.believe(
            self.mean,
            self.covariance,
            level_prior_sd,
            wear_prior_sd,
            level_sd,
            strength.sd,
            strength.share,
            self.slope,
        )
        return _within_reason(Belief(eta, variance + self.open_variance, *retention))

    def but_for(self, effect: int, sd: float) -> tuple[float, float, float, float, float]:
        """Return the belief about log mean and one effect, the other having another prior sd.

        effect : the other one, U_LEVEL or U_WEAR.

        Returns
        -------
        Mean and variance of the log mean, mean and variance of the effect kept, their covariance.
        """
        kept = U_LEVEL + U_WEAR - effect
        mean, covariance = self.mean.tolist(), self.covariance.tolist()
        own, to_eta, to_kept = (covariance[effect][i] for i in (effect, ETA, kept))
        prior_sd = self.prior_sds[U_LEVEL - effect]
        lacking = sd**-2 - prior_sd**-2
        factor = lacking / (1.0 + min(own, prior_sd * prior_sd) * lacking)
        change = -mean[effect] * factor
        return (
            mean[ETA] + to_eta * change,
            covariance[ETA][ETA] + self.open_variance - to_eta * to_eta * factor,
            mean[kept] + to_kept * change,
            covariance[kept][kept] - to_kept * to_kept * factor,
            covariance[kept][ETA] - to_eta * to_kept * factor,
        )


def linearise(appeal: Appeal, unit: int, layout: Layout, level: Level, effects: Effects) -> Joint:
    """Return what is believed of an appeal by the unit in row `unit` of the effects."""
    coefficients, jumps = layout.coefficients, level.jumps
    mean, covariance = coefficients.mean, coefficients.covariance
    rows, spread = np.empty((2, len(mean))), np.empty((kernels.QUANTITIES, len(mean)))
    moments = np.empty((1 + kernels.QUANTITIES, kernels.QUANTITIES))
    slot, weight, open_variance = level.entry(appeal.time_days)
    kind, group, places, values = layout.found(appeal)
    eta, eta_variance, slope = linearised(
        layout.places,
        int(appeal.time_days) % WEEKDAYS,
        slot,
        weight,
        appeal.time_days,
        jumps.began_days,
        kind,
        group,
        places,
        values,
        appeal.stocks,
        appeal.rises,
        appeal.log_exposure,
        mean,
        covariance,
        unit,
        effects.mean,
        effects.loading,
        effects.covariance,
        jumps.shift,
        jumps.change,
        rows,
        spread,
        moments[0],
        moments[1:],
    )
    return Joint(
        moments[0],
        moments[1:],
        eta,
        eta_variance + open_variance,
        rows[ETA],
        spread[ETA],
        slope,
        open_variance,
        effects.prior_sds[unit].tolist(),
    )


def _within_reason(belief: Belief) -> Belief:
    """Return the belief with its spread cut to what a response rate can be.

    A hundred appeals felt at once, before any has been learned, leave a log mean open by a sd of
    25; exponentials of that are no numbers.
    """
    eta = min(max(belief.eta, -ETA_MAX), ETA_MAX)
    if belief.eta_variance < VARIANCE_MIN:
        # Known as well as that, it is rounding that is left of the variance, or less than nothing.
        retention = min(max(belief.retention, -RETENTION_MAX), RETENTION_MAX)
        return belief._replace(
            eta=eta, eta_variance=VARIANCE_MIN, retention=retention, covariance=0.0
        )
    if belief.eta_variance <= VARIANCE_MAX and eta == belief.eta:
        return belief
    share = min(1.0, VARIANCE_MAX / belief.eta_variance)
    return belief._replace(
        eta=eta,
        eta_variance=belief.eta_variance * share,
        retention=min(max(belief.retention, -RETENTION_MAX), RETENTION_MAX),
        retention_variance=belief.retention_variance * share,
        covariance=belief.covariance * share,
    )
