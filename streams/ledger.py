"""The ledger of a community: what its appeals met when they were put, and how much of their
response is in. Messages of collectors in event-time order in, turns out; nothing here needs a model
of retention, so a replay keeps it in the process that reads.

An appeal is judged when it is put, at the first checkpoint at which about half of its responses
should be in, and at the horizon; it is learned from once, as soon as nearly all are in.
"""

from __future__ import annotations

from typing import Any

import msgspec

from models.ages import AgeGrid
from models.completion import Completion
from models.design import unit_of
from models.forecast import Features
from models.surge import Surge
from streams.ask import DOUBLE, Ask
from streams.contest import Contest
from streams.events import Appeal, Checkpoint, Opened
from streams.exposure import Exposure, ExposureState, Felt
from streams.packing import SLOT, unpacked
from streams.recent import Recent
from streams.reciprocity import Reciprocity, ReciprocityState
from streams.settings import Settings
from streams.turns import Closed, Halfway, Put, Ripe, Turn

__all__ = ["Ledger", "LedgerState"]

EARLY_SHARE = 0.5
# What comes later than this is too little to wait for: at 95 % the interval is that of the whole.
LEARNING_SHARE = 0.95
# So long the completion curve learns at every checkpoint; later the final one tells it as much.
YOUNG_CHECKPOINTS = 400


class LedgerState(msgspec.Struct, kw_only=True):
    """Everything a ledger keeps, as plain data."""

    asks: dict[str, Ask]
    latest: dict[str, str]
    exposure: ExposureState
    reciprocity: ReciprocityState
    completion: dict[str, Any]
    surge: dict[str, Any]
    challengers: dict[str, Any]


class Ledger:
    """Keeps the open appeals of one community and says when it is their turn.

    Parameters
    ----------
    name, settings
        The community; thresholds and limits.
    state
        A state to go on from.

    Attributes
    ----------
    asks
        The open appeals, by id.
    contest
        The challengers.
    """

    def __init__(self, name: str, settings: Settings, state: LedgerState | None = None) -> None:
        self.name = name
        self.settings = settings
        self.grid = AgeGrid(settings.horizon_ms)
        self.completion = Completion(self.grid)
        self.surge = Surge(self.grid)
        self.asks: dict[str, Ask] = {} if state is None else state.asks
        self._latest: Recent[str, str] = Recent(settings.audiences_max, str)
        for key, appeal_id in ({} if state is None else state.latest).items():
            self._latest[key] = appeal_id
        self.exposure = Exposure(
            settings.audiences_max, settings.appealers_max, state.exposure if state else None
        )
        self.reciprocity = Reciprocity(
            settings.responders_max, state.reciprocity if state else None
        )
        self.contest = Contest(state.challengers if state else None)
        if state is not None:
            self.completion.restore(state.completion)
            self.surge.restore(state.surge)

    def apply(self, message: Opened | Checkpoint, turns: list[Turn]) -> None:
        """Take note of a message, which must not be earlier than the last, and add the turns."""
        if type(message) is Checkpoint:
            ask = self.asks.get(message.appeal_id)
            if ask is None:
                return
            ask.bins += message.counts
            young = self.completion.learned < YOUNG_CHECKPOINTS
            if message.final or ask.bins_cut is not None or young:
                self._check(ask, message, turns)
                return
            # Of ten checkpoints only some two have more to say than what has come.
            ask.responses = message.responses
            if not ask.learned and ask.bins:
                appeal = ask.appeal
                share = self.completion.share(appeal.kind, appeal.time_ms, len(ask.bins))
                if share >= (LEARNING_SHARE if ask.early else EARLY_SHARE):
                    self._take_turns(ask, message, share, False, turns)
        else:
            assert type(message) is Opened
            self._open(message.appeal, turns)

    def _open(self, appeal: Appeal, turns: list[Turn]) -> None:
        ask = self._ask(appeal, self.exposure.feel(appeal))
        if self.settings.until_next_appeal:
            self._cut_previous(appeal)
        self.asks[appeal.appeal_id] = ask
        turns.append(Put(self.name, ask))

    def _ask(self, appeal: Appeal, felt: Felt) -> Ask:
        stocks = felt.stocks.astype(DOUBLE, copy=False).tobytes()
        reciprocity = self.reciprocity.of(appeal.appealer, appeal.time_ms)
        return Ask(appeal, stocks, felt.repeat, felt.kind_repeat, reciprocity)

    def _cut_previous(self, appeal: Appeal) -> None:
        """The audience's next appeal ends the last one: count that up to the last bin before."""
        key = unit_of(appeal.appealer, appeal.audience)
        previous = self.asks.get(self._latest.get(key) or "")
        self._latest[key] = appeal.appeal_id
        if previous is not None and previous.appeal.time_ms < appeal.time_ms:
            age_ms = appeal.time_ms - previous.appeal.time_ms
            previous.bins_cut = sum(edge <= age_ms for edge in self.grid.edges_ms)

    def _check(self, ask: Ask, message: Checkpoint, turns: list[Turn]) -> None:
        cut, bins = ask.bins_cut, len(ask.bins)
        ended = message.final or (cut is not None and bins >= cut)
        if cut is not None and cut < bins:
            bins = cut
        ask.responses = sum(ask.bins[:bins])
        if message.final or self.completion.learned < YOUNG_CHECKPOINTS:
            self._learn_completion(ask, bins)
        if not ask.learned:
            self._take_turns(ask, message, self._share(ask, bins), ended, turns)
        if message.final:
            self._close(ask, message, turns)

    def _share(self, ask: Ask, bins: int) -> float:
        appeal = ask.appeal
        return self.completion.share(appeal.kind, appeal.time_ms, bins) if bins else 0.0

    def _take_turns(
        self, ask: Ask, message: Checkpoint, share: float, ended: bool, turns: list[Turn]
    ) -> None:
        said = (self.name, ask.appeal.appeal_id, message.time_ms, ask.responses, share)
        if not ask.early and share >= EARLY_SHARE and not message.final:
            ask.early = True
            turns.append(Halfway(*said))
        if ended or share >= LEARNING_SHARE:
            ask.learned = True
            turns.append(Ripe(*said))
            if share > 0.0:  # else it was cut off at once, and has shown nothing
                self.contest.learn(ask.features(share), ask.responses)

    def _learn_completion(self, ask: Ask, bins: int) -> None:
        """Let the completion curve learn the bins it has not seen of an appeal with responses."""
        start, ask.bins_learned = ask.bins_learned, max(bins, ask.bins_learned)
        if bins > start and ask.responses:
            before, counts = sum(ask.bins[:start]), ask.bins[start:bins]
            appeal = ask.appeal
            self.completion.learn_one(appeal.kind, appeal.time_ms, start, counts, before)

    def _close(self, ask: Ask, message: Checkpoint, turns: list[Turn]) -> None:
        appeal, time_ms = ask.appeal, message.time_ms
        del self.asks[appeal.appeal_id]
        value = message.value_micros
        turns.append(
            Closed(self.name, appeal.appeal_id, time_ms, ask.responses, message.exits, value)
        )
        if not self.surge.passes_over(appeal.kind, message.responses):
            density = self.completion.density(appeal.kind, appeal.time_ms)
            self.surge.learn_one(appeal.kind, unpacked(message.slots, SLOT), density)
        self.reciprocity.learn(appeal.appealer, time_ms, message.responders, message.responses)

    def suppose(self, appeal: Appeal) -> Features:
        """Return what the models would see of an appeal that is not put."""
        return self._ask(appeal, self.exposure.felt(appeal)).features(1.0)

    def summary(self) -> dict[str, Any]:
        """Return what was counted, for summary.json."""
        return {
            "completion": self._curves(),
            "surge": self._surges(),
            "forgotten": self.exposure.forgotten(),
            "challengers": self.contest.log_scores(),
        }

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

    def state(self) -> LedgerState:
        """Return everything kept as plain data."""
        return LedgerState(
            asks=self.asks,
            latest=dict(self._latest.items()),
            exposure=self.exposure.state(),
            reciprocity=self.reciprocity.state(),
            completion=self.completion.state(),
            surge=self.surge.state(),
            challengers=self.contest.state(),
        )
