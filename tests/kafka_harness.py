"""Workers as processes, topics read back, and events in an order that tries the lateness."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka_broker import Broker, _free_ports

from replay.driver import replay
from replay.output import Output
from replay.reader import read_lines
from replay.send import send
from replay.simulate import write_simulation
from streams.codec import decode_event
from streams.kafka_config import KafkaConfig, client_options
from streams.kafka_topics import partition_count
from streams.kafka_wire import SEQUENCE_HEADER
from streams.pipeline import Pipeline
from streams.settings import Settings

ROOT = Path(__file__).parent.parent
COMMAND = [
    sys.executable,
    "-c",
    "from replay.cli import main; main()",
]


def config_for(broker: Broker, application: str, **changes: Any) -> KafkaConfig:
    """Return a configuration of its own topics, without ticks of the clock (history is sent)."""
    values: dict[str, Any] = {
        "bootstrap_servers": broker.address,
        "application": application,
        "appeals_topic": f"{application}.events",
        "responses_topic": f"{application}.events",
        "tick_after_ms": 0,
        "snapshot_every_ms": 2_000,
        "session_timeout_ms": 6_000,
    }
    return KafkaConfig(**(values | changes))


def environment_of(config: KafkaConfig, settings: Settings) -> dict[str, str]:
    """Return a configuration as ASKAGAIN_* variables."""
    given: dict[str, str] = {}
    for struct, prefix in ((config, "ASKAGAIN_KAFKA_"), (settings, "ASKAGAIN_")):
        for name in struct.__struct_fields__:
            value = getattr(struct, name)
            if value != getattr(type(struct)(), name):
                plain = name.removesuffix("_ms")
                given[prefix + plain.upper()] = f"{value}ms" if plain != name else str(value)
    return given


class Worker:
    """`askagain worker` as a process of its own."""

    def __init__(self, config: KafkaConfig, settings: Settings, log: Path) -> None:
        (self.port,) = _free_ports(1)
        self._log = log.open("ab")
        self.log = log
        self.process = subprocess.Popen(
            [*COMMAND, "worker", "--http-port", str(self.port)],
            cwd=ROOT,
            env=os.environ | environment_of(config, settings) | {"OMP_NUM_THREADS": "1"},
            stdout=self._log,
            stderr=self._log,
        )

    def get(self, path: str) -> tuple[int, str]:
        """Ask the worker's HTTP endpoint."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict[str, Any]:
        """Return /status, empty while there is none."""
        return json.loads(self.get("/status")[1] or '{"ready": false, "units": []}')

    def wait_ready(self, seconds: float = 180.0) -> float:
        """Wait until it has its partitions; return how long that took, in seconds."""
        started_s = time.monotonic()
        while time.monotonic() - started_s < seconds:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            if self.get("/ready")[0] == 200:
                return time.monotonic() - started_s
            time.sleep(0.1)
        raise AssertionError("not ready: " + self.log.read_text()[-3000:])

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """SIGTERM; return the exit code and how long it took, in seconds."""
        started_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        return code, time.monotonic() - started_s


class World(NamedTuple):
    """Events as lines in order of time, and the facts a replay makes of them, by topic."""

    lines: list[bytes]
    times_ms: list[int]
    facts: dict[str, list[bytes]]

    def total(self) -> int:
        """Return how many facts there are."""
        return sum(len(lines) for lines in self.facts.values())


# A day of lateness in a stream of half a year: shuffling within it mixes some thousand events.
SETTINGS = Settings(allowed_lateness_ms=12 * 3_600_000)


def make_world(folder: Path, appeals: int) -> World:
    """Simulate `mixed`, give every response an id (so that one sent twice is known), replay it."""
    events = write_simulation("mixed", 3, appeals, folder / "world").events
    lines = [_with_id(number, line) for number, line in enumerate(events.read_bytes().splitlines())]
    file = folder / "events.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    with Output(folder / "out") as output:
        replay(Pipeline(SETTINGS), {str(file): read_lines(str(file))}, output)
    facts = {
        name: (folder / "out" / f"{name}.jsonl").read_bytes().splitlines()
        for name in ("verdicts", "estimates", "level")
    }
    return World(lines, [decode_event(line).time_ms for line in lines], facts)


def _with_id(number: int, line: bytes) -> bytes:
    return line if b'"appeal",' in line[:17] else b'{"response_id":%d,' % number + line[1:]


def shuffled(
    lines: Iterable[bytes], times_ms: list[int], lateness_ms: int, seed: int
) -> list[bytes]:
    """Return lines in an order of arrival in which none is later than the allowed lateness."""
    rng = random.Random(seed)
    keys = [time_ms + rng.randrange(lateness_ms) for time_ms in times_ms]
    return [line for _, line in sorted(zip(keys, lines, strict=True), key=lambda pair: pair[0])]


def publish(config: KafkaConfig, lines: Iterable[bytes], **options: Any) -> None:
    """Send lines from this process."""
    asyncio.run(send(config, lines, **options))


def records(config: KafkaConfig, topic: str) -> dict[int, list[Any]]:
    """Return all records of a topic, by partition."""
    return asyncio.run(_records(config, topic))


async def _records(config: KafkaConfig, topic: str) -> dict[int, list[Any]]:
    consumer = AIOKafkaConsumer(**client_options(config), enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = await partition_count(config, topic)
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place, start in (await consumer.beginning_offsets(places)).items():
            consumer.seek(place, start)
        read: dict[int, list[Any]] = {place.partition: [] for place in places}
        while [p for p in places if await consumer.position(p) < ends[p]]:
            for place, batch in (await consumer.getmany(timeout_ms=500)).items():
                read[place.partition] += batch
        return read
    finally:
        await consumer.stop()


def facts(config: KafkaConfig, name: str) -> tuple[list[bytes], int]:
    """Return a topic of facts as its documentation says: in each partition, what is not above the
    last number is skipped. Also returns how many were.
    """
    said: list[bytes] = []
    repeated = 0
    for batch in records(config, config.topic(name)).values():
        last = -1
        for record in batch:
            sequence = int(dict(record.headers)[SEQUENCE_HEADER])
            if sequence > last:
                said.append(record.value)
                last = sequence
            else:
                repeated += 1
    return said, repeated


def said(config: KafkaConfig) -> int:
    """Return how many facts have been written, each counted once."""
    return sum(len(facts(config, name)[0]) for name in ("verdicts", "estimates", "level"))


def wait_until(condition: Any, seconds: float, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)
