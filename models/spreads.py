"""How counts scatter and how units differ: what the Gaussian filter takes as given, on grids.

Each is learned from how well its values foretold what was then seen. That is worked out for a batch
of appeals at a time, which costs little more than for one.
"""

from __future__ import annotations

from math import exp, log, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dispersion import GridPosterior
from models.joint import U_LEVEL, U_WEAR, Belief, Joint
from models.kernels import compiled, log_score
from models.strength import IMMUNE, Strength, StrengthPosterior

__all__ = ["Spreads"]

Floats = NDArray[np.float64]

# Appeals learned from at a time: a few while they teach much, more once they teach little.
BATCH, LATER_BATCH, LATER = 16, 64, 1000
SIZES: list[float] = [0.5 * 1.2**i for i in range(38)]  # dispersion phi, .5 to 425
LEVEL_SDS: list[float] = [0.1 * 1.2**i for i in range(13)]
APPEALS_MAX = 5  # of a unit: later ones say little about how much levels differ
WEAR_MIN = 0.1  # log retention below which a repeat says nothing about how wear-out differs


class Spreads:
    """Posteriors of the dispersion phi, the sd of levels, and the distribution of strengths.

    Attributes
    ----------
    size : phi that counts are predicted with, 1 / (posterior mean of 1 / phi).
    level_sd : posterior mean. strength : likewise. differ : both, as compiled loops take them: sds
        of level and of wear-out, and the share of the immune.
    """

    def __init__(self, forgetting: float) -> None:
        # Not wide: before repeats, a small scatter cannot be told from appealers who differ more.
        self.sizes = _log_normal(SIZES, 10.0, 1.0, forgetting)
        self._levels = _log_normal(LEVEL_SDS, 0.5, 0.7, forgetting)
        self._strengths = StrengthPosterior(forgetting)
        self.learned = 0
        self._counts: list[tuple[float, ...]] = []
        self._first: list[tuple[float, ...]] = []
        self._repeats: list[tuple[float, ...]] = []
        self._refresh()

    def _refresh(self) -> None:
        self.size = 1.0 / self.sizes.inverse_mean
        self.level_sd = self._levels.mean
        self.strength: Strength = self._strengths.estimate
        self.differ = self.level_sd, self.strength.sd, self.strength.share

    def notice_count(self, y: float, belief: Belief) -> None:
        """Remember a count and what was believed of it."""
        self._counts.append((y, belief.eta, min(belief.eta_variance, 50.0)))
        if len(self._counts) >= (BATCH if self.learned < LATER else LATER_BATCH):
            self._learn()

    def notice_effects(self, joint: Joint, seen: float, noise: float, appeals: int) -> None:
        """Remember what an appeal, its unit's n-th, says about how units differ.

        seen, noise : its log mean as seen, and the variance of the error.
        """
        if appeals <= APPEALS_MAX:
            of_level = joint.but_for(U_WEAR, self.strength.total_sd)
            self._first.append((*of_level, float(joint.prior_sds[0]), seen, noise))
        if appeals > 1 and abs(joint.slope) > WEAR_MIN:
            of_wear = joint.but_for(U_LEVEL, self.level_sd)
            self._repeats.append((*of_wear, float(joint.prior_sds[1]), seen, noise))

    def _learn(self) -> None:
        """Learn from the batch, and forget it."""
        counts = np.array(self._counts)
        self.sizes.learn(fit_of_sizes(self.sizes.values, counts), _words(counts[:, 1]))
        self.learned += len(self._counts)
        if self._first:
            batch = np.array(self._first)
            fit = fit_of_levels(self._levels.values, batch)
            self._levels.learn(fit, _words(batch[:, 0]))
        if self._repeats:
            batch = np.array(self._repeats)
            fit = fit_of_strengths(self._strengths.sds, self._strengths.shares, batch)
            self._strengths.learn(fit, _words(batch[:, 0]))
        self._counts, self._first, self._repeats = [], [], []
        self._refresh()

    def state(self) -> dict[str, Any]:
        return {
            "learned": self.learned,
            "sizes": self.sizes.state(),
            "levels": self._levels.state(),
            "strengths": self._strengths.state(),
            "counts": [list(row) for row in self._counts],
            "first": [list(row) for row in self._first],
            "repeats": [list(row) for row in self._repeats],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.learned = state["learned"]
        self.sizes.restore(state["sizes"])
        self._levels.restore(state["levels"])
        self._strengths.restore(state["strengths"])
        self._counts = [tuple(row) for row in state["counts"]]
        self._first = [tuple(row) for row in state["first"]]
        self._repeats = [tuple(row) for row in state["repeats"]]
        self._refresh()


def _log_normal(
    values: list[float], centre: float, log_sd: float, forgetting: float
) -> GridPosterior:
    log_prior = [-0.5 * (log(v / centre) / log_sd) ** 2 for v in values]
    return GridPosterior(values, log_prior, forgetting)


def _words(log_means: Floats) -> float:
    """Return for how many appeals a batch counts, by which what is known is forgotten: one of which
    a hundredth of a response is expected says as much as a hundredth of an appeal.
    """
    return float(np.exp(np.minimum(log_means, 0.0)).sum())


@compiled
def fit_of_sizes(sizes: Floats, counts: Floats) -> Floats:
    """Return the log likelihood of each phi; counts : shape (n, 3), y and its log mean's belief."""
    fit = np.zeros(sizes.shape[0])
    for i in range(counts.shape[0]):
        y, mean, variance = counts[i]
        for k in range(sizes.shape[0]):
            fit[k] += log_score(y, mean, variance, sizes[k])
    return fit


@compiled
def fit_of_levels(sds: Floats, batch: Floats) -> Floats:
    """Return the log likelihood of each sd of levels; batch : see `had_prior`."""
    fit = np.zeros(sds.shape[0])
    for i in range(batch.shape[0]):
        for k in range(sds.shape[0]):
            log_fit, _, _ = had_prior(batch[i], sds[k], 0.0)
            fit[k] += log_fit
    return fit


@compiled
def fit_of_strengths(sds: Floats, shares: Floats, batch: Floats) -> Floats:
    """Return the log likelihood of each distribution of strengths, shape (sds, shares); batch : see
    `had_prior`.

    A unit is weighed as immune or not by its past.
    """
    fit = np.zeros((sds.shape[0], shares.shape[0]))
    for i in range(batch.shape[0]):
        eta, eta_variance, effect, own, across, _, seen, noise = batch[i]
        gain = across / own
        surprise = seen - eta - gain * (IMMUNE - effect)
        never = log_density(surprise, eta_variance - gain * across + noise)
        for k in range(sds.shape[0]):
            for m in range(shares.shape[0]):
                share = shares[m]
                mean = share / (1.0 - share)
                tiring, centre, variance = had_prior(batch[i], sds[k], mean)
                if share == 0.0:
                    fit[k, m] += tiring
                    continue
                log_odds = log(share / (1.0 - share)) + log_density(IMMUNE - centre, variance)
                log_odds -= log_density(IMMUNE - mean, sds[k] * sds[k])
                fit[k, m] += log_sum(log_odds + never, tiring) - log_sum(log_odds, 0.0)
    return fit


@compiled
def had_prior(row: Floats, sd: float, mean: float) -> tuple[float, float, float]:
    """Return the log fit, and an effect's mean and variance, had it had the prior N(mean, sd^2).

    row : shape (8,): mean and variance of the log mean, of the effect, their covariance; the
    effect's prior sd; the log mean as seen, and the variance of the error. A prior is exchanged as
    in kernels.exchange_prior.
    """
    eta, eta_variance, effect, own, across, prior_sd, seen, noise = row
    lacking = sd**-2 - prior_sd**-2
    own = min(own, prior_sd * prior_sd)
    share = 1.0 / (1.0 + own * lacking)
    change = (mean * sd**-2 - effect * lacking) * share
    variance = eta_variance - across * across * lacking * share + noise
    fit = log_density(seen - eta - across * change, variance)
    return fit, effect + own * change, own * share


@compiled
def log_density(away: float, variance: float) -> float:
    """Return the log density of N(0, variance), but for its constant."""
    return -0.5 * (log(variance) + away * away / variance)


@compiled
def log_sum(a: float, b: float) -> float:
    """Return log(e^a + e^b)."""
    return max(a, b) + log1p(exp(-abs(a - b)))
