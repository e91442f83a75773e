"""How fast a worker is on a real broker, beside a bare consumer; how soon a metric shows a
response; how soon a worker with 100,000 open appeals is back; and (`soak`) whether it stays so.

    PYTHONPATH=tests python tests/bench/bench_live.py [speed] [latency] [restart] [soak SECONDS]

The bare consumer reads with aiokafka, decodes with msgspec and counts: nothing else. Absolute
figures depend on the machine, on which the broker and the sender run too; compare the ratios.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka_broker import Broker
from kafka_harness import Worker, config_for, publish, wait_until

from streams.codec import decode_message
from streams.kafka_collecting import CollectorUnit
from streams.kafka_config import KafkaConfig, client_options
from streams.kafka_learning import LearnerUnit
from streams.kafka_store import SnapshotStore
from streams.kafka_topics import make_topics
from streams.kafka_wire import Record, partition_for
from streams.settings import Settings

SETTINGS = Settings()
START_S = 1_230_768_000
APPEALS = 200


def events(number: int, appeals: int = APPEALS) -> Iterator[bytes]:
    """Yield appeals, then responses to them in order of time over six days: the reading side has
    nearly all the work, as where one appeal draws hundreds of responses.
    """
    for index in range(appeals):
        yield msgspec.json.encode(
            {
                "type": "appeal",
                "appeal_id": f"a{index}",
                "time": START_S + index,
                "appealer": f"p{index % 50}",
                "kind": f"k{index % 4}",
                "reach": 5_000,
            }
        )
    rng = random.Random(1)
    for index in range(number - appeals):
        time_s = START_S + appeals + index * 518_400 / number
        yield (
            b'{"type":"response","appeal_id":"a%d","time":%.3f,"responder":"u%d"}'
            % (rng.randrange(appeals), time_s, rng.randrange(1_000_000))
        )


async def bare(config: KafkaConfig, messages: int) -> float:
    """Read, decode and count; return the seconds it took."""
    consumer = AIOKafkaConsumer(
        **client_options(config), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    places = [TopicPartition(config.appeals_topic, n) for n in range(config.partitions)]
    consumer.assign(places)
    for place in places:
        consumer.seek(place, 0)
    read = counted = 0
    started_s = time.perf_counter()
    while read < messages:
        for batch in (await consumer.getmany(timeout_ms=1_000)).values():
            for record in batch:
                read += 1
                counted += len(decode_message(record.value))
    seconds = time.perf_counter() - started_s
    await consumer.stop()
    return seconds


def applied(worker: Worker) -> int:
    """Return how many events a worker's collectors have seen to."""
    return sum(sum(unit.get("fates", {}).values()) for unit in worker.status()["units"])


def speed(broker: Broker, folder: Path, number: int, batch: int) -> None:
    """A backlog, read by the bare consumer and then by a worker, each alone."""
    config = config_for(broker, f"speed-{batch}", snapshot_every_ms=30_000)
    publish(config, events(number), batch=batch)
    plain_s = asyncio.run(bare(config, _messages(config)))
    worker = Worker(config, SETTINGS, folder / f"speed-{batch}.log")
    try:
        worker.wait_ready()
        started_s, first = time.perf_counter(), applied(worker)
        wait_until(lambda: applied(worker) >= number, 300, "the backlog")
        live = (number - first) / (time.perf_counter() - started_s)
    finally:
        worker.kill()
    say(
        f"speed, {batch} events a message",
        bare=f"{number / plain_s:,.0f}/s",
        worker=f"{live:,.0f}/s",
        ratio=f"{live * plain_s / number:.2f}",
    )


def _messages(config: KafkaConfig) -> int:
    async def count() -> int:
        consumer = AIOKafkaConsumer(**client_options(config))
        await consumer.start()
        places = [TopicPartition(config.appeals_topic, n) for n in range(config.partitions)]
        ends = await consumer.end_offsets(places)
        await consumer.stop()
        return sum(ends.values())

    return asyncio.run(count())


def latency(broker: Broker, folder: Path, tries: int = 40) -> None:
    """From a response being sent to /status (and so the metrics) showing it."""
    config = config_for(broker, "latency")
    publish(config, events(APPEALS), finish_ms=SETTINGS.allowed_lateness_ms + 1)
    worker = Worker(config, SETTINGS, folder / "latency.log")
    try:
        worker.wait_ready()
        wait_until(lambda: applied(worker) >= APPEALS, 60, "the beginning")
        seconds = asyncio.run(_latencies(config, worker, tries))
    finally:
        worker.kill()
    ordered = sorted(seconds)
    say(
        "from sent to shown",
        median=f"{statistics.median(ordered):.3f} s",
        p95=f"{ordered[int(0.95 * tries)]:.3f} s",
    )


async def _latencies(config: KafkaConfig, worker: Worker, tries: int) -> list[float]:
    producer = AIOKafkaProducer(**client_options(config))
    await producer.start()
    seconds: list[float] = []
    try:
        for index in range(tries):
            before = await asyncio.to_thread(applied, worker)
            event = b'{"type":"response","appeal_id":"a7","time":%d}' % (START_S + 9_000 + index)
            started_s = time.perf_counter()
            await producer.send(config.responses_topic, event, b"a7")
            while await asyncio.to_thread(applied, worker) == before:
                await asyncio.sleep(0.005)
            seconds.append(time.perf_counter() - started_s)
    finally:
        await producer.stop()
    return seconds


def restart(broker: Broker, folder: Path, appeals: int = 100_000) -> None:
    """Kill -9, start again, until it has its state and has applied what came meanwhile."""
    config = config_for(broker, "restart")
    size = asyncio.run(_prepare(config, appeals))
    worker = Worker(config, SETTINGS, folder / "restart.log")
    started_s = time.perf_counter()
    try:
        worker.wait_ready()
        ready_s = time.perf_counter() - started_s
        publish(config, [b'{"type":"response","appeal_id":"b1","time":%d}' % (START_S + 5_000)])
        wait_until(lambda: applied(worker) > 0, 60, "the first event")
        opened = sum(unit.get("open_appeals", 0) for unit in worker.status()["units"])
        resident_mb = _resident_mb(worker)
    finally:
        worker.kill()
    say(
        "restart",
        open_appeals=f"{opened:,}",
        snapshots=f"{size / 1e6:,.0f} MB",
        ready=f"{ready_s:.1f} s",
        memory=f"{resident_mb:,.0f} MB",
    )


async def _prepare(config: KafkaConfig, appeals: int) -> int:
    """Save snapshots as a worker would, of some appeals it has seen and copies of them."""
    layout = await make_topics(config)
    producer = AIOKafkaProducer(**client_options(config), enable_idempotence=True)
    await producer.start()
    store = SnapshotStore(config, producer, "bench")
    units = [CollectorUnit(SETTINGS, config.input_topics, n, layout) for n in range(layout[0])]
    learner = LearnerUnit(SETTINGS, partition_for("default", layout[1]), layout)
    _play(config, units, learner)
    asks = learner.learner.ledgers["default"].asks
    seen = list(asks.values())
    opened = [one for unit in units for one in unit.collector.state.opened.values()]
    for unit in units:
        unit.collector.state.opened.clear()
        unit.collector.state.fates.clear()
    asks.clear()
    for index in range(appeals):
        name = f"b{index}"
        ask = msgspec.structs.replace(seen[index % len(seen)])
        ask.appeal = msgspec.structs.replace(ask.appeal, appeal_id=name)
        asks[name] = ask
        partition = partition_for(name, layout[0])
        copied = msgspec.structs.replace(opened[index % len(opened)], appeal_id=name)
        units[partition].collector.state.opened[name] = copied
    size = 0
    for slot, unit in [*enumerate(units), (layout[0] + learner.partition, learner)]:
        data = unit.snapshot()
        size += len(data)
        await store.save(slot, data)
    await producer.stop()
    return size


def _play(config: KafkaConfig, units: list[CollectorUnit], learner: LearnerUnit) -> None:
    offsets = [0] * len(units)
    envelopes = 0
    now_ms = (START_S + 10 * 86_400) * 1_000
    for event in events(60_000, appeals=400):
        identity = json.loads(event)["appeal_id"]
        partition = partition_for(identity, len(units))
        record = Record(config.appeals_topic, partition, offsets[partition], now_ms, event)
        offsets[partition] += 1
        units[partition].apply([record])
    for unit in units:
        for number, value in unit.envelopes(to_all=True):
            if number == learner.partition:
                learner.apply([Record("", number, envelopes, now_ms, value)])
                envelopes += 1
    # What was written here is not in the topics: the worker begins at their beginning.
    learner.offset = 0
    for partition in learner.learner.partitions.values():
        partition.next_sequence = 0
    for unit in units:
        unit._sequences = [0] * len(unit._sequences)
        for source in unit.collector.state.sources.values():
            source.next_line = 0


def soak(broker: Broker, folder: Path, seconds: float, rate: float) -> None:
    """Half the top speed in arrays for a while: the lag must stay bounded and memory flat."""
    config = config_for(broker, "soak", snapshot_every_ms=15_000)
    worker = Worker(config, SETTINGS, folder / "soak.log")
    lags: list[int] = []
    memory: list[float] = []
    try:
        worker.wait_ready()
        sender = threading.Thread(target=publish, args=(config, _paced(seconds, rate)))
        sender.start()
        while sender.is_alive():
            time.sleep(min(5.0, seconds / 20))
            lags.append(sum(unit["lag"] for unit in worker.status()["units"]))
            memory.append(_resident_mb(worker))
        assert worker.process.poll() is None, worker.log.read_text()[-2000:]
        total = applied(worker)
    finally:
        worker.kill()
    half = len(memory) // 2
    say(
        "soak",
        seconds=f"{seconds:.0f}",
        events=f"{total:,}",
        lag_messages_max=f"{max(lags):,}",
        lag_messages_last=f"{lags[-1]:,}",
        memory_half=f"{memory[half]:,.0f} MB",
        memory_end=f"{memory[-1]:,.0f} MB",
    )
    # Messages of 100: one second's worth is the bound, with room for a snapshot.
    assert lags[-1] <= 3 * rate / 100 + 50, f"the lag grows: {lags}"
    assert memory[-1] <= 1.15 * memory[half] + 20, f"memory grows: {memory}"


def _paced(seconds: float, rate: float) -> Iterator[bytes]:
    """Yield appeals with responses for a while: ten seconds of the stream's own time each turn, so
    that appeals open and close all the time.
    """
    rng = random.Random(2)
    started_s = time.perf_counter()
    number, time_s, turn = 0, float(START_S), 0
    while time.perf_counter() - started_s < seconds:
        turn += 1
        time_s += 3_600
        name = f"s{turn}"
        yield msgspec.json.encode(
            {"type": "appeal", "appeal_id": name, "time": time_s, "appealer": f"p{turn % 40}"}
        )
        for index in range(999):
            recent = max(1, turn - int(rng.expovariate(1 / 12)))
            yield (
                b'{"type":"response","appeal_id":"s%d","time":%.3f,"responder":"u%d"}'
                % (recent, time_s + 1 + index, rng.randrange(100_000))
            )
        number += 1_000
        ahead_s = number / rate - (time.perf_counter() - started_s)
        if ahead_s > 0:
            time.sleep(ahead_s)


def _resident_mb(worker: Worker) -> float:
    pages = Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096 / 1e6


def say(what: str, **figures: Any) -> None:
    """Print a line of results."""
    print(
        f"{what:32}" + "  ".join(f"{name} {value}" for name, value in figures.items()), flush=True
    )


def main(wanted: list[str]) -> None:
    """Run what is wanted; everything but the soak if nothing is named."""
    with Broker(heap="1g") as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not wanted or "speed" in wanted:
            speed(broker, folder, 60_000, batch=1)
            speed(broker, folder, 1_000_000, batch=100)
        if not wanted or "latency" in wanted:
            latency(broker, folder)
        if not wanted or "restart" in wanted:
            restart(broker, folder)
        if "soak" in wanted:
            given = wanted[wanted.index("soak") + 1 :]
            rate = float(given[1]) if len(given) > 1 else 50_000.0
            soak(broker, folder, float(given[0]) if given else 600.0, rate)


if __name__ == "__main__":
    main(sys.argv[1:])
