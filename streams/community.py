"""One community: its models, and what they say. Turns in event-time order in, facts out.

An appeal is judged three times: when it is put, before any of its responses (`prior`); when about
half of them should be in (`early`); and at the horizon (`final`). It is learned from once, as soon
as nearly all are in (streams.ledger).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import asdict

from models.forecast import Features, Forecast
from models.retention import PooledRetention
from streams.ask import Ask
from streams.events import Appeal, Estimate, Level, Verdict
from streams.fit import Fit, FitState
from streams.ledger import LedgerState
from streams.series import SeriesBook, SeriesBookState
from streams.settings import Settings
from streams.tally import Cell, Tally, explained
from streams.turns import Closed, Halfway, Put, Ripe

__all__ = ["Community", "CommunityState"]

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


class CommunityState(LedgerState, kw_only=True):
    """Everything learned in a community, its ledger included, as plain data."""

    level_week: int
    retention: dict[str, Any]
    tally: dict[str, list[Cell]]
    series: SeriesBookState
    fit: FitState


class Community:
    """Learns from the turns of one community's appeals and says what it makes of each appeal and
    series.

    Parameters
    ----------
    name, settings
        The community; thresholds and limits.
    facts
        Where facts go, in event-time order.
    state
        A state to go on from.

    Attributes
    ----------
    before_learning
        Heard before an appeal is learned from, with its features: for evaluation.
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
        self.model = PooledRetention()
        self._asks: dict[str, Ask] = {} if state is None else dict(state.asks)  # the open ones
        self._level_week = -1 if state is None else state.level_week
        self.fit = Fit(state.fit if state else None)
        self.tally = Tally(state.tally if state else None)
        self.series = SeriesBook(name, settings, self.model, facts, state.series if state else None)
        self.before_learning: Callable[[Community, Ask, Features], None] | None = None
        if state is not None:
            self.model.restore(state.retention)

    def foretell(self, turn: Put | Halfway | Closed) -> tuple[Ask, Forecast]:
        """Take note of whose turn it is, and return what is to be said of it, for `hear`.

        Nothing is learned in between, so several turns may be foretold before the first is heard.
        An id may be another appeal's by then.
        """
        if type(turn) is Put:
            self._asks[turn.ask.appeal.appeal_id] = turn.ask
            return turn.ask, self.model.forecast_one(turn.ask.seen)
        if type(turn) is Halfway:
            ask = self._asks[turn.appeal_id]
            return ask, self.model.forecast_given(ask.seen, turn.responses, turn.share)
        assert type(turn) is Closed
        ask = self._asks.pop(turn.appeal_id)
        return ask, self.model.hindsight_one(ask.seen)

    def hear(self, turn: Put | Halfway | Closed, ask: Ask, forecast: Forecast) -> None:
        """Say what was foretold, and what it makes of the series."""
        if type(turn) is Put:
            time_ms = ask.appeal.time_ms
            self._say_level(time_ms)
            self._say_estimate(ask, "prior", time_ms, forecast, 0)
            self.series.open(ask, forecast)
        elif type(turn) is Halfway:
            self._say_estimate(ask, "early", turn.time_ms, forecast, turn.responses)
        elif type(turn) is Closed:
            self._close(ask, turn, forecast)

    def learn(self, turn: Ripe) -> None:
        """Learn from an appeal, unless it was cut off at once and has shown nothing."""
        if turn.share == 0.0:
            return
        ask, model = self._asks[turn.appeal_id], self.model
        seen = ask.seen_at(turn.share)
        if self.before_learning is not None:
            self.before_learning(self, ask, ask.features(turn.share))
        responses, now_ms = turn.responses, turn.time_ms
        forecast, log_score = model.forecast_and_score_one(seen, responses)
        latest = self.series.learn(ask, seen, responses, forecast)
        if latest is not None:
            self._judge(latest, ask, now_ms)
        self.fit.learn(responses, forecast, log_score, now_ms)
        model.learn_one(seen, responses)

    def _judge(self, latest: Appeal, ask: Ask, now_ms: int) -> None:
        """Judge a series as it stands at its latest appeal, having learned something of another."""
        latest_ask = self._asks.get(latest.appeal_id, ask)
        if latest_ask.appeal.time_ms != latest.time_ms:
            latest_ask = ask  # it is closed, and its id another appeal's by now
        self.series.judge(latest_ask, latest, self.model.forecast_one(latest_ask.seen), now_ms)

    def _close(self, ask: Ask, turn: Closed, forecast: Forecast) -> None:
        self._say_estimate(ask, "final", turn.time_ms, forecast, turn.responses)
        self.tally.learn(
            *(ask.appeal, ask.kind_repeat, turn.responses, turn.exits, turn.value_micros, forecast)
        )
        self.series.close(ask, turn.responses, turn.exits, turn.value_micros)

    def _say_estimate(
        self, ask: Ask, stage: str, time_ms: int, forecast: Forecast, responses: int
    ) -> None:
        name, appeal_id = self.name, ask.appeal.appeal_id
        retention, low, high, mean, least, most, _ = forecast
        said = Estimate(
            name, appeal_id, stage, time_ms, retention, low, high, mean, least, most, responses
        )
        self.facts.append(said)

    def _say_level(self, time_ms: int) -> None:
        """Once a week, at its start (Thursdays, as 1970 began), while there are appeals."""
        week = time_ms // WEEK_MS
        if week > self._level_week >= 0:
            start_ms = week * WEEK_MS
            self.facts.append(Level(start_ms, self.name, *self.model.level_now(start_ms / DAY_MS)))
        self._level_week = max(week, self._level_week)

    def summary(self, ledger: dict[str, Any]) -> dict[str, Any]:
        """Return what was learned, for summary.json; `ledger` is what Ledger.summary says."""
        by_repeat = self.tally.summary(self.settings.exit_price)
        return {
            "series": len(self.series.verdicts()),
            "kind_evidence": self.series.kind_evidence(),
            "retention": self.model.summary(),
            "fit": self.fit.summary(ledger["challengers"]),
            "completion": ledger["completion"],
            "surge": ledger["surge"],
            "by_repeat": by_repeat,
            "not_wear_out": self._explained(by_repeat),
            "forgotten": ledger["forgotten"],
        }

    def _explained(self, by_repeat: dict[str, Any]) -> list[str]:
        """Return what of each kind's naive fall is none, unless none of it can be told."""
        if self.series.cannot_tell() is not None:
            return []
        texts = [explained(kind, rows) for kind, rows in by_repeat.items()]
        return [text for text in texts if text]

    def state(self, ledger: LedgerState) -> CommunityState:
        """Return everything learned as plain data, beside what the ledger keeps."""
        return CommunityState(
            **asdict(ledger),
            level_week=self._level_week,
            retention=self.model.state(),
            tally=self.tally.kinds,
            series=self.series.state(),
            fit=self.fit.state(),
        )
