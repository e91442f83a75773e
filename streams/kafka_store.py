"""Snapshots in Kafka: chunks in one compacted topic, and a manifest that names them in another.

Faust's tables are not used for this. A table writes every changed key to its changelog by itself,
at a moment of its own choosing, so on disk its parts never belong to one offset; and one write an
event costs two thirds of the throughput. A snapshot here is one state at one offset: it is there
when its manifest is, and until then the one before it is. Restoring reads one record (the last
manifest) and the chunks that it names, however long the topic is.

Chunks lie under two sets of keys in turn, so the log cleaner never takes one that the last manifest
names; the keys hold the session, so that a worker thought dead cannot overwrite them either.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
import zstandard
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.kafka_config import KafkaConfig, client_options
from streams.settings import ConfigError
from streams.state import SnapshotError

__all__ = ["SnapshotStore", "check_snapshot", "read_tail"]

# Kafka's own limit for a message is 1 MB.
CHUNK_BYTES = 900_000
ZSTD_LEVEL = 1
FETCH_BYTES = 16_000_000


class Manifest(msgspec.Struct, frozen=True):
    """Which chunks, by offset, make up a snapshot, and what is to become of their keys."""

    session: str
    generation: int
    offsets: list[int]
    sha256: str


class SnapshotStore:
    """Saves and loads snapshots. Slot: the partition of both topics that is a unit's own.

    Parameters
    ----------
    config
        Where Kafka is.
    producer
        Writes; it must keep order (idempotent).
    session
        Names this worker's run; no other run has the same.
    """

    def __init__(self, config: KafkaConfig, producer: AIOKafkaProducer, session: str) -> None:
        self._config = config
        self._producer = producer
        self._session = session
        self._chunks_topic = config.topic("snapshots")
        self._manifests_topic = config.topic("manifests")
        self._last: dict[int, Manifest] = {}

    async def save(self, slot: int, data: bytes) -> None:
        """Write a snapshot. It counts from the moment its manifest is written."""
        before = self._last.get(slot)
        generation = before.generation + 1 if before else 0
        packed = await asyncio.to_thread(_compress, data)
        pending = [
            await self._producer.send(
                self._chunks_topic,
                packed[start : start + CHUNK_BYTES],
                self._key(self._session, generation, index),
                partition=slot,
            )
            for index, start in enumerate(range(0, len(packed), CHUNK_BYTES))
        ]
        offsets = [written.offset for written in await asyncio.gather(*pending)]
        digest = hashlib.sha256(packed).hexdigest()
        manifest = Manifest(self._session, generation, offsets, digest)
        value = msgspec.json.encode(manifest)
        await self._producer.send_and_wait(self._manifests_topic, value, b"m", partition=slot)
        self._last[slot] = manifest
        if before and before.session != self._session:
            await self._forget(slot, before)

    async def _forget(self, slot: int, manifest: Manifest) -> None:
        """Let the log cleaner have the chunks of a session that is over, of both turns."""
        for index in range(len(manifest.offsets) + 1):
            for turn in range(2):
                key = self._key(manifest.session, turn, index)
                await self._producer.send(self._chunks_topic, None, key, partition=slot)

    def _key(self, session: str, generation: int, index: int) -> bytes:
        return f"{session}/{generation % 2}/{index}".encode()

    async def load(self, slots: list[int]) -> dict[int, bytes]:
        """Read the snapshots of `slots`, as far as there are any.

        Raises
        ------
        SnapshotError
            If one is damaged or its chunks are gone.
        """
        consumer = AIOKafkaConsumer(
            **client_options(self._config),
            enable_auto_commit=False,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        await consumer.start()
        try:
            found = await read_tail(consumer, self._manifests_topic, slots)
            loaded: dict[int, bytes] = {}
            for slot, record in sorted(found.items()):
                manifest = msgspec.json.decode(record.value, type=Manifest)
                loaded[slot] = await self._read(consumer, slot, manifest)
                self._last[slot] = manifest
            return loaded
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, slot: int, manifest: Manifest) -> bytes:
        place = TopicPartition(self._chunks_topic, slot)
        consumer.assign([place])
        consumer.seek(place, manifest.offsets[0])
        wanted = set(manifest.offsets)
        found: dict[int, bytes] = {}
        end = manifest.offsets[-1]
        at = -1
        while at < end:
            records = (await consumer.getmany(place, timeout_ms=10_000)).get(place, [])
            if not records:
                raise SnapshotError(f"snapshot {slot}: its chunks cannot be read, at {at} of {end}")
            found |= {r.offset: r.value for r in records if r.offset in wanted}
            at = records[-1].offset
        packed = b"".join(found.get(offset, b"") for offset in manifest.offsets)
        if hashlib.sha256(packed).hexdigest() != manifest.sha256:
            raise SnapshotError(f"snapshot {slot}: expected {len(wanted)} whole chunks, found less")
        return zstandard.ZstdDecompressor().decompress(packed)


def _compress(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)


async def read_tail(
    consumer: AIOKafkaConsumer, topic: str, partitions: list[int]
) -> dict[int, Any]:
    """Return the last record of each partition that has one."""
    places = [TopicPartition(topic, partition) for partition in partitions]
    consumer.assign(places)
    ends = await consumer.end_offsets(places)
    starts = await consumer.beginning_offsets(places)
    tail: dict[int, Any] = {}
    for place in places:
        if ends[place] > starts[place]:
            tail[place.partition] = await _last_record(consumer, place, ends[place])
    return tail


async def _last_record(consumer: AIOKafkaConsumer, place: TopicPartition, end: int) -> Any:
    consumer.seek(place, end - 1)
    for _ in range(10):
        records = (await consumer.getmany(place, timeout_ms=3_000)).get(place, [])
        if records:
            return records[-1]
    raise SnapshotError(f"{place.topic}/{place.partition}: its last record cannot be read")


def check_snapshot(unit: str, found: object, expected: object) -> None:
    """Refuse a snapshot that was made under other settings or other numbers of partitions."""
    if found != expected:
        raise ConfigError(
            f"the snapshot of a {unit} was made under other settings or partitions: expected "
            f"{expected} (fingerprint, partition, partitions and learners), found {found}. "
            "Take the settings of before, or another [kafka] application."
        )
