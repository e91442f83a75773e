"""Wrong keys, endpoints, stopping, ticks, sending by the command line, reading the topics back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka_broker import Broker
from kafka_harness import (
    COMMAND,
    ROOT,
    SETTINGS,
    Worker,
    World,
    config_for,
    environment_of,
    facts,
    publish,
    records,
    said,
    shuffled,
    wait_until,
)

from replay.driver import replay
from replay.from_kafka import kafka_sources
from replay.output import Output
from streams.kafka_config import KafkaConfig, client_options
from streams.kafka_topics import make_topics
from streams.kafka_wire import tick_value
from streams.pipeline import Pipeline
from streams.settings import Settings

pytestmark = pytest.mark.kafka

# What goes round through another partition comes later; with a week it is not late by that.
PATIENT = Settings(allowed_lateness_ms=7 * 86_400_000)


def _misplaced(worker: Worker) -> int:
    return sum(unit.get("misplaced", 0) for unit in worker.status()["units"])


def _read_back(config: KafkaConfig, settings: Settings, out: Path) -> dict[str, list[bytes]]:
    with kafka_sources(config, settings) as sources, Output(out) as output:
        replay(Pipeline(settings), sources, output, finish=False)
    return {
        name: (out / f"{name}.jsonl").read_bytes().splitlines()
        for name in ("verdicts", "estimates", "level")
    }


def test_wrong_keys_are_put_right(broker: Broker, world: World, logs: Path) -> None:
    """A producer with another partitioner (round robin, with messages of one event) changes
    nothing; and the topics, read back with what is in them twice, give the same once more.
    """
    config = config_for(broker, "wrong-keys")
    lines = shuffled(world.lines, world.times_ms, SETTINGS.allowed_lateness_ms, seed=3)
    finish_ms = max(world.times_ms) + PATIENT.allowed_lateness_ms + 1
    worker = Worker(config, PATIENT, logs / "worker.log")
    try:
        worker.wait_ready()
        # The end of the world is thin: a hundred events are weeks, and going round would be late.
        asyncio.run(_round_robin(config, lines[:-1_000], worker))
        wait_until(lambda: _settled(worker), 120, "what was put right")
        publish(config, lines[-1_000:])
        wait_until(lambda: _settled(worker), 120, "what was put right")
        asyncio.run(_write_ticks(config, finish_ms))
        wait_until(lambda: said(config) >= world.total(), 120, "all facts")
        misplaced = _misplaced(worker)
    finally:
        worker.kill()
    assert misplaced > len(lines) // 2
    letters = [
        r.value for batch in records(config, config.topic("rejects")).values() for r in batch
    ]
    assert letters == []
    for name, expected in world.facts.items():
        assert facts(config, name)[0] == expected
    assert _read_back(config, PATIENT, logs / "back") == world.facts


def _settled(worker: Worker) -> bool:
    """Say whether everything has been read, also what was written again."""

    time.sleep(1.0)
    if _behind(worker):
        return False
    time.sleep(1.0)
    return not _behind(worker)


def _behind(worker: Worker) -> bool:
    units = worker.status()["units"]
    return not units or any(unit["lag"] for unit in units)


def _applied(worker: Worker) -> int:
    return sum(sum(unit.get("fates", {}).values()) for unit in worker.status()["units"])


async def _round_robin(config: KafkaConfig, lines: list[bytes], worker: Worker) -> None:
    producer = AIOKafkaProducer(**client_options(config), linger_ms=20)
    await producer.start()
    for number, line in enumerate(lines):
        if number % 1_000 == 0:
            # History, sent faster than it can go round, would be late by that.
            await producer.flush()
            await asyncio.sleep(0.2)
            while await asyncio.to_thread(_behind, worker):
                await asyncio.sleep(0.1)
        await producer.send(config.appeals_topic, line, partition=number % config.partitions)
    await producer.stop()


async def _write_ticks(config: KafkaConfig, time_ms: int) -> None:
    producer = AIOKafkaProducer(**client_options(config))
    await producer.start()
    for partition in range(config.partitions):
        value = tick_value(time_ms)
        await producer.send(config.appeals_topic, value, partition=partition)
    await producer.stop()


def test_sent_by_the_command_line(broker: Broker, world: World, logs: Path, tmp_path: Path) -> None:
    """`askagain send --finish`; endpoints; a clean stop, after which another goes on at once; and
    the topics read back.
    """
    config = config_for(broker, "by-hand")
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(world.lines) + b"\n")
    environment = os.environ | environment_of(config, SETTINGS)
    worker = Worker(config, SETTINGS, logs / "worker.log")
    try:
        assert worker.get("/ready")[0] in (0, 503)
        worker.wait_ready()
        assert worker.get("/health") == (200, "ok\n")
        sent = subprocess.run(
            [*COMMAND, "send", str(file), "--finish"],
            cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert f"{len(world.lines):,} events" in sent.stderr
        assert sent.stdout == ""
        wait_until(lambda: said(config) >= world.total(), 120, "all facts")
        units = worker.status()["units"]
        assert {unit["unit"] for unit in units} == {"collector", "learner"}
        assert all(unit["lag"] == 0 for unit in units)
        assert all(unit["watermark"] for unit in units if unit["unit"] == "collector")
        code, seconds = worker.stop()
        assert (code, seconds < 10.0) == (0, True), worker.log.read_text()
        for line in worker.log.read_text().splitlines():
            assert {"time", "level", "logger", "message"} <= set(json.loads(line))
        worker = Worker(config, SETTINGS, logs / "next.log")
        worker.wait_ready()
        time.sleep(1.0)
        assert _applied(worker) >= len(world.lines), "the next one has what the last one saved"
    finally:
        worker.kill()
    for name, expected in world.facts.items():
        got, repeated = facts(config, name)
        assert (got, repeated) == (expected, 0)
    assert _read_back(config, SETTINGS, tmp_path / "back") == world.facts


def test_a_silent_partition_gets_ticks(broker: Broker, logs: Path) -> None:
    config = config_for(broker, "silent", tick_after_ms=1_000)
    asyncio.run(make_topics(config))
    publish(config, [b'{"type":"appeal","appeal_id":"a1","time":1230768000,"appealer":"p"}'])
    worker = Worker(config, SETTINGS, logs / "worker.log")
    try:
        worker.wait_ready()
        # One appeal in one partition: only ticks in all of them let it be judged.
        wait_until(lambda: said(config) >= 2, 60, "the prior and the final estimate")
        for batch in records(config, config.appeals_topic).values():
            assert any(b'"tick"' in record.value for record in batch)
    finally:
        worker.kill()
