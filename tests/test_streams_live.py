"""The live units without Kafka: cut anywhere, crashed, restored, misplaced, they say the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from streams.codec import decode_event
from streams.collector import Block
from streams.facts import encode_fact
from streams.kafka_collecting import CollectorUnit
from streams.kafka_config import KafkaConfig, load_kafka
from streams.kafka_learning import LearnerUnit
from streams.kafka_station import Arrival, Station
from streams.kafka_wire import (
    ORIGIN_HEADER,
    Record,
    events_of,
    next_offset,
    partition_for,
    record_of,
    tick_value,
)
from streams.pipeline import Pipeline
from streams.settings import ConfigError, Settings, load_settings
from streams.ticker import Ticker

SETTINGS = Settings(allowed_lateness_ms=12 * 3_600_000, horizon_ms=86_400_000)
PARTITIONS, LEARNERS = 3, 2
NOW_MS = 1_800_000_000_000
START_S = 1_230_768_000


def _events(seed: int) -> list[bytes]:
    """Return forty appeals in two communities with some responses, shuffled within the lateness."""
    rng = random.Random(seed)
    rows: list[tuple[float, dict[str, object]]] = []
    for number in range(40):
        time = START_S + number * 7_200 + rng.randrange(3_000)
        appeal = {"type": "appeal", "appeal_id": f"a{number}", "time": time}
        appeal |= {"appealer": f"p{number % 5}", "community": f"c{number % 2}", "reach": 100}
        rows.append((time, appeal))
        for _ in range(rng.randrange(12)):
            at = time + rng.randrange(1, 90_000)
            rows.append((at, {"type": "response", "appeal_id": f"a{number}", "time": at}))
    rows.sort(key=lambda row: row[0] + rng.randrange(3_500))
    return [msgspec.json.encode(event) for _, event in rows]


def _replayed(events: list[bytes]) -> list[bytes]:
    pipeline = Pipeline(SETTINGS)
    decoded = [decode_event(event) for event in events]
    pipeline.receive(Block("file", range(1, len(decoded) + 1), decoded))
    pipeline.finish("file")
    return sorted(encode_fact(fact) for fact in pipeline.take()[0])


class _Log:
    """The input topic and the messages, as lists, and units that are crashed and restored."""

    def __init__(self, seed: int, misplace: float) -> None:
        self.rng = random.Random(seed)
        self.misplace = misplace
        self.inputs: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self.messages: list[list[Record]] = [[] for _ in range(LEARNERS)]
        self.collectors = [self._collector(number, None) for number in range(PARTITIONS)]
        self.learners = [self._learner(number, None) for number in range(LEARNERS)]
        self.saved: dict[str, bytes | None] = {}
        self.facts: list[dict[int, bytes]] = [{} for _ in range(LEARNERS)]

    @staticmethod
    def _collector(number: int, saved: bytes | None) -> CollectorUnit:
        return CollectorUnit(SETTINGS, ["events"], number, (PARTITIONS, LEARNERS), saved)

    @staticmethod
    def _learner(number: int, saved: bytes | None) -> LearnerUnit:
        return LearnerUnit(SETTINGS, number, (PARTITIONS, LEARNERS), saved)

    def write(self, event: bytes) -> None:
        identity = str(msgspec.json.decode(event)["appeal_id"])
        partition = partition_for(identity, PARTITIONS)
        if self.rng.random() < self.misplace:
            partition = self.rng.randrange(PARTITIONS)
        self.append(partition, event)

    def append(self, partition: int, value: bytes, origin: tuple[str, int] | None = None) -> None:
        log = self.inputs[partition]
        log.append(Record("events", partition, len(log), NOW_MS, value, origin))

    def finish(self) -> None:
        newest_s = max(msgspec.json.decode(r.value)["time"] for log in self.inputs for r in log)
        for partition in range(PARTITIONS):
            self.append(partition, tick_value(newest_s * 1000 + 1 + SETTINGS.allowed_lateness_ms))

    def collect(self, number: int, upto: int) -> None:
        unit = self.collectors[number]
        start = unit.next_offset("events")
        for sent in unit.apply(self.inputs[number][start : start + upto]):
            if sent.topic == "events":
                origin = record_of("", 0, 0, 0, b"", sent.headers).origin
                self.append(sent.partition, sent.value, origin)
        for learner, value in unit.envelopes(to_all=self.rng.random() < 0.5):
            log = self.messages[learner]
            log.append(Record("messages", learner, len(log), NOW_MS, value))

    def learn(self, number: int, upto: int) -> None:
        unit = self.learners[number]
        for sequence, fact in unit.apply(self.messages[number][unit.offset :][:upto]):
            line = encode_fact(fact)
            assert self.facts[number].setdefault(sequence, line) == line

    def save(self, number: int) -> None:
        for name, unit in self._named(number):
            self.saved[name] = unit.snapshot()

    def crash(self, number: int) -> None:
        for name, unit in self._named(number):
            saved = self.saved.get(name)
            if isinstance(unit, CollectorUnit):
                self.collectors[number] = self._collector(number, saved)
            else:
                self.learners[number] = self._learner(number, saved)

    def _named(self, number: int) -> Iterator[tuple[str, CollectorUnit | LearnerUnit]]:
        yield f"collector {number}", self.collectors[number]
        if number < LEARNERS:
            yield f"learner {number}", self.learners[number]

    def drain(self) -> None:
        for _ in range(4):
            for number in range(PARTITIONS):
                self.collect(number, 10_000)
                for learner, value in self.collectors[number].envelopes(to_all=True):
                    log = self.messages[learner]
                    log.append(Record("messages", learner, len(log), NOW_MS, value))
        for number in range(LEARNERS):
            self.learn(number, 10_000)


@pytest.mark.parametrize("misplace", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_crashes_change_nothing(seed: int, misplace: float) -> None:
    events = _events(seed)
    log = _Log(seed, misplace)
    rng = random.Random(seed)
    written = 0
    while written < len(events):
        for _ in range(rng.randrange(1, 15)):
            if written < len(events):
                log.write(events[written])
                written += 1
        number = rng.randrange(PARTITIONS)
        act = rng.random()
        if act < 0.15:
            log.crash(number)
        elif act < 0.35:
            log.save(number)
        log.collect(number, rng.randrange(1, 40))
        log.learn(rng.randrange(LEARNERS), rng.randrange(1, 10))
        if misplace:  # what goes round through another partition must not be late by that
            for one in range(PARTITIONS):
                log.collect(one, 10_000)
    # What was misplaced must have come before the end is said.
    for _ in range(3):
        for number in range(PARTITIONS):
            log.collect(number, 10_000)
    log.finish()
    log.crash(0)
    log.drain()
    fates = Counter[str]()
    for unit in log.collectors:
        fates.update(unit.collector.state.fates)
    assert set(fates) <= {"appeals", "responses", "after_horizon", "ticks", "redelivered"}
    assert fates.total() - fates["ticks"] - fates["redelivered"] == len(events)
    assert sum(unit.misplaced for unit in log.collectors) == 0 or misplace > 0
    got = sorted(line for facts in log.facts for line in facts.values())
    assert got == _replayed(events)


def test_partitions_are_those_of_kafkas_own_producers() -> None:
    # From Kafka's own UtilsTest.testMurmur2.
    from aiokafka.partitioner import murmur2

    expected = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key, hashed in expected.items():
        assert murmur2(key) % 2**32 == hashed % 2**32
    assert partition_for("foobar", 7) == (-790332482 & 0x7FFFFFFF) % 7


def test_an_event_from_the_future_is_rejected_by_the_logs_own_time() -> None:
    value = b'[{"type":"tick","time":1800000301},{"type":"tick","time":1800000299}]'
    lines, events = events_of(Record("events", 2, 5, NOW_MS, value), 300_000)
    assert lines == [5 << 20, (5 << 20) + 1]
    assert [type(event).__name__ for event in events] == ["Rejected", "Tick"]
    assert (events[0].reason, events[0].source) == ("out_of_range", "events/2")
    assert next_offset(lines[-1] + 1) == 6


def test_a_message_without_a_value_is_rejected() -> None:
    _, events = events_of(record_of("events", 0, 0, NOW_MS, None, None), 0)
    assert [event.reason for event in events] == ["not_json"]


def test_headers_name_the_origin() -> None:
    record = record_of("e", 0, 0, 0, b"", [("other", b"x"), (ORIGIN_HEADER, b"e/1/77")])
    assert record.origin == ("e/1", 77)


def test_a_gap_is_asked_for_again_before_it_is_believed() -> None:
    station = Station(CollectorUnit(SETTINGS, ["events"], 0, (1, 1)), 0)
    station.rewind({"events": 3})

    def arrive(offset: int) -> Arrival:
        return station.arrive(Record("events", 0, offset, NOW_MS, b"{}"))

    assert [arrive(offset) for offset in (2, 3, 5, 6)] == [
        Arrival.KNOWN, Arrival.TAKEN, Arrival.GAP, Arrival.KNOWN,
    ]  # fmt: skip
    # Read again: first with what had been left out, then with a true gap.
    assert [arrive(offset) for offset in (4, 5, 6)] == [Arrival.TAKEN] * 3
    assert [arrive(offset) for offset in (9, 10, 9, 10)] == [
        Arrival.GAP, Arrival.KNOWN, Arrival.TAKEN, Arrival.TAKEN,
    ]  # fmt: skip


def test_a_snapshot_of_other_settings_is_refused() -> None:
    saved = CollectorUnit(SETTINGS, ["events"], 0, (2, 2)).snapshot()
    with pytest.raises(ConfigError, match="other settings or partitions"):
        CollectorUnit(Settings(), ["events"], 0, (2, 2), saved)
    with pytest.raises(ConfigError, match="other settings or partitions"):
        CollectorUnit(SETTINGS, ["events"], 0, (4, 2), saved)


def test_configuration(tmp_path: Path) -> None:
    file = tmp_path / "askagain.toml"
    file.write_text('[kafka]\npartitions = 8\ntick_after = "5s"\nsasl_username = "u"\n')
    environment = {"ASKAGAIN_KAFKA_PARTITIONS": "12", "ASKAGAIN_KAFKA_SASL_PASSWORD": "s3cret"}
    config = load_kafka(file, environment, {"http_port": 0})
    assert (config.partitions, config.tick_after_ms, config.http_port) == (12, 5_000, 0)
    assert (config.sasl_username, config.sasl_password) == ("u", "s3cret")
    assert config.input_topics == ["askagain.events"]
    assert load_kafka(None, {"ASKAGAIN_KAFKA_TICK_AFTER": "0"}).tick_after_ms == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[kafka]\nsasl_password = "x"\n', "environment only"),
        ("[kafka]\nbrokers = 3\n", "unknown setting 'brokers'"),
        ('[kafka]\nsnapshot_every = "soon"\n', "expected a duration"),
        ("[kafka]\npartitions = 0\n", "partitions"),
        ("kafka = 3\n", "expected a table"),
    ],
)
def test_configuration_that_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "askagain.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_kafka(file, {})


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in repr(KafkaConfig(sasl_password="s3cret"))


def test_only_silent_logs_get_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("streams.ticker.time.monotonic", lambda: now_s)
    ticker = Ticker(60_000)
    ticker.own([("events", 0), ("events", 1)])
    now_s = 59.0
    ticker.heard("events", 0)
    assert ticker.due() == []
    now_s = 61.0
    assert ticker.due() == [("events", 1)]
    assert ticker.due() == []
    assert Ticker(0).due() == []


def test_the_configuration_that_compose_runs_is_one() -> None:
    file = Path(__file__).parent.parent / "deploy" / "askagain.toml"
    config = load_kafka(file, {})
    assert config == KafkaConfig(bootstrap_servers="localhost:9092")
    assert load_settings(file, {}, {}) == Settings()
