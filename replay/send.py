"""Publishes files of events to the topics: keyed as the worker expects, in arrays, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from replay.mapping import read_mapped
from replay.reader import raw_lines, source_names
from streams.codec import BadEvent, decode_event, rfc3339
from streams.events import Appeal, Rejected, Response, Tick
from streams.kafka_config import KafkaConfig, client_options
from streams.kafka_topics import make_topics
from streams.kafka_wire import partition_for, tick_value
from streams.ticker import now_ms

__all__ = ["SentEvents", "lines_of", "mapped_lines", "send"]

# Well below Kafka's own limit of 1 MB for a message.
MESSAGE_BYTES_MAX = 500_000


class SentEvents(NamedTuple):
    """What was published. `unkeyed`: not an event, so sent without a key, for the worker to
    reject.
    """

    events: int
    messages: int
    unkeyed: int


class _Batches:
    """Gathers events by topic and partition, and gives back messages that are full."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._gathered: dict[tuple[str, int], list[bytes]] = {}
        self._bytes: dict[tuple[str, int], int] = {}

    def add(self, topic: str, partition: int, event: bytes) -> tuple[str, int, bytes] | None:
        place = (topic, partition)
        full = None
        if self._bytes.get(place, 0) + len(event) > MESSAGE_BYTES_MAX:
            full = self._close(place)
        self._gathered.setdefault(place, []).append(event)
        self._bytes[place] = self._bytes.get(place, 0) + len(event) + 1
        if full is None and len(self._gathered[place]) >= self._batch:
            full = self._close(place)
        return full

    def _close(self, place: tuple[str, int]) -> tuple[str, int, bytes] | None:
        events = self._gathered.pop(place, [])
        self._bytes.pop(place, None)
        if not events:
            return None
        return *place, events[0] if len(events) == 1 else b"[" + b",".join(events) + b"]"

    def rest(self) -> Iterator[tuple[str, int, bytes]]:
        for place in list(self._gathered):
            closed = self._close(place)
            if closed is not None:
                yield closed


class _Route:
    """Which topic and partition an event belongs to."""

    def __init__(self, config: KafkaConfig, partitions: int) -> None:
        self._config = config
        self._partitions = partitions
        self._now_ms = now_ms()
        self.unkeyed = 0
        self.newest_ms: int | None = None

    def of(self, event: bytes) -> tuple[str, int]:
        try:
            decoded = decode_event(event)
        except BadEvent:
            self.unkeyed += 1
            return self._config.responses_topic, self.unkeyed % self._partitions
        # What claims to be of the future will be rejected, and is no end to go by.
        if (self.newest_ms or decoded.time_ms) <= decoded.time_ms <= self._now_ms:
            self.newest_ms = decoded.time_ms
        if isinstance(decoded, Tick):
            return self._config.responses_topic, 0
        appeal = isinstance(decoded, Appeal)
        topic = self._config.appeals_topic if appeal else self._config.responses_topic
        return topic, partition_for(decoded.appeal_id, self._partitions)


async def send(
    config: KafkaConfig,
    events: Iterable[bytes],
    *,
    batch: int = 100,
    finish_ms: int | None = None,
    on_events: Callable[[int], None] = lambda _: None,
) -> SentEvents:
    """Publish events (JSON, one each) in their order.

    Parameters
    ----------
    batch
        Events a message; 1: each by itself, not in an array.
    finish_ms
        Write a tick at last, so many milliseconds after the newest event, to every partition: with
        one millisecond more than the allowed lateness everything that was sent counts as come.
    on_events
        Hears how many events have been sent.
    """
    partitions, _ = await make_topics(config)
    producer = AIOKafkaProducer(
        **client_options(config), enable_idempotence=True, linger_ms=20, max_batch_size=524_288
    )
    await producer.start()
    route, batches = _Route(config, partitions), _Batches(batch)
    messages = events_sent = 0
    try:
        for event in events:
            topic, partition = route.of(event)
            full = batches.add(topic, partition, event)
            events_sent += 1
            if full is not None:
                await _publish(producer, *full)
                messages += 1
            if events_sent % 1000 == 0:
                on_events(events_sent)
                await asyncio.sleep(0)
        for rest in batches.rest():
            await _publish(producer, *rest)
            messages += 1
        if finish_ms is not None and route.newest_ms is not None:
            await _finish(producer, config, partitions, route.newest_ms + finish_ms)
        on_events(events_sent)
    finally:
        await producer.stop()
    return SentEvents(events_sent, messages, route.unkeyed)


async def _publish(producer: AIOKafkaProducer, topic: str, partition: int, value: bytes) -> None:
    await producer.send(topic, value, partition=partition)


async def _finish(
    producer: AIOKafkaProducer, config: KafkaConfig, partitions: int, time_ms: int
) -> None:
    for topic in config.input_topics:
        for partition in range(partitions):
            await producer.send(topic, tick_value(time_ms), partition=partition)


def lines_of(paths: Sequence[str]) -> Iterator[bytes]:
    """Return the lines of files of events, one file after the other."""
    source_names(paths)
    for path in paths:
        yield from raw_lines(path)


def mapped_lines(
    path: Path, horizon_ms: int, on_reject: Callable[[Rejected], None] = lambda _: None
) -> Iterator[bytes]:
    """Return the events that a mapping makes of tables, as lines. A row that is no event is told to
    `on_reject`, and cannot be sent.
    """
    for block in read_mapped(path, horizon_ms=horizon_ms):
        for event in block.events:
            if isinstance(event, Rejected):
                on_reject(event)
            else:
                yield event_line(event)


def event_line(event: Appeal | Response | Tick) -> bytes:
    """Write an event as PRODUCT.md has it.

    >>> event_line(Response("a1", 1500, value=2.0))
    b'{"type":"response","appeal_id":"a1","time":"1970-01-01T00:00:01.500Z","value":2.0}'
    """
    line: dict[str, Any] = {"type": type(event).__name__.lower()}
    for field in msgspec.structs.fields(event):
        value = getattr(event, field.name)
        if field.name == "time_ms":
            line["time"] = rfc3339(value)
        elif value is not None and value != field.default:
            line[field.name] = value
    return msgspec.json.encode(line)
