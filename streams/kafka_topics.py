"""The worker's topics: what they are called, how long they keep what, made if absent."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streams.kafka_config import KafkaConfig, client_options
from streams.settings import ConfigError

__all__ = ["Layout", "make_topics", "partition_count"]

Layout = tuple[int, int]

# By the time of writing, not by what a producer says: history sent today would be deleted today.
# It is also the time by which an event from the future is known.
_APPENDED = {"message.timestamp.type": "LogAppendTime"}
_COMPACT = {"cleanup.policy": "compact"}
# Snapshots are rewritten for ever, so what is replaced must go soon.
_SNAPSHOTS = {
    "cleanup.policy": "compact",
    "segment.bytes": "33554432",
    "min.cleanable.dirty.ratio": "0.2",
}
_PLACES = {"cleanup.policy": "compact,delete"}
_WAITS_MAX = 60


async def make_topics(config: KafkaConfig) -> Layout:
    """Make what is absent, and return how many partitions the inputs and the learners have.

    Raises
    ------
    ConfigError
        If appeals and responses differ in their number of partitions.
    """
    admin = AIOKafkaAdminClient(**client_options(config))
    await admin.start()
    try:
        for name in config.input_topics:
            await _make(admin, config, name, config.partitions, _APPENDED)
        inputs = {name: await _partitions_of(admin, name) for name in config.input_topics}
        if len(set(inputs.values())) > 1:
            raise ConfigError(f"[kafka] topics: expected as many partitions in each, got {inputs}")
        partitions = min(inputs.values())
        await _make(admin, config, config.topic("messages"), config.learners, {})
        learners = await _partitions_of(admin, config.topic("messages"))
        for name, count, options in _own(partitions, learners):
            await _make(admin, config, config.topic(name), count, options)
        return partitions, learners
    finally:
        await admin.close()


def _own(partitions: int, learners: int) -> list[tuple[str, int, dict[str, str]]]:
    return [
        ("verdicts", learners, _COMPACT),
        ("estimates", learners, {}),
        ("level", learners, {}),
        ("rejects", partitions, _PLACES),
        ("snapshots", partitions + learners, _SNAPSHOTS),
        ("manifests", partitions + learners, _COMPACT),
    ]


async def _make(
    admin: Any, config: KafkaConfig, name: str, partitions: int, options: dict[str, str]
) -> None:
    if name in await admin.list_topics():
        return
    new = NewTopic(name, partitions, config.replication, topic_configs=options)
    answer = await admin.create_topics([new])
    for entry in answer.topic_errors:
        error = for_code(entry[1])
        if entry[1] and error is not TopicAlreadyExistsError:
            raise ConfigError(f"[kafka] topic {name}: cannot be made: {entry[2] or error.__name__}")


async def partition_count(config: KafkaConfig, name: str) -> int:
    """Return how many partitions a topic has.

    Raises
    ------
    ConfigError
        If it is not there.
    """
    admin = AIOKafkaAdminClient(**client_options(config))
    await admin.start()
    try:
        if name not in await admin.list_topics():
            raise ConfigError(f"[kafka] topic {name}: expected it to be there, it is not")
        return await _partitions_of(admin, name)
    finally:
        await admin.close()


async def _partitions_of(admin: AIOKafkaAdminClient, name: str) -> int:
    """Return how many partitions a topic has, waiting until it is there to be written to."""
    for _ in range(_WAITS_MAX):
        (topic,) = await admin.describe_topics([name])
        if not topic["error_code"] and all(p["leader"] >= 0 for p in topic["partitions"]):
            return len(topic["partitions"])
        await asyncio.sleep(0.25)
    raise ConfigError(f"[kafka] topic {name}: expected it to be there by now, it is not")
