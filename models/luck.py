"""Luck that appeals share because one appealer put them before one audience at one moment.

Headlines tried against each other, two messages in one mailing: what is special about the moment
moves them all. Of the log variance log(1 + 1 / phi) by which a count scatters (phi the dispersion),
a share is common to the moment's appeals, the rest each one's own; the share is learned, on a grid,
from how well it lets one foretell the others (the intraclass correlation of a one-way random
effects model: Searle, Casella & McCulloch 1992, "Variance components", ch. 3). The common part is
Gaussian, and each count tells it as it tells the log mean: by moment matching (models.gaussian).
An appeal alone at its moment costs a note, and nothing is changed by it.
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp, log, log1p
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dispersion import GridPosterior
from models.gaussian import ABSCISSAE, LOG_WEIGHTS
from models.kernels import compiled, log_probability, matched_size, tilted

__all__ = ["Luck", "Moments"]

Floats = NDArray[np.float64]
SHARES: list[float] = [0.0] + [0.05 + 0.1 * i for i in range(10)]
# As likely as not a moment is nothing special.
LOG_PRIOR = [log(0.5)] + [log(0.5 / (len(SHARES) - 1))] * (len(SHARES) - 1)


# What is known of a moment: mean and variance of the log factor common to its appeals, and the
# dispersion that each has besides. A plain tuple, for compiled loops.
Luck = tuple[float, float, float]


class Moment(msgspec.Struct, array_like=True):
    """The latest moment of a unit: its first count, and what was believed of that one's log mean;
    then, by share, what all its counts say of the common factor.
    """

    time_days: float
    y: float
    eta: float
    variance: float
    size: float
    means: list[float] = []
    variances: list[float] = []


class Moments:
    """The latest moment of each of up to `units_max` units, and the share they have in common."""

    def __init__(self, units_max: int, forgetting: float) -> None:
        self.units_max = units_max
        self.shares = GridPosterior(SHARES, LOG_PRIOR, forgetting)
        self._latest: OrderedDict[str, Moment] = OrderedDict()

    def luck(self, unit: str, time_days: float, size: float) -> Luck:
        """Return what others of a unit's moment say of it; (0, 0, size) if none has been learned.

        size : the dispersion phi of an appeal alone.
        """
        moment = self._latest.get(unit)
        if moment is None or moment.time_days != time_days:
            return 0.0, 0.0, size
        if not moment.means:
            moment = self._begun(moment)
        weights, means = self.shares.weights, np.array(moment.means)
        mean = float(weights @ means)
        variance = float(weights @ (np.array(moment.variances) + (means - mean) ** 2))
        return mean, variance, own_size(self.shares.mean, size)

    def learn(
        self, unit: str, time_days: float, y: float, eta: float, variance: float, size: float
    ) -> None:
        """Learn that a count came of which the log mean was N(eta, variance), luck apart."""
        moment = self._latest.pop(unit, None)
        if moment is None or moment.time_days != time_days:
            self._latest[unit] = Moment(time_days, float(y), eta, variance, size)
            if len(self._latest) > self.units_max:
                self._latest.popitem(last=False)
            return
        if not moment.means:
            moment = self._begun(moment)
        self._latest[unit] = moment
        self.shares.learn(_tell(moment, y, eta, variance, size))

    def _begun(self, moment: Moment) -> Moment:
        """Return a moment of which the first count has been learned, now that there is another."""
        spread = log1p(1.0 / moment.size)
        begun = msgspec.structs.replace(
            moment,
            means=[0.0] * len(SHARES),
            variances=[share * spread for share in SHARES],
        )
        _tell(begun, moment.y, moment.eta, moment.variance, moment.size)
        return begun

    def state(self) -> dict[str, Any]:
        return {
            "shares": self.shares.state(),
            "latest": [[unit, msgspec.to_builtins(one)] for unit, one in self._latest.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.shares.restore(state["shares"])
        self._latest = OrderedDict(
            (unit, msgspec.convert(kept, Moment)) for unit, kept in state["latest"]
        )


_SHARES: Floats = np.asarray(SHARES)


def _tell(moment: Moment, y: float, eta: float, variance: float, size: float) -> Floats:
    """Let a count tell the moment's common factor; return its log probability by share."""
    means, variances = np.array(moment.means), np.array(moment.variances)
    fit = tell(means, variances, float(y), eta, variance, size, ABSCISSAE, LOG_WEIGHTS)
    moment.means, moment.variances = means.tolist(), variances.tolist()
    return fit


@compiled
def own_size(share: float, size: float) -> float:
    """Return the dispersion that an appeal has besides the share of its scatter that is common."""
    return 1.0 / (exp((1.0 - share) * log1p(1.0 / size)) - 1.0)


@compiled
def tell(
    means: Floats,
    variances: Floats,
    y: float,
    eta: float,
    eta_variance: float,
    size: float,
    abscissae: Floats,
    log_weights: Floats,
) -> Floats:
    """Bring means and variances of the common factor up to date, in place, by share of luck.

    Returns the log probability of the count under each.
    """
    nodes, weights = np.empty(abscissae.shape[0]), np.empty(abscissae.shape[0])
    fit = np.empty(means.shape[0])
    for k in range(means.shape[0]):
        mean, variance, own = (
            eta + means[k],
            eta_variance + variances[k],
            own_size(_SHARES[k], size),
        )
        fit[k] = log_probability(y, mean, variance, matched_size(variance, own))
        after, left = tilted(y, mean, variance, own, abscissae, log_weights, nodes, weights)
        gain = variances[k] / variance
        means[k] += gain * (after - mean)
        # Of what is known to the last digit, rounding must not leave less than nothing.
        variances[k] = max(variances[k] - gain * gain * (variance - left), 0.0)
    return fit
