"""The pooled retention model: a negative binomial filter over all appeals of a community.

Responses of an appeal with exposure E are negative binomial with log mean

    eta = log E + intercept + kind + attributes + weekday + level(t) + u_level + log retention,
    log retention = -(1 + u_wear) exp(moderators) wear-out,
    wear-out = sum over axes of (wear_axis + deviation_kind,axis) S_axis(half-life_axis) + steps,

log-linear in the adstocks S (Broadbent 1979; see models.stock), the steps being places of the kind
axis at which wear-out may jump, and the unit's effects u random (Breslow & Clayton 1993,
"Approximate inference in generalized linear mixed models", JASA 88(421)). All coefficients, log
half-lives included, are one Gaussian state; each unit's effects are Gaussian given that state
(models.effects). An appeal is linearised at the current mean (models.joint), its count turned into
a Gaussian observation of eta by moment matching (models.gaussian), and the state updated exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

from models.design import Appeal, read_appeal
from models.dispersion import GridPosterior
from models.effects import BLANK, Effects
from models.first import first_in_place
from models.forecast import Forecast
from models.foretell import NOTHING_YET, foretell
from models.gaps import Gaps
from models.gaussian import NORMAL_95, seen_as
from models.joint import Belief, Joint
from models.kernels import log_score
from models.layout import Layout, half_life_sds
from models.level import Level
from models.luck import Luck, Moments
from models.outlook import outlook
from models.retention_summary import summarise
from models.rows import VARIANCE_MIN, Given, moderation, share_of, wear_now
from models.scaling import scaled
from models.spreads import Spreads
from models.strength import Strength

__all__ = ["PooledRetention"]

Floats = NDArray[np.float64]

STATE_VERSION = 4
# While learning, units are held to differ in level so many times as much as they do: who appeals
# often is better than others, and a level drawn to the mean would make that weaker wear-out. By no
# fixed amount: where an answer ends the asking, those asked on are held the less willing by it.
LEARNING_LEVEL_FACTOR, LEARNING_LEVEL_SD_MAX = 2.0, 1.0
SURPRISE_MAX = 8.0  # natural log: a factor of three thousand


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
        self.layout.places[-1] = self._level.jumps.at
        self._spreads = Spreads(forgetting)
        self._moments = Moments(units_max, forgetting)
        self._effects = Effects(units_max, self._learning_sds())
        self._effects.fit(self._coefficients.capacity)
        self._first_unit: dict[str, str] = {}
        self.gaps = Gaps()
        self.learned = 0
        self._joint = Joint(self._coefficients.capacity)
        # The appeal that the joint is of, and how many slots and coefficients there were.
        self._asked: tuple[Appeal, int, int] | None = None

    # What river asks for.

    def learn_one(self, x: Mapping[Any, Any] | Appeal, y: float) -> None:
        """Learn that an appeal with features `x` (see forecast.Features) drew `y` responses.

        Raises
        ------
        ValueError
            If `x` or `y` cannot be learned from; nothing has been learned then.
        """
        if not 0.0 <= y < float("inf"):
            raise ValueError(f"responses: expected a finite number >= 0, got {y!r}")
        appeal = self.read(x)
        self._make_room(appeal)
        self._level.advance(appeal.time_days, self._coefficients, self._effects)
        last_days = self._effects.last_days[self._effects.find(appeal.unit)]
        known_kind = appeal.kind if appeal.kind in self.layout.at["kind"] else None
        self.gaps.notice(appeal.time_days, last_days, known_kind)
        unit = self._effects.touch(appeal.unit, appeal.time_days)
        self._learn_count(appeal, y, unit)
        self.layout.notice(appeal)
        self.learned += 1

    def predict_one(self, x: Mapping[Any, Any] | Appeal) -> float:
        """Return the expected responses."""
        return self.forecast_one(x).mean

    def forecast_one(self, x: Mapping[Any, Any] | Appeal) -> Forecast:
        """Return what is expected of an appeal before any of its responses."""
        appeal = self.read(x)
        return self._foretell(appeal, self._luck(appeal), NOTHING_YET)

    def hindsight_one(self, x: Mapping[Any, Any] | Appeal) -> Forecast:
        """Return what was to be expected of an appeal that has been learned, its moment's luck, of
        which its own responses tell, left out.
        """
        return self._foretell(self.read(x), (0.0, 0.0, self.size), NOTHING_YET)

    def forecast_and_score_one(
        self, x: Mapping[Any, Any] | Appeal, y: float
    ) -> tuple[Forecast, float]:
        """Return the forecast of an appeal, and the log of the probability it gave to what came."""
        belief, size = self._expect(x)
        return outlook(belief, size), log_score(float(y), belief.eta, belief.eta_variance, size)

    def log_score_one(self, x: Mapping[Any, Any] | Appeal, y: float) -> float:
        """Return the log of the predictive probability of `y` responses (natural log)."""
        return self.forecast_and_score_one(x, y)[1]

    # What the learner asks for besides.

    def forecast_given(
        self, x: Mapping[Any, Any] | Appeal, responses: float, completion: float
    ) -> Forecast:
        """Return the forecast once part of the appeal's own responses is in; nothing is learned.

        Parameters
        ----------
        x : features; `exposure` is the reach, as if all responses had had time to arrive.
        responses : those in so far.
        completion : share of the final responses that has had time to arrive, in (0, 1].
        """
        if not 0.0 < completion <= 1.0:
            raise ValueError(f"completion: expected a number in (0, 1], got {completion!r}")
        appeal = self.read(x)
        return self._foretell(appeal, self._luck(appeal), (float(responses), completion))

    def level_now(self, time_days: float) -> tuple[float, float, float]:
        """Return the level relative to normal (its average so far, over about a year), with its 90
        % interval.
        """
        _, variance = self._level.moments(time_days, self._coefficients)
        log_factor, reach = self.log_level(time_days), NORMAL_95 * sqrt(max(variance, 0.0))
        return exp(log_factor), exp(log_factor - reach), exp(log_factor + reach)

    def log_level(self, time_days: float) -> float:
        """Return the log of the level relative to normal (natural log)."""
        mean, _ = self._level.moments(time_days, self._coefficients)
        return mean - self._level.normal

    def first_appeal_expectation(self, x: Mapping[Any, Any] | Appeal) -> tuple[float, float]:
        """Return what a first appeal by an unknown appealer would draw in place of this one.

        Returns
        -------
        log_mean : log of the expected responses without the appealer's own level and wear-out
            (natural log).
        passing_sd : of what is not known of it and does not last: everybody's level, and the luck
            of its moment, of which siblings tell. What is not known of the kind and the attributes
            stays as it is from one appeal of a series to the next, like the appealer's own level,
            which is larger.
        """
        appeal = self.read(x)
        log_mean, variance, passing = first_in_place(self._given(appeal))
        unknown = max(0.0, variance - self.level_sd**2)
        passing = min(max(passing, 0.0), unknown)
        luck, luck_variance, _ = self._luck(appeal)
        return log_mean + luck, sqrt(passing + luck_variance)

    def read(self, x: Mapping[Any, Any] | Appeal) -> Appeal:
        """Return the checked features of an appeal.

        It may be handed over in place of `x`: who asks several things of one appeal need not have
        it read each time.
        """
        return x if isinstance(x, Appeal) else read_appeal(x)

    def wear_strength(self, appeal: Appeal) -> tuple[float, float]:
        """Return by what factor this appealer, with these moderators, wears out faster than others.

        Besides, the sd of the part of it that is the appealer's own, relative to others.
        """
        effects, mean = self._effects, self._coefficients.mean
        unit = effects.find(appeal.unit)
        _, _, share, _ = share_of(mean, effects.packed[unit], unit != BLANK)
        _, group, places, values, scale = self.layout.found(appeal)
        factor, _ = moderation(mean, group, places, scaled(values, scale))
        return share * factor, sqrt(effects.covariance[unit, 1, 1])

    def wear_now(self, appeal: Appeal) -> Floats:
        """Return by axis, shape (3, 3), the stocks felt, what the appealer wears out per unit of
        them (natural log), and the half-lives in days.
        """
        layout, effects, mean = self.layout, self._effects, self._coefficients.mean
        unit, found = effects.find(appeal.unit), layout.found(appeal)
        return wear_now(layout.places, found, appeal.stocks, mean, unit, effects.packed)

    def log_half_life_sds(self) -> Floats:
        """Return the sd of the log half-life of each axis, shape (3,)."""
        return half_life_sds(self._coefficients.covariance, self.layout.half_life)

    @property
    def size(self) -> float:
        """The dispersion phi that counts are predicted with: 1 / (posterior mean of 1 / phi)."""
        return self._spreads.size

    def dispersion_quantile(self, p: float) -> float:
        """Return a quantile of the posterior of phi."""
        return self._spreads.sizes.quantile(p)

    @property
    def shared_luck(self) -> GridPosterior:
        """Of how appeals scatter, the share that those put at one moment have in common."""
        return self._moments.shares

    @property
    def level_sd(self) -> float:
        """How much appealers' levels differ (sd of the natural log)."""
        return self._spreads.level_sd

    @property
    def strength(self) -> Strength:
        """How appealers differ in wear-out: sd, relative to all, and share of the immune."""
        return self._spreads.strength

    @property
    def learning_level_sd(self) -> float:
        """How much levels are held to differ while learning (sd of the natural log)."""
        return min(LEARNING_LEVEL_FACTOR * self.level_sd, LEARNING_LEVEL_SD_MAX)

    @property
    def evicted(self) -> int:
        """How many appealers (with their audiences) have been forgotten to make room."""
        return self._effects.evicted

    @property
    def level_and_crowd(self) -> float:
        """The correlation, in what is believed, of the latest level and the crowd's wear-out."""
        return self._level.correlation(self._coefficients, self.layout.wear + 2)

    def summary(self) -> dict[str, Any]:
        """Return what has been learned (see retention_summary.summarise)."""
        return summarise(self)

    # How it is done.

    def _expect(self, x: Mapping[Any, Any] | Appeal) -> tuple[Belief, float]:
        """Return what is believed of an appeal, the luck of its moment weighed in, and by what
        dispersion its count scatters besides.
        """
        appeal = self.read(x)
        belief = self._foresee(appeal, self._effects.find(appeal.unit)).belief
        mean, variance, size = self._luck(appeal)
        if variance == 0.0:  # then there is no mean either
            return belief, size
        eta, variance = belief.eta + mean, belief.eta_variance + variance
        return belief._replace(eta=eta, eta_variance=variance), size

    def _luck(self, appeal: Appeal) -> Luck:
        return self._moments.luck(appeal.unit, appeal.time_days, self.size)

    def _foretell(self, appeal: Appeal, luck: Luck, so_far: tuple[float, float]) -> Forecast:
        return foretell(self._given(appeal), self._effects.find(appeal.unit), luck, so_far)

    def _given(self, appeal: Appeal) -> Given:
        """Return all that what is believed of an appeal rests on, but for its unit."""
        layout, level, coefficients = self.layout, self._level, self._coefficients
        seen = appeal.stocks, appeal.time_days, appeal.log_exposure, layout.found(appeal)
        belief, jumps = (coefficients.mean, coefficients.covariance), level.jumps.packed
        units, differ = self._effects.packed, self._spreads.differ
        return layout.places, seen, belief, units, level.slots, jumps, differ, layout.told

    def _foresee(self, appeal: Appeal, unit: int) -> Joint:
        """Return what is believed of an appeal; asked again of the same one, as it was said."""
        slot, size, asked = self._level.slot, self._coefficients.size, self._asked
        if asked is None or asked[0] is not appeal or asked[1] != slot or asked[2] != size:
            self._joint.linearise(self._given(appeal), unit)
            self._asked = appeal, slot, size
        return self._joint

    def _fit(self) -> None:
        """Make room for as many coefficients as there are."""
        capacity = self._coefficients.capacity
        self._effects.fit(capacity)
        if len(self._joint.row) != capacity:
            self._joint = Joint(capacity)
            self._asked = None

    def _learning_sds(self) -> tuple[float, float]:
        """Return how much units are held to differ, while learning, in level and in wear-out."""
        return self.learning_level_sd, self._spreads.strength.total_sd

    def _make_room(self, appeal: Appeal) -> None:
        """Give coefficients to what appears for the first time."""
        first = self._first_unit.setdefault(appeal.appealer, appeal.unit)
        if len(self._first_unit) > self.units_max:
            del self._first_unit[next(iter(self._first_unit))]
        self.layout.make_room(appeal, several_audiences=first != appeal.unit)
        self._fit()

    def _learn_count(self, appeal: Appeal, y: float, unit: int) -> None:
        """Turn the count into a Gaussian observation of its log mean, and learn that exactly."""
        joint, spreads = self._foresee(appeal, unit), self._spreads
        self._asked, alone = None, joint.belief
        luck, open_luck, size = self._luck(appeal)
        if open_luck == 0.0:  # the others of a moment say less about how counts scatter
            spreads.notice_count(y, alone)
        self._moments.learn(
            appeal.unit, appeal.time_days, y, alone.eta, alone.eta_variance, spreads.size
        )
        seen, noise = seen_as(y, alone.eta + luck, alone.eta_variance + open_luck, size)
        if noise == inf:
            return
        seen, noise = seen - luck, noise + open_luck
        # A count may be a million times what was believed; linear steps so far lead nowhere. It is
        # the step that is bounded: a yes where one in a hundred was expected is seen a hundred off,
        # with an error to match, and were that cut, only the nos would be learned.
        furthest = SURPRISE_MAX * (1.0 + noise / max(joint.eta_variance, VARIANCE_MIN))
        seen = min(max(seen, joint.eta - furthest), joint.eta + furthest)
        spreads.notice_effects(joint, seen, noise, self._effects.appeals[unit])
        self._effects.expect(self._learning_sds())
        joint.learn(seen, noise, self._coefficients, unit, self._effects)
        self.layout.keep_half_lives_on_grid()
        self._level.settle(self._coefficients)

    # State.

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {
            "version": STATE_VERSION,
            "layout": self.layout.state(),
            "level": self._level.state(),
            "effects": self._effects.state(),
            "spreads": self._spreads.state(),
            "moments": self._moments.state(),
            "first_unit": list(self._first_unit.items()),
            "gaps": self.gaps.state(),
            "learned": self.learned,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where the model that gave `state` left off."""
        if state["version"] != STATE_VERSION:
            raise ValueError(f"version: expected {STATE_VERSION}, got {state['version']!r}")
        self.layout.restore(state["layout"])
        self._effects.restore(state["effects"])
        self._spreads.restore(state["spreads"])
        self._moments.restore(state["moments"])
        self._level.restore(state["level"])
        self._first_unit = {k: v for k, v in state["first_unit"]}
        self.gaps.restore(state["gaps"])
        self.learned = state["learned"]
        self._asked = None
        self._fit()
