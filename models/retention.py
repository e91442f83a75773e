"""The pooled retention model: a negative binomial filter over all appeals of a community.

Responses y of an appeal with exposure E are negative binomial with log mean

    eta = log E + intercept + kind + attributes + weekday + level(t) + u_level + log retention, log
    retention = -(1 + u_wear) exp(moderators) sum over axes of (wear_axis + deviation_kind,axis)
    S_axis(half-life_axis),

(STATISTICS section 7.2; the log-linear adstock response is Broadbent 1979, random effects as in
Breslow & Clayton 1993, "Approximate inference in generalized linear mixed models", JASA 88(421)).
All coefficients, log half-lives included, are one Gaussian state; each unit's (u_level, u_wear) is
Gaussian given that state (models.effects). An appeal is linearised at the current mean (the
extended Kalman filter: Jazwinski 1970, "Stochastic processes and filtering theory", section 8.3),
its count turned into a Gaussian pseudo-observation by moment matching (models.gaussian), and the
state updated by it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import base

from models.design import (
    AXES,
    GROUP_SDS,
    LOG_HALF_LIVES,
    Appeal,
    Layout,
    read_appeal,
    stock_at,
)
from models.dispersion import GridPosterior
from models.effects import BLANK, Effects
from models.forecast import Forecast
from models.gaussian import (
    NORMAL_95,
    count_interval,
    log_probability,
    matched_size,
    tilt,
    tilted_nodes,
)
from models.level import Level
from models.retention_summary import summarise

__all__ = ["PooledRetention"]

Floats = NDArray[np.float64]

STATE_VERSION = 1
# While learning, units are held to differ this much, more than they do: units that appeal often are
# better than others, and a level drawn to the mean would make that out to be weaker wear-out.
LEARNING_LEVEL_SD = 1.0
SIZES: list[float] = [0.5 * 1.15**i for i in range(50)]  # dispersion phi, .5 to 471
LEVEL_SDS: list[float] = [0.1 * 1.2**i for i in range(13)]
WEAR_SDS: list[float] = [0.05 * 1.3**i for i in range(12)]
SD_APPEALS_MAX = 5  # of a unit: later ones say little about how much levels differ
SD_WEAR_MIN = 0.1  # log retention below which a repeat says nothing about how wear-out differs
SHARE_MIN, SHARE_MAX = 0.0, 3.0  # of the common wear-out, in a unit's linearisation
MODERATION_MAX = 1.6  # natural log: moderators change wear-out by at most a factor of five
# The floor of the interval of log retention (STATISTICS section 1: units that go on appealing are
# not a random sample).
FLOOR_RELATIVE, FLOOR_ABSOLUTE = 0.05, 0.02
ETA, RETENTION, U_LEVEL, U_WEAR, JUMP = range(5)  # rows of the joint belief about one appeal


class _Joint(NamedTuple):
    """The Gaussian belief about one appeal: log mean, log retention, its unit's effects, the latest
    jump.

    mean : shape (5,); covariance : (5, 5), both under the wide priors used for learning.
    rows : (5, capacity), each quantity's dependence on the coefficients, the unit's effects
        integrated out.
    spread : (5, capacity), rows times the coefficients' covariance.
    slope : what u_wear adds to log retention per unit.
    """

    mean: Floats
    covariance: Floats
    rows: Floats
    spread: Floats
    slope: float
    open_variance: float
    prior_sds: Floats


class _Belief(NamedTuple):
    """Mean and variance of log mean and log retention under the priors used for prediction, and
    their covariance.
    """

    eta: float
    eta_variance: float
    retention: float
    retention_variance: float
    covariance: float


class PooledRetention(base.Regressor):
    """Retention learned from all appeals of a community together, with honest intervals.

    Parameters
    ----------
    units_max
        Appealers (with their audiences) remembered one by one; the one longest unheard of makes
        room.
    kinds_max, attributes_max, groups_max
        How many kinds, moderators, and appealers with several audiences have coefficients of their
        own.
    forgetting
        What an appeal's word on dispersion still weighs one appeal later.

    Examples
    --------
    >>> model = PooledRetention()
    >>> for day in range(40):
    ...     x = {"time_days": float(day), "appealer": f"a{day % 7}", "exposure": 1000.0}
    ...     model.learn_one(x, 20)
    >>> forecast = model.forecast_one(x)
    >>> round(forecast.mean / 20, 1), round(forecast.retention, 2)
    (1.0, 1.0)
    """

    def __init__(
        self,
        units_max: int = 10_000,
        kinds_max: int = 64,
        attributes_max: int = 32,
        groups_max: int = 16,
        forgetting: float = 0.9995,
    ) -> None:
        self.units_max = units_max
        self.kinds_max = kinds_max
        self.attributes_max = attributes_max
        self.groups_max = groups_max
        self.forgetting = forgetting
        self.layout = Layout(kinds_max, attributes_max, groups_max)
        self._coefficients = self.layout.coefficients
        self._level = Level(self._coefficients, self.layout.intercept)
        self._effects = Effects(units_max, (LEARNING_LEVEL_SD, 0.2))
        self._effects.fit(self._coefficients.capacity)
        self._size = _grid(SIZES, 10.0, 1.5, forgetting)
        self._level_sd = _grid(LEVEL_SDS, 0.5, 0.7, forgetting)
        self._wear_sd = _grid(WEAR_SDS, 0.2, 0.7, forgetting)
        self._first_audience: dict[str, str] = {}
        self._kind_span: dict[str, list[float]] = {}
        self._log_gap_sum = 0.0
        self._gaps = 0
        self.learned = 0

    # What river asks for.

    def learn_one(self, x: Mapping[Any, Any], y: float) -> None:
        """Learn that an appeal with features `x` (see forecast.Features) drew `y` responses.

        Raises
        ------
        ValueError
            If `x` or `y` cannot be learned from; nothing has been learned then.
        """
        if not 0.0 <= y < float("inf"):
            raise ValueError(f"responses: expected a finite number >= 0, got {y!r}")
        appeal = read_appeal(x)
        self._joint(appeal, BLANK)  # refuses what is not finite before anything is touched
        self._make_room(appeal)
        self._level.advance(appeal.time_days, self._coefficients, self._effects)
        self._notice_gaps(appeal)
        row = self._effects.touch(appeal.unit, appeal.time_days)
        joint = self._joint(appeal, row)
        self._learn_count(joint, y, row)
        self.learned += 1

    def predict_one(self, x: Mapping[Any, Any]) -> float:
        """Return the expected responses."""
        return self.forecast_one(x).mean

    def forecast_one(self, x: Mapping[Any, Any]) -> Forecast:
        """Return what is expected of an appeal before any of its responses."""
        belief = self._believe(x)
        mean = exp(min(belief.eta + belief.eta_variance / 2.0, 700.0))
        size = matched_size(belief.eta_variance, self.size)
        return _forecast(
            belief.retention, belief.retention_variance, mean, *count_interval(mean, size)
        )

    def log_score_one(self, x: Mapping[Any, Any], y: float) -> float:
        """Return the log of the predictive probability of `y` responses (natural log)."""
        belief = self._believe(x)
        size = matched_size(belief.eta_variance, self.size)
        return float(log_probability(y, belief.eta, belief.eta_variance, size))

    # What the learner asks for besides.

    def forecast_given(self, x: Mapping[Any, Any], responses: float, completion: float) -> Forecast:
        """Return the forecast once part of the appeal's own responses is in; nothing is learned.

        Parameters
        ----------
        x : features; `exposure` is the reach, as if all responses had had time to arrive.
        responses : those in so far.
        completion : share of the final responses that has had time to arrive, in (0, 1].
        """
        if not 0.0 < completion <= 1.0:
            raise ValueError(f"completion: expected a number in (0, 1], got {completion!r}")
        before = self._believe(x)
        eta, variance, size = before.eta, before.eta_variance, self.size
        nodes, weights = tilted_nodes(responses, eta + log(completion), variance, size)
        tilted = float(weights @ nodes)
        spread = float(weights @ (nodes - tilted) ** 2)
        gain = before.covariance / variance
        retention = before.retention + gain * (tilted - eta - log(completion))
        retention_variance = before.retention_variance - gain * gain * (variance - spread)
        so_far = np.exp(nodes)
        # The appeal's own multiplier is Gamma(phi, phi) before, Gamma(phi + y, phi + mean so far)
        # after.
        rate = so_far * ((size + responses) / (size + so_far)) * (1.0 / completion - 1.0)
        rest = float(weights @ rate)
        second = float(weights @ (rate * rate)) * (1.0 + 1.0 / (size + responses))
        rest_size = rest * rest / max(second - rest * rest, 1e-12 * rest * rest)
        low, high = count_interval(rest, rest_size)
        return _forecast(
            retention, retention_variance, responses + rest, responses + low, responses + high
        )

    def level_now(self, time_days: float) -> tuple[float, float, float]:
        """Return the level relative to normal (its average so far, over about a year), with its 90
        % interval.
        """
        mean, variance = self._level.moments(time_days, self._coefficients)
        log_factor, reach = mean - self._level.normal, NORMAL_95 * sqrt(max(variance, 0.0))
        return exp(log_factor), exp(log_factor - reach), exp(log_factor + reach)

    def first_appeal_expectation(self, x: Mapping[Any, Any]) -> tuple[float, float, float]:
        """Return what a first appeal by an unknown appealer would draw in place of this one, and
        how appealers differ.

        Returns
        -------
        log_mean : log of the expected responses without the appealer's own level and wear-out
            (natural log).
        baseline_mean, baseline_sd : of the log level of an appealer of whom nothing is known, the
            uncertainty of `log_mean` included.
        """
        appeal = read_appeal(x)
        joint = self._joint(appeal._replace(stocks=(None, None, appeal.stocks[2])), BLANK)
        belief = self._predictive(joint)
        return belief.eta, 0.0, sqrt(belief.eta_variance)

    def wear_strength(self, appeal: Appeal) -> float:
        """Return by what factor this appealer, with these moderators, wears out faster than others."""
        row = self._effects.find(appeal.unit)
        u_wear = (
            self._effects.mean[row][1] + self._effects.loading[row][1] @ self._coefficients.mean
        )
        share = min(max(1.0 + float(u_wear), SHARE_MIN), SHARE_MAX)
        return share * exp(self._moderation(appeal))

    def wear_strength_sd(self, appeal: Appeal) -> float:
        """Return the sd of that factor's part which is the appealer's own."""
        row = self._effects.find(appeal.unit)
        return sqrt(float(self._effects.covariance[row][1, 1]))

    @property
    def size(self) -> float:
        """The dispersion phi that counts are predicted with: 1 / (posterior mean of 1 / phi)."""
        return 1.0 / self._size.inverse_mean

    def dispersion_quantile(self, p: float) -> float:
        """Return a quantile of the posterior of phi."""
        return self._size.quantile(p)

    @property
    def level_sd(self) -> float:
        """How much appealers' levels differ (sd of the natural log)."""
        return self._level_sd.mean

    @property
    def wear_sd(self) -> float:
        """How much appealers' wear-out differs, relative to the common one (sd)."""
        return self._wear_sd.mean

    @property
    def evicted(self) -> int:
        """How many appealers (with their audiences) have been forgotten to make room."""
        return self._effects.evicted

    @property
    def level_and_crowd(self) -> float:
        """The correlation, in what is believed, of the latest level and the crowd's wear-out."""
        found, _ = self._level.entries(self._level.began_days)
        covariance, crowd = self._coefficients.covariance, self.layout.wear + 2
        indices = [index for index, _ in found]
        across = float(covariance[indices, crowd].sum())
        level = float(covariance[np.ix_(indices, indices)].sum())
        return across / sqrt(max(level * float(covariance[crowd, crowd]), 1e-300))

    @property
    def typical_gap_days(self) -> float:
        """The geometric mean of the time between an appealer's appeals."""
        return exp(self._log_gap_sum / self._gaps) if self._gaps else 7.0

    def crowd_gap_days(self, kind: str) -> float:
        """Return the mean time between appeals of a kind in the community."""
        count, first_days, last_days = self._kind_span.get(kind, [0, 0.0, 0.0])
        return (last_days - first_days) / (count - 1) if count > 1 else 7.0

    def summary(self) -> dict[str, Any]:
        """Return what has been learned (see retention_summary.summarise)."""
        return summarise(self)

    # How it is done.

    def _believe(self, x: Mapping[Any, Any]) -> _Belief:
        appeal = read_appeal(x)
        return self._predictive(self._joint(appeal, self._effects.find(appeal.unit)))

    def _make_room(self, appeal: Appeal) -> None:
        """Give coefficients to what appears for the first time."""
        layout = self.layout
        layout.make_kind(appeal.kind)
        layout.notice_stocks(self._stocks(appeal))
        for name, _ in appeal.attributes:
            layout.make_attribute(name)
        first = self._first_audience.setdefault(appeal.appealer, appeal.unit)
        if first != appeal.unit:
            layout.make("group", appeal.appealer, GROUP_SDS)
        elif len(self._first_audience) > self.units_max:
            del self._first_audience[next(iter(self._first_audience))]
        self._effects.fit(self._coefficients.capacity)

    def _notice_gaps(self, appeal: Appeal) -> None:
        row = self._effects.find(appeal.unit)
        gap_days = appeal.time_days - float(self._effects.last_days[row])
        if row != BLANK and gap_days > 0.0:
            self._log_gap_sum += log(gap_days)
            self._gaps += 1
        if self.layout.find("kind", appeal.kind) == self.layout.own_place("kind", appeal.kind):
            span = self._kind_span.setdefault(appeal.kind, [0, appeal.time_days, 0.0])
            span[0] += 1
            span[2] = appeal.time_days

    def _stocks(self, appeal: Appeal) -> list[float]:
        """Return the stocks felt on each axis at the half-lives believed in."""
        at = self.layout.half_life
        half_lives = self._coefficients.mean[at : at + 3].tolist()
        return [
            stock_at(stocks, half_life, name)[0]
            for stocks, half_life, name in zip(appeal.stocks, half_lives, AXES, strict=True)
        ]

    def _joint(self, appeal: Appeal, row: int) -> _Joint:
        """Linearise an appeal at the current mean."""
        mean, effects = self._coefficients.mean, self._effects
        loading = effects.loading[row]
        rows = np.zeros((5, len(mean)))
        open_variance = self._fill_first(appeal, rows[ETA])
        u = effects.mean[row] + loading @ mean
        log_first = float(rows[ETA] @ mean) + appeal.log_exposure + float(u[0])
        share = min(max(1.0 + float(u[1]), SHARE_MIN), SHARE_MAX)
        log_retention, slope = self._fill_wear(appeal, share, rows[RETENTION])
        rows[RETENTION] += slope * loading[1]
        rows[ETA] += rows[RETENTION] + loading[0]
        rows[U_LEVEL:JUMP] = loading
        rows[JUMP, self._level.jump] = 1.0
        own = np.array([[1.0, slope], [0.0, slope], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        spread = rows @ self._coefficients.covariance
        covariance = spread @ rows.T + own @ effects.covariance[row] @ own.T
        jump = float(mean[self._level.jump])
        means = np.array([log_first + log_retention, log_retention, u[0], u[1], jump])
        return _Joint(means, covariance, rows, spread, slope, open_variance, effects.prior_sds[row])

    def _fill_first(self, appeal: Appeal, row: Floats) -> float:
        """Write what a first appeal's log mean depends on; return the variance the level leaves
        open.
        """
        layout = self.layout
        row[layout.intercept] = 1.0
        row[layout.weekday + int(appeal.time_days) % 7] = 1.0
        entries, open_variance = self._level.entries(appeal.time_days)
        for index, weight in entries:
            row[index] = weight
        kind = layout.find("kind", appeal.kind)
        if kind is not None:
            row[kind] = 1.0
        for name, value in appeal.attributes:
            at = layout.find("attribute", name)
            if at is not None:
                row[at] += value
        group = layout.find("group", appeal.appealer)
        if group is not None and self._first_audience.get(appeal.appealer) is not None:
            row[group] = 1.0
        return open_variance

    def _fill_wear(self, appeal: Appeal, share: float, row: Floats) -> tuple[float, float]:
        """Write what log retention depends on; return it, and what it gains per unit of the unit's
        u_wear.
        """
        layout, mean = self.layout, self._coefficients.mean
        kind = layout.find("kind", appeal.kind)
        strength = exp(self._moderation(appeal))
        wear = 0.0
        for axis, stocks in enumerate(appeal.stocks):
            if stocks is None:
                continue
            stock, rise = stock_at(stocks, float(mean[layout.half_life + axis]), AXES[axis])
            rate = float(mean[layout.wear + axis])
            if kind is not None:
                rate += float(mean[kind + 1 + axis])
                row[kind + 1 + axis] = -share * strength * stock
            row[layout.wear + axis] = -share * strength * stock
            row[layout.half_life + axis] = -share * strength * rate * rise
            wear += rate * stock
        slope = -strength * wear
        for name, value in appeal.attributes:
            at = layout.find("attribute", name)
            if at is not None:
                row[at + 1] += share * slope * value
        return share * slope, slope

    def _moderation(self, appeal: Appeal) -> float:
        """Return the log of the factor that moderators put on wear-out."""
        total = 0.0
        for name, value in appeal.attributes:
            at = self.layout.find("attribute", name)
            if at is not None:
                total += value * float(self._coefficients.mean[at + 1])
        return min(max(total, -MODERATION_MAX), MODERATION_MAX)

    def _predictive(self, joint: _Joint) -> _Belief:
        """Return the belief under the priors used for prediction: units as alike as they are, a
        jump only if likely.
        """
        mean, covariance = joint.mean.copy(), joint.covariance.copy()
        learned = (self._level_sd.mean, self._wear_sd.mean)
        for index, sd, prior_sd in zip((U_LEVEL, U_WEAR), learned, joint.prior_sds, strict=True):
            _exchange_prior(mean, covariance, index, float(prior_sd), sd)
        odds = self._level.log_jump_odds(self._coefficients)
        share = 1.0 / (1.0 + exp(-max(-50.0, min(50.0, odds))))
        still_mean, still = mean.copy(), covariance.copy()
        if covariance[JUMP, JUMP] > 0.0:
            _condition(still_mean, still, JUMP, 0.0)
        shift = mean - still_mean
        mixed = still_mean + share * shift
        spread = (1.0 - share) * still + share * covariance
        spread += share * (1.0 - share) * np.outer(shift, shift)
        return _Belief(
            float(mixed[ETA]),
            float(spread[ETA, ETA]) + joint.open_variance,
            float(mixed[RETENTION]),
            float(spread[RETENTION, RETENTION]),
            float(spread[ETA, RETENTION]),
        )

    def _learn_count(self, joint: _Joint, y: float, row: int) -> None:
        """Turn the count into a Gaussian observation of its log mean, and learn that exactly."""
        belief = self._predictive(joint)
        self._learn_size(belief, y)
        mean, variance = tilt(y, belief.eta, belief.eta_variance, self.size)
        precision = 1.0 / variance - 1.0 / belief.eta_variance
        if precision <= 1e-9:
            return
        seen = (mean / variance - belief.eta / belief.eta_variance) / precision
        noise = 1.0 / precision + joint.open_variance
        self._learn_sds(joint, seen, noise, int(self._effects.appeals[row]))
        self._update(joint, seen, noise, row)

    def _learn_size(self, belief: _Belief, y: float) -> None:
        """Learn how counts scatter from how well each value of phi foretold this one."""
        factor = exp(min(belief.eta_variance, 50.0))
        matched = 1.0 / np.maximum((1.0 + 1.0 / self._size.values) * factor - 1.0, 1e-12)
        self._size.learn(log_probability(y, belief.eta, belief.eta_variance, matched))

    def _learn_sds(self, joint: _Joint, seen: float, noise: float, appeals: int) -> None:
        """Learn how much units differ: in level from their first appeals, in wear-out from repeats."""
        sds = (self._level_sd.mean, self._wear_sd.mean)
        if appeals <= SD_APPEALS_MAX:
            self._learn_sd(self._level_sd, joint, U_LEVEL, sds[1], seen, noise)
        if abs(joint.slope) > SD_WEAR_MIN and appeals > 1:
            self._learn_sd(self._wear_sd, joint, U_WEAR, sds[0], seen, noise)
            self._effects.expect((LEARNING_LEVEL_SD, self._wear_sd.mean))

    def _learn_sd(
        self,
        posterior: GridPosterior,
        joint: _Joint,
        index: int,
        other_sd: float,
        seen: float,
        noise: float,
    ) -> None:
        """Compare the sds units may have in one effect by how well each foretold the log mean."""
        mean, covariance = joint.mean.copy(), joint.covariance.copy()
        other = U_WEAR + U_LEVEL - index
        _exchange_prior(mean, covariance, other, float(joint.prior_sds[other - U_LEVEL]), other_sd)
        prior_variance = float(joint.prior_sds[index - U_LEVEL]) ** 2
        # As in _exchange_prior, for all sds at once.
        precision = posterior.values**-2 - 1.0 / prior_variance
        across = float(covariance[ETA, index])
        own = min(float(covariance[index, index]), prior_variance)
        gain = across * precision / (1.0 + own * precision)
        surprise = seen - mean[ETA] + gain * mean[index]
        variances = covariance[ETA, ETA] - gain * across + noise
        posterior.learn(-0.5 * (np.log(variances) + surprise * surprise / variances))

    def _update(self, joint: _Joint, seen: float, noise: float, row: int) -> None:
        """Learn that the log mean has been seen as `seen`, with an error of variance `noise`."""
        innovation = seen - float(joint.mean[ETA])
        coefficients, effects = self._coefficients, self._effects
        row_eta, spread = joint.rows[ETA], joint.spread[ETA]
        from_state = innovation + float(row_eta @ coefficients.mean)
        total = float(joint.covariance[ETA, ETA]) + noise
        coefficients.mean += spread * (innovation / total)
        coefficients.covariance -= np.outer(spread, spread / total)
        self._keep_half_lives_on_grid()
        own = effects.covariance[row] @ np.array([1.0, joint.slope])
        gain = own / (float(own[0] + joint.slope * own[1]) + noise)
        effects.mean[row] += gain * from_state
        effects.loading[row] -= np.outer(gain, row_eta)
        effects.covariance[row] -= np.outer(own, gain)

    def _keep_half_lives_on_grid(self) -> None:
        at = self.layout.half_life
        half_lives = self._coefficients.mean[at : at + 3]
        np.clip(half_lives, LOG_HALF_LIVES[0], LOG_HALF_LIVES[-1], out=half_lives)

    # State.

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {
            "version": STATE_VERSION,
            "layout": self.layout.state(),
            "level": self._level.state(),
            "effects": self._effects.state(),
            "size": self._size.state(),
            "level_sd": self._level_sd.state(),
            "wear_sd": self._wear_sd.state(),
            "first_audience": list(self._first_audience.items()),
            "kind_span": [[kind, *span] for kind, span in self._kind_span.items()],
            "gaps": [self._log_gap_sum, self._gaps],
            "learned": self.learned,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where the model that gave `state` left off."""
        if state["version"] != STATE_VERSION:
            raise ValueError(f"version: expected {STATE_VERSION}, got {state['version']!r}")
        self.layout.restore(state["layout"])
        for name in ("level", "effects", "size", "level_sd", "wear_sd"):
            getattr(self, f"_{name}").restore(state[name])
        self._first_audience = {k: v for k, v in state["first_audience"]}
        self._kind_span = {kind: list(span) for kind, *span in state["kind_span"]}
        self._log_gap_sum, self._gaps = state["gaps"]
        self.learned = state["learned"]


def _grid(values: list[float], centre: float, log_sd: float, forgetting: float) -> GridPosterior:
    """Return a posterior with a log-normal prior."""
    log_prior = [-0.5 * (log(v / centre) / log_sd) ** 2 for v in values]
    return GridPosterior(values, log_prior, forgetting)


def _condition(mean: Floats, covariance: Floats, index: int, variance: float) -> None:
    """Learn that the entry at `index` has been seen as 0 with that error variance."""
    column = covariance[index].copy()
    total = column[index] + variance
    mean -= column * (mean[index] / total)
    covariance -= np.outer(column, column / total)


def _exchange_prior(
    mean: Floats, covariance: Floats, index: int, prior_sd: float, sd: float
) -> None:
    """Believe what would be believed had the effect at `index` had the prior N(0, sd^2) instead.

    It is one more observation, of 0 with the precision that was lacking (a negative one loosens).
    What the effect's prior allowed is an upper limit of its variance, which stand-ins for forgotten
    levels may exceed a little.
    """
    lacking = sd**-2 - prior_sd**-2
    column = covariance[index].copy()
    gain = lacking / (1.0 + min(float(column[index]), prior_sd**2) * lacking)
    mean -= column * (mean[index] * gain)
    covariance -= np.outer(column, column * gain)


def _forecast(
    log_retention: float, variance: float, mean: float, mean_low: float, mean_high: float
) -> Forecast:
    floor = (FLOOR_RELATIVE * log_retention) ** 2 + FLOOR_ABSOLUTE**2
    sd = sqrt(max(variance, 0.0) + floor)
    low, high = exp(log_retention - NORMAL_95 * sd), exp(log_retention + NORMAL_95 * sd)
    return Forecast(exp(log_retention), low, high, mean, mean_low, mean_high, sd)
