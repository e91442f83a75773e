"""Reads the topics themselves as sources of a replay: what a worker saw, through the same core.

A log is read from its beginning, or between two times *of the log* (when messages were written), to
where it ends when reading starts. Events that a worker found in the wrong partition stand in the
log twice; here, where all partitions are one, the first counts and the copy is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.collector import Block
from streams.kafka_config import KafkaConfig, client_options
from streams.kafka_topics import partition_count
from streams.kafka_wire import Event, events_of, record_of
from streams.settings import ConfigError, Settings

__all__ = ["kafka_sources", "log_time_ms"]

POLL_MS = 1_000
SILENT_POLLS_MAX = 60


class _Range(NamedTuple):
    """Offsets of a log that are to be read; `end` is the first that is not."""

    place: TopicPartition
    start: int
    end: int


def log_time_ms(text: str) -> int:
    """Read a time of the log: RFC 3339, or a date (its beginning, in UTC).

    Raises
    ------
    ConfigError
        If it is neither.

    >>> log_time_ms("2026-11-17"), log_time_ms("1970-01-01T01:00:00+01:00")
    (1794873600000, 0)
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"expected a time such as 2026-11-17 or 2026-11-17T09:00:00Z, got {text!r}"
        ) from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


@contextmanager
def kafka_sources(
    config: KafkaConfig,
    settings: Settings,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Iterator[dict[str, Iterator[Block]]]:
    """Give the partitions of the input topics as sources for `replay.driver.replay`.

    Parameters
    ----------
    since_ms, until_ms
        Read what was written from the one time until before the other; None: from the beginning,
        to the end.

    Raises
    ------
    ConfigError
        If a topic is not there.
    """
    loop = asyncio.new_event_loop()
    consumer = None
    try:
        consumer, ranges = loop.run_until_complete(_open(config, since_ms, until_ms))
        yield {
            f"{one.place.topic}/{one.place.partition}": _blocks(loop, consumer, one, settings)
            for one in ranges
        }
    finally:
        if consumer is not None:
            loop.run_until_complete(consumer.stop())
        loop.close()


async def _open(
    config: KafkaConfig, since_ms: int | None, until_ms: int | None
) -> tuple[AIOKafkaConsumer, list[_Range]]:
    places = [
        TopicPartition(topic, number)
        for topic in config.input_topics
        for number in range(await partition_count(config, topic))
    ]
    consumer = AIOKafkaConsumer(**client_options(config), enable_auto_commit=False)
    await consumer.start()
    consumer.assign(places)
    starts = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    if since_ms is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
        starts = {place: at.offset if at else ends[place] for place, at in found.items()}
    if until_ms is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(places, until_ms))
        ends = {place: at.offset if at else ends[place] for place, at in found.items()}
    for place in places:
        consumer.seek(place, starts[place])
    return consumer, [_Range(place, starts[place], ends[place]) for place in places]


def _blocks(
    loop: asyncio.AbstractEventLoop, consumer: AIOKafkaConsumer, wanted: _Range, settings: Settings
) -> Iterator[Block]:
    place, at = wanted.place, wanted.start
    silent = 0
    while at < wanted.end:
        batch = loop.run_until_complete(consumer.getmany(place, timeout_ms=POLL_MS)).get(place, [])
        silent = 0 if batch else silent + 1
        if silent > SILENT_POLLS_MAX:
            raise ConfigError(f"{place.topic}/{place.partition}: nothing comes after offset {at}")
        lines: list[int] = []
        events: list[Event] = []
        for one in batch:
            record = record_of(
                one.topic, one.partition, one.offset, one.timestamp, one.value, one.headers
            )
            if one.offset < wanted.end and record.origin is None:
                numbers, read = events_of(record, settings.future_skew_ms)
                lines += numbers
                events += read
            at = one.offset + 1
        if events:
            yield Block(f"{place.topic}/{place.partition}", lines, events)
