"""What workers write to the topics, put in order, is what a replay writes to its files."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka_broker import Broker
from kafka_harness import (
    SETTINGS,
    Worker,
    World,
    config_for,
    facts,
    publish,
    records,
    said,
    shuffled,
    wait_until,
)

from streams.kafka_config import KafkaConfig

pytestmark = pytest.mark.kafka

FINISH_MS = SETTINGS.allowed_lateness_ms + 1


def _check(config: KafkaConfig, world: World) -> None:
    for name, expected in world.facts.items():
        got, _ = facts(config, name)
        assert len(got) == len(expected), name
        assert got == expected, name


def _live(config: KafkaConfig, world: World, workers: int, logs: Path) -> None:
    running = [Worker(config, SETTINGS, logs / f"{number}.log") for number in range(workers)]
    try:
        for worker in running:
            worker.wait_ready()
        lines = shuffled(world.lines, world.times_ms, SETTINGS.allowed_lateness_ms, seed=7)
        publish(config, lines, batch=20, finish_ms=FINISH_MS)
        wait_until(lambda: said(config) >= world.total(), 240, "all facts")
        _check(config, world)
        assert sum(len(worker.status()["units"]) for worker in running) == 8
    finally:
        for worker in running:
            worker.kill()


@pytest.mark.parametrize("workers", [1, 3])
def test_live_equals_replay(broker: Broker, world: World, logs: Path, workers: int) -> None:
    _live(config_for(broker, f"equal-{workers}"), world, workers, logs)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_200_000_events(broker: Broker, large_world: World, logs: Path, workers: int) -> None:
    _live(config_for(broker, f"large-{workers}"), large_world, workers, logs)


class _Crew:
    """Workers that are killed, join and leave, by a fixed seed."""

    def __init__(self, config: KafkaConfig, logs: Path, number: int, seed: int) -> None:
        self._config = config
        self._logs = logs
        self._rng = random.Random(seed)
        self._hired = 0
        self.died = 0
        self.workers: list[Worker] = []
        for _ in range(number):
            self.join()
        for worker in self.workers:
            worker.wait_ready()

    def join(self) -> None:
        self._hired += 1
        log = self._logs / f"{self._hired}.log"
        self.workers.append(Worker(self._config, SETTINGS, log))

    def leave(self) -> None:
        worker = self.workers.pop(self._rng.randrange(len(self.workers)))
        worker.wait_ready()
        code, seconds = worker.stop()
        assert (code, seconds < 10.0) == (0, True), worker.log.read_text()[-3000:]

    def kill(self) -> None:
        self.workers.pop(self._rng.randrange(len(self.workers))).kill()
        self.join()

    def tend(self) -> None:
        """Do what a supervisor does: start anew what gave up."""
        for worker in [one for one in self.workers if one.process.poll() is not None]:
            self.workers.remove(worker)
            self.died += 1
            self.join()

    def work(self) -> bool:
        """Say whether any worker is in the middle of something."""
        return any(unit["lag"] for worker in self.workers for unit in worker.status()["units"])


def _survive(broker: Broker, config: KafkaConfig, world: World, logs: Path, kills: int) -> None:
    """Everything twice, workers killed at random moments, one joins, one leaves, Kafka restarts."""
    crew = _Crew(config, logs, 2, seed=5)
    lines = shuffled(world.lines, world.times_ms, SETTINGS.allowed_lateness_ms, seed=7)
    twice = [line for line in lines for _ in range(2)]
    try:
        sender = threading.Thread(
            target=publish,
            args=(config, _slowly(twice)),
            kwargs={"batch": 20, "finish_ms": FINISH_MS},
            daemon=True,
        )
        sender.start()
        rng = random.Random(11)
        for number in range(kills):
            # A worker that has only just begun has nothing to lose: wait until it is at work.
            _wait_for_work(crew)
            time.sleep(rng.uniform(0.0, 2.0))
            crew.kill()
            if number == 0:
                crew.join()
            if number == kills // 2:
                crew.leave()
                broker.restart()
        deadline = time.monotonic() + 300
        while sender.is_alive() or said(config) < world.total():
            crew.tend()
            assert time.monotonic() < deadline, "not all facts"
            time.sleep(1.0)
        _check(config, world)
        assert crew.died <= 1, "a worker gave up more than once"
    finally:
        for worker in crew.workers:
            worker.kill()


def _wait_for_work(crew: _Crew) -> None:
    deadline = time.monotonic() + 30
    while not crew.work() and time.monotonic() < deadline:
        crew.tend()
        time.sleep(0.1)


def _slowly(lines: list[bytes]) -> Iterator[bytes]:
    """Spread the sending over half a minute or so, so that kills fall into it."""
    for number, line in enumerate(lines):
        if number % 2_000 == 0:
            time.sleep(0.5)
        yield line


def test_nothing_is_lost(broker: Broker, world: World, logs: Path) -> None:
    _survive(broker, config_for(broker, "survive"), world, logs, kills=3)


@pytest.mark.slow
def test_nothing_is_lost_in_200_000_events(broker: Broker, large_world: World, logs: Path) -> None:
    _survive(broker, config_for(broker, "survive-large"), large_world, logs, kills=10)


DAMAGED = {
    "not_json": b'{"type":"response","appeal_id":"a1","ti',
    "unknown_type": b'{"type":"visit","appeal_id":"a1","time":1}',
    "missing_field": b'{"type":"response","appeal_id":"a1"}',
    "wrong_type": b'{"type":"response","appeal_id":["a1"],"time":1230768000}',
    "out_of_range": b'{"type":"response","appeal_id":"a1","time":1230768000,"count":0}',
    "not_finite": b'{"type":"response","appeal_id":"a1","time":1230768000,"value":1e999}',
    "too_long": b'{"type":"response","appeal_id":"%s","time":1230768000}' % (b"x" * 300),
    "late": b'{"type":"response","appeal_id":"a00000000","time":"1999-01-01T00:00:00Z"}',
    "future": b'{"type":"response","appeal_id":"a00000000","time":"2098-01-01T00:00:00Z"}',
    "not_text": b'{"type":"response","appeal_id":"\xff\xfe","time":1230768000}',
}


def test_poison(broker: Broker, world: World, logs: Path) -> None:
    """A tenth of damaged events, some in the middle of arrays: all are dead letters, nothing else
    changes, and nobody restarts.
    """
    config = config_for(broker, "poison")
    lines = shuffled(world.lines, world.times_ms, SETTINGS.allowed_lateness_ms, seed=7)
    kinds = sorted(DAMAGED)
    mixed = list(lines[:100])
    for number, line in enumerate(lines[100:]):
        mixed.append(line)
        if number % 10 == 0:
            mixed.append(DAMAGED[kinds[number // 10 % len(kinds)]])
    worker = Worker(config, SETTINGS, logs / "worker.log")
    try:
        worker.wait_ready()
        # By itself, so that what is not JSON does not take the good events of its array with it.
        publish(config, mixed, batch=1, finish_ms=FINISH_MS)
        wait_until(lambda: said(config) >= world.total(), 240, "all facts")
        _check(config, world)
        damaged = len(mixed) - len(lines)
        wait_until(lambda: len(_letters(config)) >= damaged, 30, "all dead letters")
        letters = _letters(config)
        assert len(letters) == damaged
        expected = {"future": "out_of_range", "not_text": "not_json"}
        reasons = {letter["reason"] for letter in letters}
        assert reasons == {expected.get(kind, kind) for kind in kinds}
        assert worker.process.poll() is None
        assert "error" not in worker.log.read_text()
    finally:
        worker.kill()


def _letters(config: KafkaConfig) -> list[dict[str, object]]:
    by_place = {
        record.key: json.loads(record.value)
        for batch in records(config, config.topic("rejects")).values()
        for record in batch
    }
    return list(by_place.values())
