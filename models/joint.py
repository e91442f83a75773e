"""What is believed of one appeal: its log mean, its log retention and what else they depend on.

An appeal is linearised at the current mean of the coefficients (the extended Kalman filter:
Jazwinski 1970, "Stochastic processes and filtering theory", section 8.3), which makes everything
said about it jointly Gaussian.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import kernels
from models.coefficients import Coefficients
from models.effects import Effects
from models.kernels import ETA, U_LEVEL, U_WEAR
from models.rows import Given, learn_row, linearised, room

__all__ = [
    "ETA",
    "U_LEVEL",
    "U_WEAR",
    "Belief",
    "Joint",
]

Floats = NDArray[np.float64]


class Belief(NamedTuple):
    """What to predict with: mean and variance of log mean and log retention, their covariance.

    immune : the probability that the unit never wears out. Log retention is what it is if not.
    normal_variance : what of the variance of log retention has no heavier tails than a normal: how
        the unit differs from others given the coefficients, or all of it while it is no more than
        what was held beforehand (see outlook).
    """

    eta: float
    eta_variance: float
    retention: float
    retention_variance: float
    covariance: float
    immune: float
    normal_variance: float = inf


class Joint:
    """The Gaussian over one appeal's log mean, log retention, and its unit's effects.

    It stands under the wide priors used for learning. `linearise` fills it for one appeal after the
    other: what it held before is overwritten.

    Attributes
    ----------
    mean, covariance : shapes (4,) and (4, 4). All that may have jumped is weighed in.
    eta, eta_variance : of the log mean, every candidate for a jump being one.
    row : shape (capacity,), what the log mean owes to the coefficients, effects integrated out.
    spread : shape (capacity,), its covariance with the coefficients.
    slope : what one more u_wear adds to log retention.
    open_variance : of the level, as it may have moved since it was last learned.
    prior_sds : shape (2,), of the unit's level and wear-out.
    belief : under the priors used for prediction, within reason.
    """

    __slots__ = (
        "_filled",
        "belief",
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

    def __init__(self, capacity: int) -> None:
        n = capacity
        self._filled: Floats = np.empty(room(n))  # as rows.linearised has it
        self.row: Floats = self._filled[:n]
        self.spread: Floats = self._filled[2 * n : 3 * n]
        self.mean: Floats = self._filled[6 * n : 6 * n + 4]
        self.covariance: Floats = self._filled[6 * n + 4 : 6 * n + 20].reshape(4, 4)
        self.prior_sds: Floats = self._filled[6 * n + 20 :]
        self.eta = self.eta_variance = self.slope = self.open_variance = 0.0
        self.belief = Belief(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def linearise(self, given: Given, unit: int) -> None:
        """Work out what is believed of an appeal by the unit in row `unit` of the effects."""
        self.eta, eta_variance, self.slope, self.open_variance, *belief = linearised(
            given, unit, self._filled
        )
        self.eta_variance = eta_variance + self.open_variance
        self.belief = Belief(*belief)

    def learn(
        self, seen: float, noise: float, coefficients: Coefficients, unit: int, effects: Effects
    ) -> None:
        """Learn that the log mean has been seen as `seen`, with an error of variance `noise`."""
        mean, covariance, units = coefficients.mean, coefficients.covariance, effects.packed
        off, total, alone = seen - self.eta, self.eta_variance + noise, self.open_variance + noise
        learn_row(self._filled, off, total, self.slope, alone, mean, covariance, unit, units)

    def but_for(self, effect: int, sd: float) -> tuple[float, float, float, float, float]:
        """Return the belief about log mean and one effect, the other having another prior sd.

        effect : the other one, U_LEVEL or U_WEAR.

        Returns
        -------
        Mean and variance of the log mean, mean and variance of the effect kept, their covariance.
        """
        prior_sd = float(self.prior_sds[U_LEVEL - effect])
        return but_for(self.mean, self.covariance, effect, prior_sd, sd, self.open_variance)


@kernels.compiled
def but_for(
    mean: Floats,
    covariance: Floats,
    effect: int,
    prior_sd: float,
    sd: float,
    open_variance: float,
) -> tuple[float, float, float, float, float]:
    """Work out Joint.but_for: an observation with the precision that was lacking."""
    kept = U_LEVEL + U_WEAR - effect
    own, to_eta = covariance[effect, effect], covariance[effect, ETA]
    to_kept = covariance[effect, kept]
    lacking = sd**-2 - prior_sd**-2
    factor = lacking / (1.0 + min(own, prior_sd * prior_sd) * lacking)
    change = -mean[effect] * factor
    return (
        mean[ETA] + to_eta * change,
        covariance[ETA, ETA] + open_variance - to_eta * to_eta * factor,
        mean[kept] + to_kept * change,
        covariance[kept, kept] - to_kept * to_kept * factor,
        covariance[kept, ETA] - to_eta * to_kept * factor,
    )
