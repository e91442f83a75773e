"""A worker between its records and Kafka: gives each unit its own, writes what comes out, saves.

What is written may be written again after a crash, and says so: envelopes carry the numbers of
their messages, facts the number of the fact, re-keyed events their origin, dead letters their
place. That is why nothing here is a transaction, and why a worker that was thought dead and wakes
up does no harm: it writes what the other one writes.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.kafka_collecting import CollectorUnit
from streams.kafka_config import KafkaConfig, client_options
from streams.kafka_learning import LearnerUnit
from streams.kafka_station import Arrival, Station
from streams.kafka_store import SnapshotStore, read_tail
from streams.kafka_topics import Layout, make_topics
from streams.kafka_wire import (
    SEQUENCE_HEADER,
    Record,
    Sent,
    fact_record,
    tick_value,
)
from streams.settings import Settings
from streams.telemetry import CollectorProgress, LearnerProgress, Telemetry
from streams.ticker import Ticker, now_ms

__all__ = ["Live"]

log = logging.getLogger("askagain.worker")

# A pass takes about 20 ms of work at 10 k events a second, so that batches are worth their cost.
PASS_EVERY_S = 0.02
TELL_ALL_EVERY_S = 0.25
LOOK_EVERY_S = 0.5
LOOK_AT_LEARNED_EVERY_S = 10.0
SAVING_SHARE = 0.05
# A broker that restarts is back within this; then the worker gives up and is started anew.
REQUEST_MS = 90_000
FACT_TOPICS = ("verdicts", "estimates", "level")


class Live:
    """The units of one worker.

    Parameters
    ----------
    config, settings
        How to run; what changes an answer.
    telemetry
        Who hears how it goes.
    fail
        Called, once, when something cannot be written any more.
    """

    def __init__(
        self,
        config: KafkaConfig,
        settings: Settings,
        telemetry: Telemetry,
        fail: Callable[[BaseException], None],
    ) -> None:
        self.config = config
        self.settings = settings
        self.telemetry = telemetry
        self.ready = False
        self.seek: Callable[[str, int, int], Awaitable[None]] | None = None
        self.commit: Callable[[dict[tuple[str, int], int]], Awaitable[None]] | None = None
        self.highwater: Callable[[str, int], int] = lambda topic, partition: 0
        self.stations: dict[tuple[str, int], Station] = {}
        self.layout: Layout = (0, 0)
        self._fail = fail
        self.failed = False
        self._ticker = Ticker(config.tick_after_ms)
        self._messages = config.topic("messages")
        self._generation: int | None = None
        self._looked_s = 0.0
        self._stopping = False
        self._room = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # Life.

    async def open(self) -> None:
        """Make topics and connect."""
        self.layout = await make_topics(self.config)
        self._producer = AIOKafkaProducer(
            **client_options(self.config),
            enable_idempotence=True,
            linger_ms=5,
            request_timeout_ms=REQUEST_MS,
            max_batch_size=131_072,
        )
        await self._producer.start()
        self._store = SnapshotStore(self.config, self._producer, uuid.uuid4().hex[:12])
        for work in (self._save_all, self._look):
            self._tasks.append(asyncio.create_task(self._guarded(work)))
        self._working = asyncio.create_task(self._guarded(self._work))

    async def close(self) -> None:
        """Save what is not saved, and disconnect.

        Work is not cancelled but ends: between what a unit has applied and what it says there must
        be no cut, or a snapshot would hold as said what never was.
        """
        self.revoke()
        self._stopping = True
        await self._working
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.failed:
            await asyncio.gather(*(self._save(s) for s in self._units() if s.changed))
        await self._producer.stop()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        if not self.failed:
            self.failed = True
            log.error("cannot go on", exc_info=error)
            self._fail(error)

    # Partitions.

    def revoke(self) -> None:
        """Stop taking records: who owns what is being settled anew."""
        self._generation = None
        self.ready = False

    async def assign(self, owned: Iterable[tuple[str, int]], generation: int) -> None:
        """Own these partitions (topic and number) and no others: drop, restore, go on."""
        inputs, slots, owned = self.config.input_topics, self.layout[0], sorted(owned)
        wanted = {("learner", n): slots + n for topic, n in owned if topic == self._messages}
        wanted |= {("collector", n): n for topic, n in owned if topic in inputs}
        for key in sorted(set(self.stations) - set(wanted)):
            self._drop(key)
        new = {key: slot for key, slot in sorted(wanted.items()) if key not in self.stations}
        saved = await self._store.load(sorted(new.values())) if new else {}
        for (kind, number), slot in new.items():
            unit = self._unit(kind, number, saved.get(slot))
            self.stations[kind, number] = Station(unit, slot)
        await self._find_places()
        self._ticker.own(
            (topic, n) for kind, n in wanted if kind == "collector" for topic in inputs
        )
        self._generation = generation
        self.ready = True
        log.info("assigned", extra={"units": [f"{k} {n}" for k, n in sorted(wanted)]})

    def _unit(self, kind: str, number: int, saved: bytes | None) -> CollectorUnit | LearnerUnit:
        if kind == "learner":
            return LearnerUnit(self.settings, number, self.layout, saved)
        topics = self.config.input_topics
        return CollectorUnit(self.settings, topics, number, self.layout, saved)

    def _drop(self, key: tuple[str, int]) -> None:
        del self.stations[key]
        kind, number = key
        if kind == "learner":
            self.telemetry.forget_learner(number)
        else:
            self.telemetry.forget_collector(number)

    def _topics_of(self, kind: str) -> list[str]:
        return [self._messages] if kind == "learner" else self.config.input_topics

    async def _find_places(self) -> None:
        """Where to read on from, and which facts are written already."""
        if not self.stations:
            return
        consumer = AIOKafkaConsumer(**client_options(self.config), enable_auto_commit=False)
        await consumer.start()
        try:
            logs = [TopicPartition(t, n) for k, n in self.stations for t in self._topics_of(k)]
            starts = await consumer.beginning_offsets(logs)
            for (kind, number), station in self.stations.items():
                topics = self._topics_of(kind)
                station.rewind({t: starts[TopicPartition(t, number)] for t in topics})
            learners = [number for kind, number in self.stations if kind == "learner"]
            for name in FACT_TOPICS if learners else ():
                tail = await read_tail(consumer, self.config.topic(name), learners)
                for number, record in tail.items():
                    sequence = int(dict(record.headers)[SEQUENCE_HEADER])
                    self.stations["learner", number].written[name] = sequence
        finally:
            await consumer.stop()

    def place(self, topic: str, partition: int) -> int | None:
        """Return the offset from which a partition is to be read, None if it is not owned (yet)."""
        if not self.ready:
            return None
        kind = "learner" if topic == self._messages else "collector"
        station = self.stations.get((kind, partition))
        return None if station is None else station.next_offset(topic)

    # Records.

    async def take(self, record: Record, generation: int) -> None:
        """Take a record, when there is room for it."""
        kind = "learner" if record.topic == self._messages else "collector"
        while generation == self._generation:
            station = self.stations.get((kind, record.partition))
            if station is None:
                return
            if station.has_room():
                await self._arrive(station, record)
                return
            self._room.clear()
            await self._room.wait()

    async def _arrive(self, station: Station, record: Record) -> None:
        arrival = station.arrive(record)
        if arrival is Arrival.TAKEN:
            self._ticker.heard(record.topic, record.partition)
        elif arrival is Arrival.GAP and self.seek is not None:
            expected = station.next_offset(record.topic)
            log.warning(
                "gap", extra={"log": record.source, "expected": expected, "came": record.offset}
            )
            await self.seek(record.topic, record.partition, expected)

    async def _work(self) -> None:
        while not self._stopping:
            for station in self._units():
                async with station.lock:
                    await self._work_on(station)
                await asyncio.sleep(0)
            self._room.set()
            if not any(station.waiting() for station in self._units()):
                await asyncio.sleep(PASS_EVERY_S)

    async def _work_on(self, station: Station) -> None:
        records = station.take()
        station.changed = station.changed or bool(records)
        unit = station.unit
        if isinstance(unit, LearnerUnit):
            if records:
                await self._publish(unit, station, records)
            return
        if records:
            started_s = time.perf_counter()
            out = unit.apply(records)
            self.telemetry.applied("collector", time.perf_counter() - started_s)
            for sent in out:
                await self._send(sent)
        now_s = asyncio.get_running_loop().time()
        to_all = now_s - station.told_all_s >= TELL_ALL_EVERY_S
        if to_all:
            station.told_all_s = now_s
        for learner, value in unit.envelopes(to_all):
            await self._send(Sent(self._messages, learner, None, value, []))

    async def _publish(self, unit: LearnerUnit, station: Station, records: list[Record]) -> None:
        started_s = time.perf_counter()
        said = unit.apply(records)
        self.telemetry.applied("learner", time.perf_counter() - started_s)
        for sequence, fact in said:
            sent = fact_record(fact, unit.partition, sequence)
            if sequence > station.written.get(sent.topic, -1):
                await self._send(sent)
        self.telemetry.facts(unit.partition, [fact for _, fact in said])

    async def _send(self, sent: Sent) -> None:
        own = sent.topic not in self.config.input_topics and sent.topic != self._messages
        topic = self.config.topic(sent.topic) if own else sent.topic
        future = await self._producer.send(
            topic, sent.value, sent.key, sent.partition, headers=sent.headers
        )
        future.add_done_callback(self._on_sent)

    def _on_sent(self, future: asyncio.Future[object]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._give_up(error)

    # What happens now and then.

    def _units(self) -> list[Station]:
        return list(self.stations.values())

    async def _save_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for station in self._units():
                wait_s = max(
                    self.config.snapshot_every_ms / 1000.0, station.saving_cost_s / SAVING_SHARE
                )
                if station.changed and loop.time() - station.saved_s >= wait_s:
                    await self._save(station)

    async def _save(self, station: Station) -> None:
        """Save a unit: first its state, then, when all it said before is written, the snapshot."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        async with station.lock:
            data = station.unit.snapshot()
            station.changed = False
            station.saving_cost_s = loop.time() - started_s
            places = self._places(station)
        await self._producer.flush()
        if self.failed:
            return
        await self._store.save(station.slot, data)
        station.saved_s = loop.time()
        log.debug("saved", extra={"slot": station.slot, "bytes": len(data)})
        if self.commit is not None:
            await self.commit(places)

    def _places(self, station: Station) -> dict[tuple[str, int], int]:
        """What the snapshot covers, to be committed for those who watch the group's lag."""
        unit = station.unit
        if isinstance(unit, LearnerUnit):
            return {(self._messages, unit.partition): unit.offset}
        return {(t, unit.partition): unit.next_offset(t) for t in self.config.input_topics}

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for topic, partition in self._ticker.due() if self.ready else ():
                await self._send(Sent(topic, partition, None, tick_value(now_ms()), []))
            for progress in self.progress():
                if isinstance(progress, CollectorProgress):
                    self.telemetry.collector(progress)
                else:
                    self.telemetry.learner(progress)
            self._look_at_learned()

    def _look_at_learned(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if not self.ready or now_s - self._looked_s < LOOK_AT_LEARNED_EVERY_S:
            return
        self._looked_s = now_s
        for station in self._units():
            if isinstance(station.unit, LearnerUnit):
                self.telemetry.learned(station.unit.partition, station.unit.learner)

    def progress(self) -> list[CollectorProgress | LearnerProgress]:
        """Return how every unit stands; nothing while it is being settled who owns which."""
        if not self.ready:
            return []
        return [
            self._progress(kind, number, station)
            for (kind, number), station in sorted(self.stations.items())
        ]

    def _progress(
        self, kind: str, number: int, station: Station
    ) -> CollectorProgress | LearnerProgress:
        unit = station.unit
        lag = station.waiting() + sum(
            max(0, self.highwater(topic, number) - station.next_offset(topic))
            for topic in self._topics_of(kind)
        )
        if isinstance(unit, LearnerUnit):
            learner = unit.learner
            return LearnerProgress(
                number, learner.watermark_ms(), lag, unit.facts, len(learner.communities)
            )
        collector, state = unit.collector, unit.collector.state
        return CollectorProgress(
            number,
            collector.watermark_ms(),
            lag,
            len(state.opened),
            state.held_count,
            unit.misplaced,
            dict(state.fates),
        )
