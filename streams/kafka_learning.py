"""One learner, as a worker runs it: envelopes in, facts out, and a snapshot of it all. No Kafka in
here, and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streams.kafka_store import check_snapshot
from streams.kafka_topics import Layout
from streams.kafka_wire import Record
from streams.learner import Envelope, Fact, Learner, LearnerState
from streams.settings import Settings
from streams.state import pack, unpack

__all__ = ["LearnerUnit"]

_decode = msgspec.msgpack.Decoder(Envelope).decode


class LearnerSnapshot(msgspec.Struct):
    """What a learner's next owner goes on from. `facts`: how many have been said."""

    settings: str
    partition: int
    layout: Layout
    next_offset: int
    facts: int
    state: LearnerState


class LearnerUnit:
    """A learner behind its partition of the messages.

    Parameters
    ----------
    settings
        What changes an answer.
    partition
        Which one.
    layout
        How many partitions the input topics (and so collectors) and the learners have.
    snapshot
        What an earlier owner saved.
    """

    def __init__(
        self, settings: Settings, partition: int, layout: Layout, snapshot: bytes | None = None
    ) -> None:
        self.settings = settings
        self.partition = partition
        self.layout = layout
        saved = None if snapshot is None else unpack(snapshot, LearnerSnapshot)
        if saved is not None:
            found = (saved.settings, saved.partition, saved.layout)
            check_snapshot("learner", found, (settings.fingerprint(), partition, layout))
        names = [str(index) for index in range(layout[0])]
        self.learner = Learner(settings, names, saved.state if saved else None)
        self.offset = saved.next_offset if saved else 0
        self.facts = saved.facts if saved else 0

    def apply(self, records: Iterable[Record]) -> list[tuple[int, Fact]]:
        """Learn from envelopes, and return the facts with their numbers."""
        for record in records:
            if record.offset >= self.offset:
                self.learner.receive(_decode(record.value))
                self.offset = record.offset + 1
        said = list(enumerate(self.learner.facts, start=self.facts))
        self.learner.facts.clear()
        self.facts += len(said)
        return said

    def snapshot(self) -> bytes:
        """Return everything known."""
        return pack(
            LearnerSnapshot(
                self.settings.fingerprint(),
                self.partition,
                self.layout,
                self.offset,
                self.facts,
                self.learner.state(),
            )
        )
