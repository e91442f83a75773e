"""What is known of one series when its verdict is due, put into the terms of models.verdict."""

from __future__ import annotations

from math import exp, log
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import gammaincinv

from models.evidence import EXPECTED_MIN
from models.forecast import Forecast
from models.plan import AskAgain, rest_needed
from models.repeats import repeats_needed
from models.retention import PooledRetention
from models.verdict import Decision, Standing
from streams.ask import Ask
from streams.events import Appeal, Verdict

__all__ = ["COSTS_MORE", "Asked", "Series", "Surroundings", "in_words", "standing_of"]

DAY_MS = 86_400_000
# A series over many small audiences speaks of about this many recent repeats together.
TOGETHER = 30
MANY_AUDIENCES = 0.5
TIMES_KEPT = 16
FADING = 0.9  # what an appeal brought weighs half as much six appeals later
CROWD_KEPT = 64
KINDS_KEPT = 1000
# A strain known no better than that is not known at all.
LOG_STRAIN_SD_MAX = 1.0
FELT_HALF_LIVES = 3.0
COSTS_MORE = "it costs more than it brings"
T = TypeVar("T")
Floats = NDArray[np.float64]
_TIRED = ("tiring", "worn_out", "recovering")
_THIS_APPEAL = np.array([1.0, 1.0, 0.0])
NORMAL_95, NORMAL_99 = 1.6448536269514722, 2.3263478740408408


class Asked(NamedTuple):
    """An appeal of a series: what it met, when it was put, what was said of it, and when we speak.

    Where the latest appeal is closed, `ask` is another one of its series.
    """

    ask: Ask
    time_ms: int
    forecast: Forecast
    now_ms: int


class Series(msgspec.Struct):
    """One appealer's appeals of one kind, and what was last said of them.

    `worth` and `exits` are fading sums over its closed appeals. `switching` tells how often an
    appeal goes to another audience than the last (fading mean); `log_retention` and `log_sd` are
    those of the recent repeats together.
    """

    appealer: str
    kind: str
    repeat: int = 0
    times_ms: list[int] = []
    latest: Appeal | None = None
    switching: float = 0.0
    repeats: int = 0
    log_retention: float = 0.0
    log_sd: float = 0.0
    state: str = "unknown"
    reference: float = 1.0
    worn: bool = False
    rising: bool = False
    log_e: float = 0.0
    worth: float = 0.0
    exits: float = 0.0
    verdict: Verdict | None = None

    def rests_ms(self, time_ms: int) -> tuple[int, int] | None:
        """Return the last rest before, and the one that ends at `time_ms`."""
        if len(self.times_ms) < 2:
            return None
        before, last = self.times_ms[-2:]
        return last - before, time_ms - last

    def ask(self, appeal: Appeal, repeat: int, forecast: Forecast) -> None:
        """Count an appeal; only repeats speak for the series."""
        if self.latest is not None:
            switched = appeal.audience != self.latest.audience
            self.switching += 0.1 * (switched - self.switching)
        self.repeat = max(self.repeat, repeat) if self.many_audiences() else repeat
        self.latest = appeal
        _keep(self.times_ms, appeal.time_ms, TIMES_KEPT)
        if repeat > 1:
            self.repeats += 1
            weight = 1.0 / min(self.repeats, TOGETHER) if self.many_audiences() else 1.0
            self.log_retention += weight * (log(forecast.retention) - self.log_retention)
            self.log_sd += weight * (forecast.log_retention_sd - self.log_sd)

    def close(self, worth: float, exits: int) -> None:
        """Count what a closed appeal brought, and who left because of it."""
        self.worth = FADING * self.worth + worth
        self.exits = FADING * self.exits + exits

    def costs_more(self, exit_price: float) -> bool:
        """Return whether exits credibly cost more than responses bring: at the lower 5 % limit of
        their rate (gamma quantile of a Poisson count; Garwood 1936, Biometrika 28).
        """
        if exit_price <= 0.0 or self.exits < 1.0:
            return False
        return exit_price * float(gammaincinv(self.exits, 0.05)) > self.worth

    def many_audiences(self) -> bool:
        """Return whether it goes to many audiences in turn, so that one call must not flip it."""
        return self.switching > MANY_AUDIENCES or (
            0 < len(self.times_ms) < 3 and self.switching > 0
        )

    def is_news(self, decision: Decision, costs_more: bool) -> bool:
        """Return whether a decision differs from what was last said in state, basis or interval."""
        said = self.verdict
        if said is None or said.state != decision.state or said.basis != decision.basis:
            return True
        if (said.reason == COSTS_MORE) != costs_more:
            return True
        return not said.low <= decision.retention <= said.high


class Surroundings(msgspec.Struct):
    """Who asked lately: appealers' own appeals by audience, and all appeals of a kind."""

    own: dict[str, list[int]] = {}
    crowd: dict[str, list[tuple[int, str]]] = {}

    def ask(self, appeal: Appeal) -> None:
        """Remember an appeal; those longest unheard of make room."""
        key = f"{appeal.appealer}\x1f{appeal.audience}"
        self.own[key] = own = self.own.pop(key, [])
        _keep(own, appeal.time_ms, TIMES_KEPT)
        if len(self.own) > KINDS_KEPT:
            del self.own[next(iter(self.own))]
        self.crowd[appeal.kind] = crowd = self.crowd.pop(appeal.kind, [])
        _keep(crowd, (appeal.time_ms, appeal.appealer), CROWD_KEPT)
        if len(self.crowd) > KINDS_KEPT:
            del self.crowd[next(iter(self.crowd))]

    def own_times(self, appealer: str, audience: str) -> list[int]:
        """Return when this appealer lately asked this audience, whatever for."""
        return self.own.get(f"{appealer}\x1f{audience}", [])

    def others(self, kind: str, appealer: str, since_ms: int) -> list[tuple[int, str]]:
        """Return others' latest appeals of a kind, at most the last few dozen."""
        latest = self.crowd.get(kind, [])
        return [(when, who) for when, who in latest if who != appealer and when >= since_ms]


def _keep(latest: list[T], value: T, limit: int) -> None:
    """Add to what is kept of the latest."""
    latest.append(value)
    if len(latest) > limit:
        del latest[0]


def standing_of(
    model: PooledRetention,
    series: Series,
    asked: Asked,
    cannot_tell: str | None,
    nobody_is_new: bool,
) -> Standing:
    """Return the standing of a series, without what only its words need."""
    many = series.many_audiences()
    mean, sd, low, high = _together(model, series, asked, many)
    if many or nobody_is_new:
        # Who responds is asked more often: that repeats do better is then no more than a choice.
        # And where nobody asks for the first time, nobody knows what that would draw.
        low = min(low, 1.0)
    return Standing(
        state=series.state,
        reference=series.reference,
        repeat=series.repeat,
        retention=exp(mean),
        low=low,
        high=high,
        high_99=exp(mean + NORMAL_99 * sd),
        worn_confirmed=series.worn,
        rising_confirmed=series.rising and not many,
        cannot_tell=cannot_tell if series.repeats else None,
    )


def _together(
    model: PooledRetention, series: Series, asked: Asked, many: bool
) -> tuple[float, float, float, float]:
    """Return mean and sd of the log retention that the verdict speaks of, and the limits of its
    90 % interval.

    Of a first appeal nothing is seen yet; the lower limit is then that of a second one at once.
    """
    forecast = asked.forecast
    if series.repeats and many:
        mean, sd = series.log_retention, series.log_sd
        return mean, sd, exp(mean - NORMAL_95 * sd), exp(mean + NORMAL_95 * sd)
    mean, sd = log(forecast.retention), forecast.log_retention_sd
    if series.repeats:
        return mean, sd, forecast.low, forecast.high
    seen = asked.ask.seen
    second = seen._replace(stocks=seen.stocks + _THIS_APPEAL[:, None])
    low = min(forecast.low, model.forecast_one(second).low)
    return mean, sd, low, forecast.high


def in_words(
    standing: Standing,
    model: PooledRetention,
    series: Series,
    asked: Asked,
    surroundings: Surroundings,
    state: str,
) -> Standing:
    """Add what the reason, the action and the date say of a series that is to be called `state`."""
    if standing.cannot_tell is not None or state == "rising":
        return standing
    words: dict[str, Any] = {}
    if state in ("unknown", "fresh"):
        words["level"] = model.log_level(asked.ask.seen.time_days)
    if state == "unknown":
        words["needed"] = _needed(model, series, asked)
    else:
        wear = model.wear_now(asked.ask.seen)
        _add_worn_by(words, wear, series, asked, surroundings)
        if state in _TIRED:
            words["ask_again"] = _ask_again(model, wear, asked.forecast)
    return replace(standing, **words)


def _add_worn_by(
    words: dict[str, Any], wear: Floats, series: Series, asked: Asked, surroundings: Surroundings
) -> None:
    """Add what each axis costs, and the appeals that it is owed to."""
    stocks, rates, half_lives = wear.tolist()
    own, kind, crowd = -stocks[0] * rates[0], -stocks[1] * rates[1], -stocks[2] * rates[2]
    now_ms, by_kind = asked.time_ms, kind < own
    if by_kind and not series.many_audiences():
        times = series.times_ms
    else:
        times = surroundings.own_times(series.appealer, asked.ask.appeal.audience)
    felt = _since(times, now_ms, FELT_HALF_LIVES * (half_lives[1] if by_kind else half_lives[0]))
    before = [time_ms for time_ms in times if time_ms < now_ms]
    words["own"], words["kind"], words["crowd"] = own, kind, crowd
    words["appeals"] = len(felt)
    words["days"] = (now_ms - felt[0]) / DAY_MS if felt else 0.0
    words["rest_days"] = (now_ms - before[-1]) / DAY_MS if before else 0.0
    if crowd < min(own, kind):
        since_ms = now_ms - round(FELT_HALF_LIVES * half_lives[2] * DAY_MS)
        others = surroundings.others(series.kind, series.appealer, since_ms)
        words["others"] = len(others)
        words["other_appealers"] = len({who for _, who in others})
        words["other_days"] = (now_ms - others[0][0]) / DAY_MS if others else 0.0


def _since(times_ms: list[int], now_ms: int, days: float) -> list[int]:
    return [time_ms for time_ms in times_ms if time_ms >= now_ms - days * DAY_MS]


def _needed(model: PooledRetention, series: Series, asked: Asked) -> int | None:
    gap_days = 7.0
    if len(series.times_ms) > 1:
        span_ms = series.times_ms[-1] - series.times_ms[0]
        gap_days = max(span_ms / (len(series.times_ms) - 1) / DAY_MS, 1.0 / 24.0)
    in_all = repeats_needed(
        first_responses=max(exp(model.first_appeal_expectation(asked.ask.seen)[0]), EXPECTED_MIN),
        dispersion=model.size,
        baseline_sd=model.level_sd,
        gap_days=gap_days,
    )
    return None if in_all is None else max(1, in_all - series.repeats)


def _ask_again(model: PooledRetention, wear: Floats, forecast: Forecast) -> AskAgain | None:
    """Return when to ask again, this appeal being felt by then like those before it."""
    stocks, rates, half_lives_days = wear
    cost = abs(log(forecast.retention))
    return rest_needed(
        rates * (stocks + _THIS_APPEAL),
        half_lives_days,
        min(forecast.log_retention_sd / max(cost, 1e-6), LOG_STRAIN_SD_MAX),
        model.log_half_life_sds(),
    )
