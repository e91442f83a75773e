"""Collectors and learner put together: blocks of events in, facts and rejects out. What the replay
and the tests drive.
"""

from __future__ import annotations

import msgspec

from streams.collector import Block, Collector, CollectorState
from streams.events import Rejected
from streams.learner import Envelope, Fact, Learner, LearnerState
from streams.settings import Settings
from streams.state import SnapshotError

__all__ = ["Pipeline", "PipelineState"]


class PipelineState(msgspec.Struct):
    """Everything a pipeline knows, as plain data."""

    settings: str
    collectors: list[CollectorState]
    sequences: list[int]
    learner: LearnerState


class Pipeline:
    """One learner behind some collectors, in one process.

    Parameters
    ----------
    settings
        What changes an answer.
    partitions
        How many collectors; which one a block goes to is the driver's choice, by appeal_id.
    state
        A state to go on from, made under the same settings.
    """

    def __init__(
        self, settings: Settings, partitions: int = 1, state: PipelineState | None = None
    ) -> None:
        self.settings = settings
        names = [str(index) for index in range(partitions)]
        if state is None:
            self.collectors = [Collector(settings) for _ in names]
            self._sequences = [0] * partitions
            self.learner = Learner(settings, names)
        else:
            _check(state, settings, partitions)
            self.collectors = [Collector(settings, kept) for kept in state.collectors]
            self._sequences = list(state.sequences)
            self.learner = Learner(settings, names, state.learner)

    def receive(self, block: Block, partition: int = 0) -> None:
        """Apply a block of one source's events."""
        self.collectors[partition].receive(block)
        self._pass_on(partition)

    def declare(self, source: str, partition: int = 0) -> None:
        """Say that events of `source` will come."""
        self.collectors[partition].declare(source)

    def finish(self, source: str, partition: int = 0) -> None:
        """Say that `source` has ended. When all have, in all partitions, all end at one moment, so
        that their number leaves no trace.
        """
        self.collectors[partition].finish(source)
        self._pass_on(partition)
        if all(collector.finished() for collector in self.collectors):
            end_ms = max(collector.watermark_ms() for collector in self.collectors)
            for index, collector in enumerate(self.collectors):
                collector.end(end_ms)
                self._pass_on(index)

    def take(self) -> tuple[list[Fact], list[Rejected]]:
        """Return the facts and rejects since the last time."""
        facts, self.learner.facts[:] = list(self.learner.facts), []
        rejects = [reject for collector in self.collectors for reject in collector.rejects]
        for collector in self.collectors:
            collector.rejects.clear()
        return facts, rejects

    def _pass_on(self, partition: int) -> None:
        collector = self.collectors[partition]
        messages = collector.messages
        collector.messages = []
        self.learner.receive(
            Envelope(str(partition), self._sequences[partition], collector.watermark_ms(), messages)
        )
        self._sequences[partition] += len(messages)

    def state(self) -> PipelineState:
        """Return everything known. Encode it before going on: it shares its parts with the
        pipeline. What has come out is not in it: take that first.
        """
        assert not self.learner.facts and not any(one.rejects for one in self.collectors)
        return PipelineState(
            settings=self.settings.fingerprint(),
            collectors=[collector.state for collector in self.collectors],
            sequences=self._sequences,
            learner=self.learner.state(),
        )


def _check(state: PipelineState, settings: Settings, partitions: int) -> None:
    found = (state.settings, len(state.collectors))
    expected = (settings.fingerprint(), partitions)
    if found != expected:
        raise SnapshotError(
            f"snapshot: expected settings and partitions {expected}, got one made with {found}"
        )
