"""One community: its open appeals and its models. Messages in event-time order in, facts out.

An appeal is judged three times: when it is put, before any of its responses (`prior`); at the first
checkpoint at which about half of them should be in (`early`); and at the horizon (`final`). It is
learned from once, as soon as nearly all are in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from models.ages import AgeGrid
from models.completion import Completion
from models.forecast import Features, Forecast
from models.retention import PooledRetention
from models.surge import Surge
from streams.ask import DOUBLE, Ask
from streams.events import Appeal, Checkpoint, Estimate, Level, Opened, Verdict
from streams.exposure import Exposure, ExposureState, Felt
from streams.fit import Fit, FitState
from streams.recent import Recent
from streams.reciprocity import Reciprocity, ReciprocityState
from streams.series import SeriesBook, SeriesBookState
from streams.settings import Settings
from streams.tally import Cell, Tally, explained

__all__ = ["Community", "CommunityState"]

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
EARLY_SHARE = 0.5
# What comes later than this is too little to wait for: at 95 % the interval is that of the whole.
LEARNING_SHARE = 0.95
# So long the completion curve learns at every checkpoint; later the final one tells it as much.
YOUNG_CHECKPOINTS = 400


class CommunityState(msgspec.Struct):
    """Everything learned in a community, as plain data."""

    asks: dict[str, Ask]
    latest: dict[str, str]
    exposure: ExposureState
    reciprocity: ReciprocityState
    level_week: int
    retention: dict[str, Any]
    completion: dict[str, Any]
    surge: dict[str, Any]
    tally: dict[str, list[Cell]]
    series: SeriesBookState
    fit: FitState


class Community:
    """Learns from one community's messages and says what it makes of each appeal and series.

    Parameters
    ----------
    name, settings
        The community; thresholds and limits.
    facts
        Where facts go, in event-time order.
    state
        A state to go on from.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        facts: list[Estimate | Verdict | Level],
        state: CommunityState | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.facts = facts
        self.grid = AgeGrid(settings.horizon_ms)
        self.model = PooledRetention()
        self.completion = Completion(self.grid)
        self.surge = Surge(self.grid)
        self.asks: dict[str, Ask] = {} if state is None else state.asks
        self._latest: Recent[str, str] = Recent(settings.audiences_max, str)
        for key, appeal_id in ({} if state is None else state.latest).items():
            self._latest[key] = appeal_id
        self._level_week = -1 if state is None else state.level_week
        self.exposure = Exposure(
            settings.audiences_max, settings.appealers_max, state.exposure if state else None
        )
        self.reciprocity = Reciprocity(
            settings.responders_max, state.reciprocity if state else None
        )
        self.fit = Fit(state.fit if state else None)
        self.tally = Tally(state.tally if state else None)
        self.series = SeriesBook(name, settings, self.model, facts, state.series if state else None)
        # Heard before an appeal is learned from, with its features: for evaluation.
        self.before_learning: Callable[[Community, Ask, Features], None] | None = None
        if state is not None:
            self.model.restore(state.retention)
            self.completion.restore(state.completion)
            self.surge.restore(state.surge)

    def apply(self, message: Opened | Checkpoint) -> None:
        """Learn from a message, which must not be earlier than the last."""
        if isinstance(message, Opened):
            self._open(message.appeal)
        else:
            self._check(message)

    def _open(self, appeal: Appeal) -> None:
        self._say_level(appeal.time_ms)
        felt = self.exposure.feel(appeal)
        ask = self._ask(appeal, felt)
        if self.settings.until_next_appeal:
            self._cut_previous(appeal)
        self.asks[appeal.appeal_id] = ask
        forecast = self.model.forecast_one(ask.seen)
        self._say_estimate(ask, "prior", appeal.time_ms, forecast)
        self.series.open(ask, forecast)

    def _ask(self, appeal: Appeal, felt: Felt) -> Ask:
        stocks = felt.stocks.astype(DOUBLE, copy=False).tobytes()
        reciprocity = self.reciprocity.of(appeal.appealer, appeal.time_ms)
        return Ask(appeal, stocks, felt.repeat, felt.kind_repeat, reciprocity)

    def _cut_previous(self, appeal: Appeal) -> None:
        """The audience's next appeal ends the last one: count that up to the last bin before."""
        key = f"{len(appeal.appealer)}:{appeal.appealer}{appeal.audience}"
        previous = self.asks.get(self._latest.get(key) or "")
        self._latest[key] = appeal.appeal_id
        if previous is not None and previous.appeal.time_ms < appeal.time_ms:
            age_ms = appeal.time_ms - previous.appeal.time_ms
            previous.bins_cut = sum(edge <= age_ms for edge in self.grid.edges_ms)

    def _check(self, message: Checkpoint) -> None:
        ask = self.asks.get(message.appeal_id)
        if ask is None:
            return
        ask.bins += message.counts
        bins = len(ask.bins) if ask.bins_cut is None else min(len(ask.bins), ask.bins_cut)
        ask.responses = sum(ask.bins[:bins])
        if message.final or self.completion.learned < YOUNG_CHECKPOINTS:
            self._learn_completion(ask, bins)
        if ask.learned:
            if message.final:
                self._close(ask, message)
            return
        kind, time_ms = ask.appeal.kind, ask.appeal.time_ms
        share = self.completion.share(kind, time_ms, bins) if bins else 0.0
        if not ask.early and share >= EARLY_SHARE and not message.final:
            self._judge_early(ask, message.time_ms, share)
        ended = message.final or (ask.bins_cut is not None and len(ask.bins) >= ask.bins_cut)
        if ended or share >= LEARNING_SHARE:
            self._learn(ask, share, message.time_ms)
        if message.final:
            self._close(ask, message)

    def _learn_completion(self, ask: Ask, bins: int) -> None:
        """Let the completion curve learn the bins it has not seen of an appeal with responses."""
        start, ask.bins_learned = ask.bins_learned, max(bins, ask.bins_learned)
        if bins > start and ask.responses:
            before, counts = sum(ask.bins[:start]), ask.bins[start:bins]
            appeal = ask.appeal
            self.completion.learn_one(appeal.kind, appeal.time_ms, start, counts, before)

    def _judge_early(self, ask: Ask, time_ms: int, share: float) -> None:
        ask.early = True
        forecast = self.model.forecast_given(ask.seen, ask.responses, share)
        self._say_estimate(ask, "early", time_ms, forecast)

    def _learn(self, ask: Ask, share: float, now_ms: int) -> None:
        ask.learned = True
        if share == 0.0:
            return  # cut off at once, it has shown nothing
        x, seen, model = ask.features(share), ask.seen_at(share), self.model
        if self.before_learning is not None:
            self.before_learning(self, ask, x)
        forecast = model.forecast_one(seen)
        log_score = model.log_score_one(seen, ask.responses)
        latest = self.series.learn(ask, seen, forecast)
        if latest is not None:
            self._judge(latest, ask, now_ms)
        self.fit.learn(x, ask.responses, forecast, log_score, now_ms)
        model.learn_one(seen, ask.responses)

    def _judge(self, latest: Appeal, ask: Ask, now_ms: int) -> None:
        """Judge a series as it stands at its latest appeal, having learned something of another."""
        latest_ask = self.asks.get(latest.appeal_id, ask)
        self.series.judge(latest_ask, latest, self.model.forecast_one(latest_ask.seen), now_ms)

    def _close(self, ask: Ask, message: Checkpoint) -> None:
        del self.asks[ask.appeal.appeal_id]
        forecast = self.model.hindsight_one(ask.seen)
        self._say_estimate(ask, "final", message.time_ms, forecast)
        kind, time_ms = ask.appeal.kind, ask.appeal.time_ms
        if not self.surge.passes_over(kind, message.responses):
            self.surge.learn_one(kind, message.slots, self.completion.density(kind, time_ms))
        repeat, value = ask.kind_repeat, message.value_micros
        self.tally.learn(ask.appeal, repeat, ask.responses, message.exits, value, forecast)
        self.series.close(ask, message.exits, value)
        appealer = ask.appeal.appealer
        self.reciprocity.learn(appealer, message.time_ms, message.responders, message.responses)

    def _say_estimate(self, ask: Ask, stage: str, time_ms: int, forecast: Forecast) -> None:
        self.facts.append(
            Estimate(
                self.name,
                ask.appeal.appeal_id,
                stage,
                time_ms,
                forecast.retention,
                forecast.low,
                forecast.high,
                forecast.mean,
                forecast.mean_low,
                forecast.mean_high,
                ask.responses,
            )
        )

    def _say_level(self, time_ms: int) -> None:
        """Once a week, at its start (Thursdays, as 1970 began), while there are appeals."""
        week = time_ms // WEEK_MS
        if week > self._level_week >= 0:
            start_ms = week * WEEK_MS
            self.facts.append(Level(start_ms, self.name, *self.model.level_now(start_ms / DAY_MS)))
        self._level_week = max(week, self._level_week)

    def suppose(self, appeal: Appeal) -> Features:
        """Return what the models would see of an appeal that is not put."""
        return self._ask(appeal, self.exposure.felt(appeal)).features(1.0)

    def summary(self) -> dict[str, Any]:
        """Return what was learned, for summary.json."""
        by_repeat = self.tally.summary(self.settings.exit_price)
        return {
            "series": len(self.series.verdicts()),
            "kind_evidence": self.series.kind_evidence(),
            "retention": self.model.summary(),
            "fit": self.fit.summary(),
            "completion": self._curves(),
            "surge": self._surges(),
            "by_repeat": by_repeat,
            "not_wear_out": self._explained(by_repeat),
            "forgotten": self.exposure.forgotten(),
        }

    def _explained(self, by_repeat: dict[str, Any]) -> list[str]:
        """Return what of each kind's naive fall is none, unless none of it can be told."""
        if self.series.cannot_tell() is not None:
            return []
        texts = [explained(kind, rows) for kind, rows in by_repeat.items()]
        return [text for text in texts if text]

    def _curves(self) -> dict[str, list[dict[str, float]]]:
        """Return the completion curve of all kinds ("") and of each, at the checkpoints."""
        at = [bins - 1 for bins in self.grid.checkpoints]
        curves = {
            kind or "": self.completion.curve(kind)
            for kind in (None, *sorted(self.completion.kinds))
        }
        return {
            kind: [
                {"age_seconds": p.age_ms / 1000, "share": p.share, "low": p.low, "high": p.high}
                for p in (curve[index] for index in at)
            ]
            for kind, curve in curves.items()
        }

    def _surges(self) -> dict[str, dict[str, float]]:
        """Return, by kind, the share of responses that earlier ones set off."""
        known = {kind: self.surge.ratio(kind) for kind in sorted(self.surge.kinds)}
        return {
            kind: dict(zip(("branching_ratio", "low", "high"), ratio, strict=True))
            for kind, ratio in known.items()
            if ratio is not None
        }

    def state(self) -> CommunityState:
        """Return everything learned as plain data."""
        return CommunityState(
            asks=self.asks,
            latest=dict(self._latest.items()),
            exposure=self.exposure.state(),
            reciprocity=self.reciprocity.state(),
            level_week=self._level_week,
            retention=self.model.state(),
            completion=self.completion.state(),
            surge=self.surge.state(),
            tally=self.tally.kinds,
            series=self.series.state(),
            fit=self.fit.state(),
        )
