"""The completion curve: the share of an appeal's final responses that has arrived by an age.

It is counted backwards in time (chain ladder): of the responses that an appeal has by the end of
bin k, the share q_k that came in bin k is the same however many are still to come, so open appeals
teach it too. Then F(k) = (1 - q_{k+1}) ... (1 - q_K). Appeals put at different hours are made
comparable by the hour-of-week profile (models.hours). Estimates are nested: a kind's q_k leans on
that of all kinds, that on a parametric law fitted to the bins that somebody has passed, and that on
a prior curve. So there is an answer from the first appeal on, and no bin is ever empty.

References
----------
Mack (1993), "Distribution-free calculation of the standard error of chain ladder reserve
estimates", ASTIN Bulletin 23(2). Its q_k is the reverse-time hazard of Lagakos, Barraj & De
Gruttola (1988), "Nonparametric analysis of truncated survival data, with application to AIDS",
Biometrika 75(3). Greenwood's variance for the log of such a product: Kalbfleisch & Lawless (1991),
"Regression models for right truncated data with applications to AIDS incubation times and reporting
lags", Statistica Sinica 1. Weights n / (1 + (n - 1) rho) for correlated counts: Kleinman (1973),
"Proportions with extraneous variance: single and independent samples", JASA 68(341).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from models.age_laws import truncated_law
from models.ages import AgeGrid
from models.hours import HourProfile, hour_of_week
from models.ladder import Ladder, are_counts, count, shares

__all__ = ["Completion", "CurvePoint"]

Floats = NDArray[np.float64]

NORMAL_95 = 1.6448536269514722
LOG_FACTOR_MAX = 50.0  # an interval as wide as that says that nothing is known
COHERENCE = 4.0  # checkpoints that an appeal faster or slower than the others shows it at
APPEAL_CALLS = 10  # checkpoints, at each of which an appeal is learned while the curve is young
LAW_WEIGHT = 10.0  # responses that the parametric law counts for, in each bin
KIND_WEIGHTS = tuple(10.0 * 10.0 ** (k / 2.0) for k in range(7))  # 10 to 10,000 responses


class CurvePoint(NamedTuple):
    """The share of the final responses that has arrived by an age, with its 90 % interval."""

    age_ms: int
    share: float
    low: float
    high: float


class Completion:
    """Share of the final responses that has arrived, by kind, age and hour put.

    Parameters
    ----------
    grid
        The age grid.
    forgetting
        Weight, in (0, 1], that what was counted in a bin keeps when another appeal passes it.
    appeal_responses_max
        What one appeal can count for at most, in responses, however many it drew: the inverse of
        the correlation of responses within an appeal.
    learns_hours
        Whether to learn the hour-of-week profile; without it all hours are alike.
    kinds_max
        How many kinds have a curve of their own, first come (2 KB each, and up to 66 KB of shares
        by hour of the week); the rest share one.

    Examples
    --------
    >>> completion = Completion(AgeGrid(7 * 86_400_000))
    >>> for appeal in range(20):
    ...     for before, bins in ((0, 13), (30, 17), (60, 49)):
    ...         start = {13: 0, 17: 13, 49: 17}[bins]
    ...         completion.learn_one("k", 0, start, [0] * (bins - start - 1) + [30], before)
    >>> round(completion.share("k", 0, 13), 1), completion.share("k", 0, 49)
    (0.4, 1.0)
    """

    def __init__(
        self,
        grid: AgeGrid,
        forgetting: float = 0.9995,
        appeal_responses_max: float = 300.0,
        kinds_max: int = 64,
        learns_hours: bool = True,
    ) -> None:
        self.grid = grid
        self._bins = grid.bins
        self.forgetting = forgetting
        self.appeal_responses_max = appeal_responses_max
        self.kinds_max = kinds_max
        self.learns_hours = learns_hours
        self.hours = HourProfile(grid)
        self.kind_weight = 100.0  # responses that the curve of all kinds counts for, in each bin
        self.learned = 0
        self.refit_at = 1
        # Weights of what was counted: as claimed, as expected by chance, and as seen. As if one had
        # seen a hundred responses scatter as they should.
        self._spread = np.full(3, 100.0)
        self._kinds: dict[str, Ladder] = {}
        self._others = Ladder(grid.bins)  # kinds beyond the limit
        self._pooled = Ladder(grid.bins)  # all together, as of the last refit
        self._checkpoint_of_bin = np.full(grid.bins, -1, dtype=np.int64)
        self._checkpoint_of_bin[np.array(grid.checkpoints) - 1] = range(len(grid.checkpoints))
        self._refit_pooled()
        self._refit_kind(self._others)

    def learn_one(
        self, kind: str, time_ms: int, bin_start: int, counts: Sequence[int], before: int
    ) -> None:
        """Learn the responses that an appeal drew in some more bins.

        Parameters
        ----------
        kind, time_ms
            Of the appeal.
        bin_start, counts
            The first of the bins, and the responses in each bin from there on.
        before
            Responses in the bins before it.

        Raises
        ------
        ValueError
            If there are no such bins, or a count is negative.
        """
        numbers, already = np.array(counts, dtype=np.float64), float(before)
        in_grid = 0 <= bin_start <= self._bins
        if not (in_grid and are_counts(bin_start, numbers, already, self._bins)):
            raise ValueError(self._unfit(bin_start, counts, before))
        hour, ladder = hour_of_week(time_ms), self._ladder(kind)
        count(
            ladder.new,
            ladder.total,
            ladder.arrived,
            ladder.density,
            ladder.learned,
            self.hours.average[hour],
            bin_start,
            numbers,
            already,
            self.forgetting,
            1.0 / self.appeal_responses_max,
            self._checkpoint_of_bin,
            self.hours.new,
            self.hours.total,
            hour,
            self._spread,
        )
        ladder.learned += 1
        self.learned += 1
        if self.learned >= self.refit_at:
            self.refit()
        elif ladder.learned >= ladder.refit_at:
            self._refit_kind(ladder)

    def share(self, kind: str, time_ms: int, bins: int) -> float:
        """Return the share arrived after `bins` completed bins, in (0, 1], put at `time_ms`."""
        if not 1 <= bins <= self._bins:
            raise ValueError(f"bins: expected 1 to {self._bins}, got {bins}")
        ladder = self._kinds.get(kind) or self._others
        hour = hour_of_week(time_ms)
        by_bin = ladder.by_hour.get(hour)
        if by_bin is None:  # an appeal asks at every checkpoint
            by_bin = array("d", shares(ladder.density, self.hours.average[hour]).tobytes())
            ladder.by_hour[hour] = by_bin
        return by_bin[bins - 1]

    def density(self, kind: str, time_ms: int) -> Floats:
        """Return the share of the final responses by bin, put at `time_ms`, shape (grid.bins,)."""
        density = self._kinds.get(kind, self._others).density
        density = density * self.hours.average[hour_of_week(time_ms)]
        normed: Floats = density / density.sum()
        return normed

    def interval(self, kind: str, time_ms: int, bins: int) -> tuple[float, float]:
        """Return the 90 % interval of the share, the hour-of-week profile taken as known."""
        share = self.share(kind, time_ms, bins)
        variance = self._kinds.get(kind, self._others).variance[bins - 1]
        factor = exp(min(NORMAL_95 * sqrt(float(variance)), LOG_FACTOR_MAX))
        return share / factor, min(1.0, share * factor)

    def curve(self, kind: str | None = None) -> list[CurvePoint]:
        """Return the curve of a kind, or of all (None), the hour of the week averaged out."""
        ladder = self._pooled if kind is None else self._kinds.get(kind, self._others)
        shares = ladder.arrived
        factors = np.exp(np.minimum(NORMAL_95 * np.sqrt(ladder.variance), LOG_FACTOR_MAX))
        low, high = shares / factors, np.minimum(1.0, shares * factors)
        columns = (shares.tolist(), low.tolist(), high.tolist())
        return [CurvePoint(*point) for point in zip(self.grid.edges_ms, *columns, strict=True)]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that have a curve of their own."""
        return tuple(self._kinds)

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {
            "schema": 1,
            "horizon_ms": self.grid.horizon_ms,
            "kind_weight": self.kind_weight,
            "learned": self.learned,
            "refit_at": self.refit_at,
            "spread": self._spread.tolist(),
            "pooled": self._pooled.state(),
            "others": self._others.state(),
            "kinds": [[kind, ladder.state()] for kind, ladder in self._kinds.items()],
            "hours": self.hours.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        expected, got = (1, self.grid.horizon_ms), (state["schema"], state["horizon_ms"])
        if got != expected:
            raise ValueError(f"completion: expected schema and horizon_ms {expected}, got {got}")
        self.kind_weight = state["kind_weight"]
        self.learned, self.refit_at = state["learned"], state["refit_at"]
        self._spread = np.array(state["spread"])
        self._pooled = Ladder.of(state["pooled"])
        self._others = Ladder.of(state["others"])
        self._kinds = {kind: Ladder.of(ladder) for kind, ladder in state["kinds"]}
        self.hours.restore(state["hours"])

    def _unfit(self, bin_start: int, counts: Sequence[int], before: int) -> str:
        end = bin_start + len(counts)
        if bin_start < 0 or end > self._bins:
            return f"bins: expected 0 to {self._bins}, got {bin_start} to {end}"
        return f"counts: expected none below 0, got {before} and {list(counts)}"

    def _ladder(self, kind: str) -> Ladder:
        """Return a kind's ladder, or that of all others once there are too many kinds."""
        ladder = self._kinds.get(kind)
        if ladder is None:
            if len(self._kinds) >= self.kinds_max:
                return self._others
            ladder = self._kinds[kind] = Ladder(self.grid.bins)
            pooled = self._pooled
            ladder.adopt(pooled.arrived, pooled.density, pooled.variance)
        return ladder

    def _dispersion(self) -> float:
        """Return the factor of the variances: 1 where weighted responses were independent.

        What appeals differ by beyond chance moves all bins of an appeal the same way, so it counts
        for as many neighbours as move together.
        """
        claimed, chance, seen = (float(sum_) for sum_ in self._spread)
        return (chance + COHERENCE * max(0.0, seen - chance)) / claimed

    def refit(self) -> None:
        """Estimate everything again: due when there is a sixth more to go by, in the end seldom."""
        due = max(8, min(self.learned // 6, 5_000))
        self.refit_at = self.learned + due
        self._refit_pooled()
        if self.learns_hours:
            # Which alters all shares: every ladder is given another curve below.
            self.hours.refit(self._pooled.density, keep=self.forgetting ** (due / APPEAL_CALLS))
        if len(self._kinds) > 1:
            self._refit_kind_weight()
        for ladder in (*self._kinds.values(), self._others):
            self._refit_kind(ladder)

    def _refit_pooled(self) -> None:
        ladders, pooled = (*self._kinds.values(), self._others), self._pooled
        new = np.sum([ladder.new for ladder in ladders], axis=0)
        total = np.sum([ladder.total for ladder in ladders], axis=0)
        pooled.new, pooled.total = new, total
        law = truncated_law(self.grid.edges_ms, new, total)
        weight = total + LAW_WEIGHT
        q = (new + LAW_WEIGHT * law) / weight
        pooled.set_curve(q, q * (1.0 - q) / weight * self._dispersion())

    def _pooled_q(self) -> Floats:
        q: Floats = self._pooled.density / self._pooled.arrived
        return q

    def _refit_kind(self, ladder: Ladder) -> None:
        ladder.refit_at = ladder.learned + max(4, min(ladder.learned // 6, 5_000))
        q_pooled, m = self._pooled_q(), self.kind_weight
        weight = ladder.total + m
        q = (ladder.new + m * q_pooled) / weight
        pooled_weight = self._pooled.total + LAW_WEIGHT
        variance = q * (1.0 - q) * (1.0 / weight + (m / weight) ** 2 / pooled_weight)
        ladder.set_curve(q, variance * self._dispersion())

    def _refit_kind_weight(self) -> None:
        """Learn how alike the kinds are: beta-binomial likelihood of their counts (empirical
        Bayes).

        A kind's q is beta with mean that of all kinds and size m (Kleinman 1973). Taken by
        checkpoint, not by bin: a faster kind is so in all bins, which would look like little in
        each.
        """
        ends = np.array(self.grid.checkpoints) - 1
        arrived = self._pooled.arrived[ends]
        q = 1.0 - arrived[:-1] / arrived[1:]
        total = np.array([ladder.total for ladder in self._kinds.values()])
        stay = 1.0 - np.array([ladder.new for ladder in self._kinds.values()]) / (total + 1e-9)
        own = 1.0 - np.multiply.reduceat(stay, ends[:-1] + 1, axis=1)
        total = total[:, ends[1:]]
        scores = [
            _log_beta_binomial(own * total, total, m * q, m * (1.0 - q)) for m in KIND_WEIGHTS
        ]
        chances = np.exp(np.array(scores) - max(scores))
        chances /= chances.sum()
        self.kind_weight = exp(float(chances @ np.log(KIND_WEIGHTS))) / COHERENCE


def _log_beta_binomial(new: Floats, total: Floats, a: Floats, b: Floats) -> float:
    """Return the log likelihood of counts whose shares are beta(a, b), but for a constant."""
    with_data = gammaln(new + a) + gammaln(total - new + b) - gammaln(total + a + b)
    return float((with_data - gammaln(a) - gammaln(b) + gammaln(a + b)).sum())
