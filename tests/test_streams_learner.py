"""The second stage: whatever the collectors' pace, learned in one order, once."""

from __future__ import annotations

import msgspec
import pytest
from simulator import Recording
from strategies import HORIZON_MS, HOUR_MS, START_MS, small_settings
from timeline import strip, timeline

from streams.collector import Block, Collector
from streams.events import Checkpoint, Estimate, Opened, Tick
from streams.learner import Envelope, Learner, LearnerState
from streams.state import pack, unpack

FAR = Tick(START_MS + 3 * HORIZON_MS)
TEXT = {
    "0": "a: A.rr..v\nd/bob/sale: ....Ar",
    "1": "b/bob/help: .A.r3\nc: .A...e",
}


def messages(partition: str) -> list[Opened | Checkpoint]:
    collector = Collector(small_settings())
    events = [*timeline(TEXT[partition], HOUR_MS // 4), FAR]
    collector.receive(Block("s", range(len(events)), events))
    return collector.messages


def recorded(envelopes: list[Envelope]) -> list[bytes]:
    learner = Recording(small_settings(), ["0", "1"])
    for envelope in envelopes:
        learner.receive(envelope)
    return [msgspec.json.encode(message) for message in learner.facts]


def enveloped(partition: str, size: int) -> list[Envelope]:
    said = messages(partition)
    cuts = [said[start : start + size] for start in range(0, len(said), size)]
    return [
        Envelope(partition, size * index, _done(said, size * (index + 1)), cut)
        for index, cut in enumerate(cuts)
    ]


def _done(said: list[Opened | Checkpoint], count: int) -> int:
    """How far a collector has got that has said so many: to what it says next."""
    return said[count].time_ms if count < len(said) else FAR.time_ms


EXPECTED = recorded(enveloped("0", 1000) + enveloped("1", 1000))


def test_messages_are_learned_in_event_time_order() -> None:
    learned = [msgspec.json.decode(line) for line in EXPECTED]
    assert len(learned) == len(messages("0")) + len(messages("1"))
    times = [message["time_ms"] for message in learned]
    assert times == sorted(times)
    together = [m["appeal"]["appeal_id"] for m in learned if m["type"] == "opened"]
    assert together == ["a", "b", "c", "d"], "at one moment, by id"


@pytest.mark.parametrize("size", [1, 3, 7])
def test_pace_and_cuts_leave_no_trace(size: int) -> None:
    one, other = enveloped("0", size), enveloped("1", 2)
    abreast = [e for pair in zip(one, other, strict=False) for e in pair]
    rest = one[len(abreast) // 2 :] + other[len(abreast) // 2 :]
    for envelopes in (one + other, other + one, abreast + rest):
        assert recorded(envelopes) == EXPECTED


def test_what_was_said_before_is_dropped_by_number() -> None:
    one, other = enveloped("0", 3), enveloped("1", 5)
    again = [*one[:2], *one, *other, *one[-2:], *enveloped("0", 1000), *other]
    assert recorded(again) == EXPECTED


def test_a_gap_is_a_broken_invariant() -> None:
    one = enveloped("0", 3)
    with pytest.raises(AssertionError, match="lost"):
        recorded([one[0], one[2]])


def test_nothing_is_learned_before_the_slowest_has_spoken() -> None:
    assert recorded(enveloped("0", 1000)) == []
    silent = Envelope("1", 0, START_MS + HOUR_MS, [])
    some = recorded([*enveloped("0", 1000), silent])
    assert some
    assert all(msgspec.json.decode(line)["time_ms"] < START_MS + HOUR_MS for line in some)


def test_a_watermark_does_not_fall() -> None:
    learner = Recording(small_settings(), ["0"])
    learner.receive(Envelope("0", 0, START_MS, []))
    learner.receive(Envelope("0", 0, START_MS - HOUR_MS, []))
    assert learner.watermark_ms() == START_MS


def test_what_waits_is_in_the_snapshot() -> None:
    settings = small_settings()
    learner = Recording(settings, ["0", "1"])
    for envelope in enveloped("0", 2):
        learner.receive(envelope)
    state = unpack(pack(learner.state()), LearnerState)
    restored = Recording(settings, ["0", "1"], state)
    for envelope in enveloped("0", 1000) + enveloped("1", 1000):
        restored.receive(envelope)
    assert [msgspec.json.encode(message) for message in restored.facts] == EXPECTED
    assert restored.redelivered == len(messages("0"))


def test_each_appeal_is_judged_before_and_after() -> None:
    learner = Learner(small_settings(), ["0", "1"])
    for envelope in enveloped("0", 1000) + enveloped("1", 1000):
        learner.receive(envelope)
    drawn = strip([fact for fact in learner.facts if isinstance(fact, Estimate)])
    assert (drawn.count("p"), drawn.count("f")) == (4, 4)
    assert drawn.startswith("p") and drawn.endswith("f")
