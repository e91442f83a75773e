"""One partition's collector, as a worker runs it: records in, records out, and a snapshot of it
all. No Kafka in here, and no clock.

What stands in the wrong partition (a producer with another key or another partitioner) is not
counted there, where its appeal is not: it is written again, under the right key, with its origin
(log and position) in a header. What is written twice, because the writer crashed before it had
saved how far it was, counts once: positions of an origin are first seen in rising order, whoever
writes them.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streams.collector import Block, Collector, CollectorState
from streams.events import Appeal, Checkpoint, Opened, Response
from streams.kafka_store import check_snapshot
from streams.kafka_topics import Layout
from streams.kafka_wire import (
    ORIGIN_HEADER,
    Event,
    Record,
    Sent,
    events_of,
    next_offset,
    partition_for,
    raw_event,
    reject_record,
)
from streams.learner import Envelope
from streams.settings import Settings
from streams.state import pack, unpack

__all__ = ["CollectorUnit"]

# Below Kafka's own 1 MB for a message, with room for keys and headers.
ENVELOPE_BYTES_MAX = 900_000
_encode = msgspec.msgpack.Encoder().encode


class CollectorSnapshot(msgspec.Struct):
    """What a collector's next owner goes on from."""

    settings: str
    partition: int
    layout: Layout
    sequences: list[int]
    watermarks_told: list[int]
    misplaced: int
    origins: dict[str, int]
    state: CollectorState


class CollectorUnit:
    """A collector behind its partition of the input topics.

    Parameters
    ----------
    settings
        What changes an answer.
    topics
        The input topics.
    partition
        Which one.
    layout
        How many partitions the input topics and the learners have.
    snapshot
        What an earlier owner saved.
    """

    def __init__(
        self,
        settings: Settings,
        topics: list[str],
        partition: int,
        layout: Layout,
        snapshot: bytes | None = None,
    ) -> None:
        self.settings = settings
        self.partition = partition
        self.layout = layout
        self._learner_of: dict[str, int] = {}
        saved = None if snapshot is None else unpack(snapshot, CollectorSnapshot)
        if saved is not None:
            found = (saved.settings, saved.partition, saved.layout)
            check_snapshot("collector", found, (settings.fingerprint(), partition, layout))
        learners = layout[1]
        self.collector = Collector(settings, saved.state if saved else None)
        self._sequences = saved.sequences if saved else [0] * learners
        self._told = saved.watermarks_told if saved else [-(1 << 62)] * learners
        self.misplaced = saved.misplaced if saved else 0
        self._origins = saved.origins if saved else {}
        for topic in topics:
            self.collector.declare(f"{topic}/{partition}")

    def next_offset(self, topic: str) -> int:
        """Return the offset from which to read `topic`."""
        source = self.collector.state.sources[f"{topic}/{self.partition}"]
        return next_offset(source.next_line)

    def apply(self, records: Iterable[Record]) -> list[Sent]:
        """Apply records, and return what is to be written at once: what was misplaced, rejects."""
        out: list[Sent] = []
        gathered: dict[str, tuple[list[int], list[Event]]] = {}
        for record in records:
            if self._is_known(record):
                continue
            lines, events = events_of(record, self.settings.future_skew_ms)
            self._redirect(record, lines, events, out)
            lines_so_far, events_so_far = gathered.setdefault(record.source, ([], []))
            lines_so_far += lines
            events_so_far += events
        for name, (lines, events) in gathered.items():
            self.collector.receive(Block(name, lines, events))
        out += [reject_record(reject, self.partition) for reject in self.collector.rejects]
        self.collector.rejects.clear()
        return out

    def _is_known(self, record: Record) -> bool:
        if record.origin is None:
            return False
        source, position = record.origin
        if position < self._origins.get(source, 0):
            return True
        self._origins[source] = position + 1
        return False

    def _redirect(
        self, record: Record, lines: list[int], events: list[Event], out: list[Sent]
    ) -> None:
        """Take out what belongs to another partition. What belongs to an appeal that is open here
        is in the right one, so the hot path is a look-up.
        """
        opened = self.collector.state.opened
        partitions = self.layout[0]
        wrong: list[int] = []
        for index, event in enumerate(events):
            if type(event) is Response or type(event) is Appeal:
                identity = event.appeal_id
                if identity in opened:
                    continue
                partition = partition_for(identity, partitions)
                if partition != self.partition:
                    wrong.append(index)
                    out.append(_rekeyed(record, index, lines[index], identity, partition))
        for index in reversed(wrong):
            del lines[index], events[index]
        self.misplaced += len(wrong)

    def envelopes(self, to_all: bool) -> list[tuple[int, bytes]]:
        """Return what is to be told to which learner: the messages to those they concern, and the
        watermark, if it moved, to them and (`to_all`) the others.
        """
        messages = self.collector.messages
        self.collector.messages = []
        by_learner: dict[int, list[Opened | Checkpoint]] = {}
        for message in messages:
            by_learner.setdefault(self._learner(message), []).append(message)
        watermark_ms = self.collector.watermark_ms()
        out: list[tuple[int, bytes]] = []
        for learner in range(self.layout[1]):
            said = by_learner.get(learner, [])
            if said or (to_all and watermark_ms > self._told[learner]):
                self._tell(learner, said, watermark_ms, out)
        return out

    def _tell(
        self,
        learner: int,
        said: list[Opened | Checkpoint],
        watermark_ms: int,
        out: list[tuple[int, bytes]],
    ) -> None:
        """Say it in one envelope, or in halves where that is too long for a message. Only the last
        may carry the new watermark.
        """
        value = _encode(Envelope(str(self.partition), self._sequences[learner], watermark_ms, said))
        if len(value) > ENVELOPE_BYTES_MAX and len(said) > 1:
            half = len(said) // 2
            self._tell(learner, said[:half], self._told[learner], out)
            self._tell(learner, said[half:], watermark_ms, out)
            return
        out.append((learner, value))
        self._sequences[learner] += len(said)
        self._told[learner] = watermark_ms

    def _learner(self, message: Opened | Checkpoint) -> int:
        name = message.appeal.community if isinstance(message, Opened) else message.community
        learner = self._learner_of.get(name)
        if learner is None:
            if len(self._learner_of) > 10_000:  # communities are few; their names are not trusted
                self._learner_of.clear()
            learner = self._learner_of[name] = partition_for(name, self.layout[1])
        return learner

    def snapshot(self) -> bytes:
        """Return everything known. What was returned to be written must be written before it."""
        return pack(
            CollectorSnapshot(
                self.settings.fingerprint(),
                self.partition,
                self.layout,
                self._sequences,
                self._told,
                self.misplaced,
                self._origins,
                self.collector.state,
            )
        )


def _rekeyed(record: Record, index: int, line: int, identity: str, partition: int) -> Sent:
    origin = f"{record.source}/{line}".encode()
    value = raw_event(record.value, index)
    return Sent(record.topic, partition, identity.encode(), value, [(ORIGIN_HEADER, origin)])
