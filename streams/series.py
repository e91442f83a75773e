"""All series of a community: what each has shown by itself, and its verdict.

A verdict is due when an appeal is put (the forecast for this very repeat) and when one has been
learned from (the series' own evidence). It is said when it differs from the last one said.
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp, log
from typing import Any

import msgspec
from msgspec.structs import replace

from models.design import Appeal as Seen
from models.evidence import EXPECTED_MIN, HALF_LIFE_NODES, KindEvidence, SeriesEvidence
from models.forecast import Forecast
from models.multiplicity import LiveEvidence
from models.retention import PooledRetention
from models.verdict import Ruling, Standing, Thresholds, decide, put_in_words
from streams.ask import Ask
from streams.design import Design, DesignState
from streams.events import Appeal, Verdict
from streams.settings import Settings
from streams.standing import COSTS_MORE, Asked, Series, Surroundings, in_words, standing_of

__all__ = ["SeriesBook", "SeriesBookState"]

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
# A series that nobody has continued for half a year is not among those to choose from.
LIVE_MS = 182 * DAY_MS
RESTED_STOCK = 0.125  # three half-lives
# Most series end after an appeal or two, which can show nothing: those to choose from are the ones
# with so many. How many there were does not depend on the evidence, so the choice is as valid.
CHOICE_APPEALS_MIN = 6
DISPERSION_QUANTILE = 0.2  # taken low (STATISTICS, section 3)
# Appealers differ at least by this much, natural log, until many have shown that they do not.
BASELINE_SD_MIN = 0.3
E_VALUE_MAX = 1e300
KINDS_MAX, OTHER = 1000, "other"  # kinds whose evidence is kept apart; 600 bytes each


class SeriesBookState(msgspec.Struct):
    """Plain data of a `SeriesBook`."""

    series: list[tuple[str, Series, dict[str, Any]]] = []
    live_worn: dict[str, Any] | None = None
    live_rising: dict[str, Any] | None = None
    kinds: dict[str, dict[str, Any]] = {}
    surroundings: Surroundings = msgspec.field(default_factory=Surroundings)
    design: DesignState = msgspec.field(default_factory=DesignState)
    week: int = -1
    forgotten: int = 0


class SeriesBook:
    """Keeps every series of a community, and says what it has come to.

    Parameters
    ----------
    community, settings
        The community; thresholds and limits.
    model
        The community's retention model: asked, never taught, here.
    facts
        Where verdicts go.
    state
        A state to go on from.
    """

    def __init__(
        self,
        community: str,
        settings: Settings,
        model: PooledRetention,
        facts: list[Any],
        state: SeriesBookState | None = None,
    ) -> None:
        state = state or SeriesBookState()
        self._community = community
        self._settings = settings
        self._model = model
        self._facts = facts
        self._thresholds = Thresholds(
            fresh_above=settings.fresh_above,
            worn_out_below=settings.worn_out_below,
            rising_above=settings.rising_above,
            recovery_ratio=settings.recovery_ratio,
        )
        self._series = OrderedDict((key, series) for key, series, _ in state.series)
        self._live: OrderedDict[str, None] = OrderedDict.fromkeys(self._series)  # latest last
        self._evidence = {key: _evidence(kept) for key, _, kept in state.series}
        self._worn = _live(settings.false_discovery_rate, state.live_worn)
        self._rising = _live(settings.false_discovery_rate, state.live_rising)
        self.kinds = {kind: _kind_evidence(kept) for kind, kept in state.kinds.items()}
        self._surroundings = state.surroundings
        self._design = Design(state.design)
        self._week = state.week
        self.forgotten = state.forgotten

    def open(self, ask: Ask, forecast: Forecast) -> None:
        """Take note that an appeal was put, of which `forecast` was said."""
        appeal, key = ask.appeal, ask.key
        self._sweep(appeal.time_ms)
        series = self._touch(key, appeal)
        here = f"{key}\x1f{appeal.audience}"
        own, stock, _ = ask.seen.stocks[:, HALF_LIFE_NODES[1]].tolist()
        self._design.learn(appeal.time_ms, here, stock, own, series.rests_ms(appeal.time_ms))
        series.ask(appeal, ask.kind_repeat, forecast)
        self._surroundings.ask(appeal)
        if stock < RESTED_STOCK and (series.worn or series.rising):
            self._begin_again(key, series)
        self._rule(key, series, Asked(ask, appeal.time_ms, forecast, appeal.time_ms), here)

    def learn(self, ask: Ask, seen: Seen, responses: int, forecast: Forecast) -> Appeal | None:
        """Let responses speak for or against their series, before the model learns them.

        Parameters
        ----------
        ask, seen
            The appeal, and what the model sees of it now.
        responses
            How many have come.
        forecast
            What the model said of it, none of its responses in.

        Returns
        -------
        The series' latest appeal if something has been confirmed, so that the series is to be
        judged anew: as it stands there, not as it stood when the appeal was put that told it.
        """
        key = ask.key
        series, evidence = self._series.get(key), self._evidence.get(key)
        if series is None or evidence is None:
            return None
        log_mean, passing_sd = self._model.first_appeal_expectation(seen)
        evidence.learn_one(
            time_days=seen.time_days,
            responses=responses,
            expected_first=max(exp(log_mean), EXPECTED_MIN),
            baseline_sd=max(self._model.level_sd, BASELINE_SD_MIN),
            dispersion=self._model.dispersion_quantile(DISPERSION_QUANTILE),
            stocks=ask.kind_stocks,
            repeat=ask.repeat,
            expectation_sd=passing_sd,
            log_retention=log(forecast.retention),
        )
        self._of_kind(ask.appeal.kind).learn_one(evidence.increments)
        if evidence.increments is None or not self._confirm(key, series, evidence):
            return None
        return series.latest

    def judge(self, ask: Ask, appeal: Appeal, forecast: Forecast, now_ms: int) -> None:
        """Judge the series of `appeal`, its latest, by what is said now of `ask`: that appeal, or
        if it is closed another one of the series.
        """
        key = f"{appeal.appealer}\x1f{appeal.kind}"
        asked = Asked(ask, appeal.time_ms, forecast, now_ms)
        self._rule(key, self._series[key], asked, f"{key}\x1f{appeal.audience}")

    def close(self, ask: Ask, responses: int, exits: int, value_micros: int) -> None:
        """Take note of what an appeal brought in the end: its value, or a unit a response."""
        series = self._series.get(ask.key)
        if series is not None:
            series.close(value_micros / 1e6 if value_micros else float(responses), exits)

    def verdicts(self) -> list[Verdict]:
        """Return the last verdict of every series, in a fixed order."""
        said = [series.verdict for _, series in sorted(self._series.items())]
        return [verdict for verdict in said if verdict is not None]

    def find(self, appealer: str, kind: str) -> Series | None:
        """Return a series, or None if it is not known."""
        return self._series.get(f"{appealer}\x1f{kind}")

    def cannot_tell(self) -> str | None:
        """Return why wear-out cannot be told of any series, as a key of verdict.CANNOT_TELL."""
        return self._design.cannot_tell_anywhere()

    def kind_evidence(self) -> dict[str, dict[str, float]]:
        """Return each kind's e-values, all its series together."""
        return {
            kind: {"worn": _e_value(one.log_e_worn), "rising": _e_value(one.log_e_rising)}
            for kind, one in sorted(self.kinds.items())
        }

    def _of_kind(self, kind: str) -> KindEvidence:
        """Return the evidence of a kind, or of all kinds beyond the limit together."""
        name = kind if kind in self.kinds or len(self.kinds) < KINDS_MAX else OTHER
        if name not in self.kinds:
            self.kinds[name] = KindEvidence()
        return self.kinds[name]

    def _touch(self, key: str, appeal: Appeal) -> Series:
        series = self._series.pop(key, None)
        if series is None:
            series = Series(appeal.appealer, appeal.kind)
            self._evidence[key] = SeriesEvidence()
            if len(self._series) >= self._settings.appealers_max:
                self._forget(next(iter(self._series)))
        self._series[key] = series
        self._live.pop(key, None)
        self._live[key] = None
        return series

    def _forget(self, key: str) -> None:
        del self._series[key], self._evidence[key]
        self._live.pop(key, None)
        self._worn.remove(key)
        self._rising.remove(key)
        self.forgotten += 1

    def _sweep(self, time_ms: int) -> None:
        """Once a week, take series out of the choice that nobody goes on with."""
        week = time_ms // WEEK_MS
        if week == self._week:
            return
        self._week = week
        while self._live:
            key = next(iter(self._live))
            if self._series[key].times_ms[-1] >= time_ms - LIVE_MS:
                break
            del self._live[key]
            self._worn.remove(key)
            self._rising.remove(key)

    def _confirm(self, key: str, series: Series, evidence: SeriesEvidence) -> bool:
        """Weigh the evidence among all live series that have shown something by now. Returns
        whether anything was confirmed by it.

        What is confirmed stays so until a rest; its e-value goes on in the choice as it is, and
        mostly up, which lowers the bar for the others.
        """
        before = series.worn, series.rising
        least = log(self._settings.evidence_min)
        series.log_e = max(evidence.log_e_worn, evidence.log_e_rising)
        if evidence.appeals < CHOICE_APPEALS_MIN:
            return False
        if key not in self._live:  # swept, so older than all that are there
            self._live[key] = None
            self._live.move_to_end(key, last=False)
        self._worn.update(key, evidence.log_e_worn)
        self._rising.update(key, evidence.log_e_rising)
        if not series.worn:
            series.worn = evidence.log_e_worn >= least and self._worn.selected(key)
        if not series.rising:
            series.rising = evidence.log_e_rising >= least and self._rising.selected(key)
        return (series.worn, series.rising) != before

    def _begin_again(self, key: str, series: Series) -> None:
        """After a rest of three half-lives nothing is confirmed any more."""
        series.worn = series.rising = False
        self._worn.remove(key)
        self._rising.remove(key)
        self._evidence[key].restart()

    def _rule(self, key: str, series: Series, asked: Asked, here: str) -> None:
        standing, thresholds = self._standing(key, series, asked, here), self._thresholds
        decision = decide(standing, thresholds)
        costs_more = series.costs_more(self._settings.exit_price)
        if series.is_news(decision, costs_more):
            standing = in_words(
                standing, self._model, series, asked, self._surroundings, decision.state
            )
            ruling = put_in_words(standing, decision, thresholds)
            if costs_more:  # whatever still responds
                ruling = ruling._replace(action="stop", reason=COSTS_MORE)
            self._say(series, asked, ruling)
        series.state, series.reference = decision.state, decision.reference

    def _standing(self, key: str, series: Series, asked: Asked, here: str) -> Standing:
        cannot_tell = self._design.cannot_tell(asked.time_ms, here)
        standing = standing_of(
            self._model, series, asked, cannot_tell, self._design.nobody_is_new()
        )
        if not (series.worn or series.rising):
            return standing
        ask, log_retention = asked.ask, log(asked.forecast.retention)
        own = self._evidence[key].retention(ask.kind_stocks, ask.repeat, log_retention)
        return replace(standing, own_estimate=own)

    def _say(self, series: Series, asked: Asked, ruling: Ruling) -> None:
        again = ruling.ask_again
        days = (None, None, None) if again is None else (again.days, again.low, again.high)
        when = [None if d is None else asked.time_ms + round(d * DAY_MS) for d in days]
        verdict = Verdict(
            asked.now_ms,
            self._community,
            series.appealer,
            series.kind,
            series.repeat,
            ruling.state,
            ruling.basis,
            ruling.retention,
            ruling.low,
            ruling.high,
            _e_value(series.log_e),
            ruling.reason,
            ruling.action,
            *when,
        )
        series.verdict = verdict
        self._facts.append(verdict)

    def state(self) -> SeriesBookState:
        """Return everything kept as plain data."""
        return SeriesBookState(
            series=[(key, one, self._evidence[key].state()) for key, one in self._series.items()],
            live_worn=self._worn.state(),
            live_rising=self._rising.state(),
            kinds={kind: one.state() for kind, one in self.kinds.items()},
            surroundings=self._surroundings,
            design=self._design.state,
            week=self._week,
            forgotten=self.forgotten,
        )


def _e_value(log_e: float) -> float:
    return min(exp(min(log_e, 690.0)), E_VALUE_MAX)


def _evidence(kept: dict[str, Any]) -> SeriesEvidence:
    evidence = SeriesEvidence()
    evidence.restore(kept)
    return evidence


def _kind_evidence(kept: dict[str, Any]) -> KindEvidence:
    evidence = KindEvidence()
    evidence.restore(kept)
    return evidence


def _live(alpha: float, kept: dict[str, Any] | None) -> LiveEvidence:
    live = LiveEvidence(alpha=alpha)
    if kept is not None:
        live.restore(kept)
    return live
