"""Records of a Kafka log into events, and facts into records: pure, and the same whether a worker
or a replay reads the log.

Every event has a *position* that says where it stood: the offset of its message and its index in
the message's array in one rising integer. Positions are what the core knows as lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from aiokafka.partitioner import murmur2

from streams.codec import BadEvent, decode_message, rejected, rfc3339
from streams.events import Appeal, Estimate, Rejected, Response, Tick, Verdict
from streams.facts import encode_fact
from streams.learner import Fact

__all__ = [
    "ORIGIN_HEADER",
    "SEQUENCE_HEADER",
    "Record",
    "Sent",
    "events_of",
    "fact_record",
    "next_offset",
    "partition_for",
    "raw_event",
    "record_of",
    "reject_record",
    "tick_value",
]

# A message of at most 1 MB cannot hold more events than that: each takes two bytes at least.
INDEX_BITS = 20
ORIGIN_HEADER = "askagain-origin"
SEQUENCE_HEADER = "askagain-sequence"

Event = Appeal | Response | Tick | Rejected


class Record(NamedTuple):
    """A message as it stands in a log. `origin`: where a re-keyed event stood first (source and
    position).
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes
    origin: tuple[str, int] | None = None

    @property
    def source(self) -> str:
        """Return what the core calls the log it stands in."""
        return f"{self.topic}/{self.partition}"


class Sent(NamedTuple):
    """A message to be written."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


def record_of(
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes]] | None,
) -> Record:
    """Return a record; one without a value is an empty one, and is rejected as such."""
    origin = None
    for name, content in headers or ():
        if name == ORIGIN_HEADER:
            source, _, position = content.decode().rpartition("/")
            origin = (source, int(position))
    return Record(topic, partition, offset, timestamp_ms, value or b"", origin)


@lru_cache(maxsize=65_536)
def partition_for(key: str, partitions: int) -> int:
    """Return the partition of a key by the partitioner of Kafka's own producers.

    As DefaultPartitioner does: murmur2 of the bytes, without its sign, modulo the partitions.

    >>> partition_for("a1", 4)
    3
    """
    return (int(murmur2(key.encode())) & 0x7FFFFFFF) % partitions


def next_offset(next_line: int) -> int:
    """Return the offset of the first message that a source with this next line has not applied.

    >>> next_offset((7 << 20) + 1), next_offset(0)
    (8, 0)
    """
    return (next_line + (1 << INDEX_BITS) - 1) >> INDEX_BITS


def events_of(record: Record, future_skew_ms: int) -> tuple[list[int], list[Event]]:
    """Return positions and events of a message. What cannot be an event is one that is rejected.

    An event that claims to be later than the log's own time for it, by more than `future_skew_ms`,
    is rejected: it would move the watermark for everybody.
    """
    latest_ms = record.timestamp_ms + future_skew_ms
    decoded = decode_message(record.value)
    first = record.offset << INDEX_BITS
    events: list[Event] = []
    for index, event in enumerate(decoded):
        if type(event) is tuple:
            events.append(rejected(record.source, first + index, *event))
        elif event.time_ms > latest_ms:  # type: ignore[union-attr]
            raw = raw_event(record.value, index)
            error = BadEvent("out_of_range", "time")
            events.append(rejected(record.source, first + index, error, raw))
        else:
            events.append(event)  # type: ignore[arg-type]
    return list(range(first, first + len(events))), events


def raw_event(value: bytes, index: int) -> bytes:
    """Return one event of a message as it was written."""
    if value.lstrip()[:1] != b"[":
        return value
    return bytes(msgspec.json.decode(value, type=list[msgspec.Raw])[index])


def tick_value(time_ms: int) -> bytes:
    """Write a tick."""
    return msgspec.json.encode({"type": "tick", "time": rfc3339(time_ms)})


_TOPICS = {Verdict: "verdicts", Estimate: "estimates"}


def fact_record(fact: Fact, partition: int, sequence: int) -> Sent:
    """Return a fact as a record of the topic of its type (without the application's name).

    `sequence` counts the facts of a learner from 0. They are a function of the events, so a fact
    said again after a crash carries the number it had: a reader that skips what is not above the
    last number of its partition reads every fact once.
    """
    header = [(SEQUENCE_HEADER, str(sequence).encode())]
    if isinstance(fact, Verdict):
        key = msgspec.json.encode([fact.community, fact.appealer, fact.kind])
    else:
        key = (fact.appeal_id if isinstance(fact, Estimate) else fact.community).encode()
    return Sent(_TOPICS.get(type(fact), "level"), partition, key, encode_fact(fact), header)


def reject_record(reject: Rejected, partition: int) -> Sent:
    """Return a dead letter. Its key is its place, so one said again replaces itself."""
    topic, _, number = reject.source.rpartition("/")
    offset, index = reject.line >> INDEX_BITS, reject.line & ((1 << INDEX_BITS) - 1)
    letter = {
        "topic": topic,
        "partition": int(number),
        "offset": offset,
        "index": index,
        "reason": reject.reason,
        "field": reject.field,
        "event": reject.event,
    }
    key = f"{reject.source}/{offset}/{index}".encode()
    return Sent("rejects", partition, key, msgspec.json.encode(letter), [])
