"""Lines are collected as the events in them are: the same messages, rejects and counts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import Any

import msgspec
import pytest

from streams.codec import rfc3339
from streams.collector import Collector, CollectorState
from streams.collector_lines import LinesCollector
from streams.events import Checkpoint, Opened
from streams.lines import Lines, decoded_lines
from streams.open_appeal import OpenAppeal
from streams.packing import SLOT, packed, unpacked
from streams.settings import Settings
from streams.state import pack, unpack

START_MS, HOUR_MS = 1_231_275_840_000, 3_600_000
HORIZON_MS, LATENESS_MS = 6 * HOUR_MS, HOUR_MS
SETTINGS = Settings(horizon_ms=HORIZON_MS, allowed_lateness_ms=LATENESS_MS, responders_sampled=4)
WRONG = (b"", b"  ", b"{", b'{"type":"nobody"}', b'{"type":"response","time":3}', b"\xff\xfe")


def appeal(rng: Random, n: int, time_ms: int) -> dict[str, Any]:
    community = f"c{rng.randrange(2)}"
    return {
        **{"type": "appeal", "appeal_id": f"a{n}", "time": rfc3339(time_ms)},
        **{"appealer": f"p{n % 3}", "community": community},
    }


def response(rng: Random, n: int, time_ms: int) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "response", "appeal_id": f"a{n}", "time": rfc3339(time_ms)}
    for name, value, chance in (
        *(("responder", f"u{rng.randrange(40)}", 0.7), ("count", rng.randrange(1, 9), 0.2)),
        *(("value", rng.randrange(40) / 100, 0.2), ("exit", True, 0.02)),
        *(("response_id", f"r{rng.randrange(50)}", 0.03), ("note", "ä", 0.02)),
    ):
        if rng.random() < chance:
            said[name] = value
    return said


def story(rng: Random) -> list[bytes]:
    """Lines that arrive in disorder: appeals put twice or late, ids used again, strays, damage."""
    events: list[tuple[int, bytes]] = []

    def add(time_ms: int, event: dict[str, Any]) -> None:
        delay_ms = rng.randrange(LATENESS_MS + 1) * (3 if rng.random() < 0.02 else 1)
        events.append((time_ms + delay_ms, msgspec.json.encode(event)))

    for n in range(rng.randrange(1, 12)):
        put_ms = START_MS + rng.randrange(8 * HOUR_MS) + rng.choice([0, 3 * HORIZON_MS])
        for _ in range(rng.choice([1, 1, 1, 2])):
            add(put_ms, appeal(rng, rng.randrange(8), put_ms))
            put_ms += rng.choice([0, 0, HOUR_MS // 2, 2 * HORIZON_MS])
        for _ in range(rng.randrange(60)):
            age_ms = int(rng.expovariate(1 / HOUR_MS)) - rng.choice([0, 0, 0, 60_000])
            age_ms += rng.choice([0] * 30 + [HORIZON_MS, 2 * HORIZON_MS])
            add(put_ms + age_ms, response(rng, n % 9, put_ms + age_ms))
    lines = [line for _, line in sorted(events)]
    for _ in range(rng.randrange(4)):
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(WRONG))
    return lines


def pieces(rng: Random, lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(lines):
        end = start + rng.choice([1, 3, 20, 500])
        yield start + 1, b"".join(line + b"\n" for line in lines[start:end])
        start = end


def heard(collector: Collector) -> list[Opened | Checkpoint]:
    """What was said, with the counts by slot in one order."""
    found: list[Opened | Checkpoint] = []
    for said in collector.messages:
        if isinstance(said, Checkpoint):
            by_slot: dict[int, int] = {}
            flat = unpacked(said.slots, SLOT)
            for slot, number in zip(flat[::2], flat[1::2], strict=True):
                by_slot[slot] = by_slot.get(slot, 0) + number
            said = msgspec.structs.replace(
                said, slots=packed(chain(*sorted(by_slot.items())), SLOT)
            )
        found.append(said)
    return found


def fates(collector: Collector) -> dict[str, int]:
    return {fate: number for fate, number in collector.state.fates.items() if number}


def ended(collector: Collector) -> Collector:
    for source in collector.state.sources:
        collector.finish(source)
    collector.end(collector.watermark_ms())
    return collector


def compare(settings: Settings, sources: int, rng: Random, blocks: float = 0.0) -> None:
    stories = [story(rng) for _ in range(sources)]
    whole, lean = Collector(settings), LinesCollector(settings)
    for collector in (whole, lean):
        for source in range(sources):
            collector.declare(f"s{source}")
    waiting = [
        (source, piece) for source in range(sources) for piece in pieces(rng, stories[source])
    ]
    if sources > 1:
        waiting.sort(key=lambda one: one[1][0])
    for source, (first_line, text) in waiting:
        whole.receive(decoded_lines(f"s{source}", first_line, text))
        if rng.random() < blocks:
            lean.receive(decoded_lines(f"s{source}", first_line, text))
        else:
            lean.receive_lines(Lines(f"s{source}", first_line, text).decode())
        assert lean.watermark_ms() == whole.watermark_ms()
        assert lean.state.held_count == whole.state.held_count
        assert fates(lean) == fates(whole)
    ended(whole), ended(lean)
    assert heard(lean) == heard(whole)
    assert lean.rejects == whole.rejects
    assert fates(lean) == fates(whole)
    assert not lean._announced and not lean._pending_of


@pytest.mark.parametrize("seed", range(60))
def test_lines_are_collected_as_their_events_are(seed: int) -> None:
    compare(SETTINGS, 1, Random(seed))


@pytest.mark.parametrize("seed", range(20))
def test_so_are_those_of_two_sources(seed: int) -> None:
    compare(SETTINGS, 2, Random(1000 + seed))


@pytest.mark.parametrize("seed", range(40))
def test_so_they_are_between_blocks_of_events(seed: int) -> None:
    compare(SETTINGS, 1 + seed % 2, Random(4000 + seed), blocks=0.5)


@pytest.mark.parametrize("seed", range(20))
def test_so_they_are_where_nothing_may_be_late(seed: int) -> None:
    compare(msgspec.structs.replace(SETTINGS, allowed_lateness_ms=0), 1, Random(2000 + seed))


@pytest.mark.parametrize("seed", range(20))
def test_so_they_are_where_little_may_be_held_or_open(seed: int) -> None:
    limits = {"held_responses_max": 6, "open_appeals_max": 3, "response_ids_max": 2}
    compare(msgspec.structs.replace(SETTINGS, **limits), 1, Random(3000 + seed))


def put(time_ms: int) -> dict[str, Any]:
    return {"type": "appeal", "appeal_id": "a", "time": rfc3339(time_ms), "appealer": "p"}


def answered(time_ms: int) -> dict[str, Any]:
    return {"type": "response", "appeal_id": "a", "time": rfc3339(time_ms)}


def tick(time_ms: int) -> dict[str, Any]:
    return {"type": "tick", "time": rfc3339(time_ms)}


def alike(sources: int, pieces: list[tuple[int, list[dict[str, Any]]]], blocks: int = 0) -> None:
    """Feed pieces to both collectors, to the one over lines the first `blocks` as events."""
    whole, lean = Collector(SETTINGS), LinesCollector(SETTINGS)
    for collector in (whole, lean):
        for source in range(sources):
            collector.declare(f"s{source}")
    for nth, (source, events) in enumerate(pieces):
        text = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
        place = f"s{source}", 1 + 1000 * nth
        whole.receive(decoded_lines(*place, text))
        if nth < blocks:
            lean.receive(decoded_lines(*place, text))
        else:
            lean.receive_lines(Lines(*place, text).decode())
    ended(whole), ended(lean)
    assert heard(lean) == heard(whole)
    assert lean.rejects == whole.rejects
    assert fates(lean) == fates(whole)
    assert lean.state.held_count == whole.state.held_count == 0
    assert not lean._announced and not lean._pending_of


def test_what_is_put_again_is_not_announced_while_it_waits() -> None:
    t, h = START_MS, HOUR_MS
    both = [(s, [tick(t + n * h)]) for n in (13, 14) for s in (0, 1)]
    last = [(s, [tick(t + 30 * h)]) for s in (0, 1)]
    pieces = [(0, [tick(t - h)]), (1, [tick(t - h), put(t + 10 * h)]), (0, [put(t)])]
    pieces += [(0, [tick(t + 2 * h)]), (1, [put(t + 10 * h)]), *both]
    alike(2, [*pieces, (0, [answered(t + 14 * h)]), *last])


@pytest.mark.parametrize("blocks", [0, 1])
def test_rejects_keep_their_order_where_an_id_is_put_twice(blocks: int) -> None:
    t, h, bad = START_MS, HOUR_MS, {"type": "nothing"}
    last = (0, [tick(t + 5 * h + h // 2), bad, answered(t + 6 * h + 1)])
    alike(1, [(0, [tick(t - h // 2), put(t)]), (0, [put(t + h // 2)]), last], blocks)
    late = (0, [put(t - 5 * h)])
    alike(1, [(0, [tick(t - h // 2), put(t)]), late, (0, [put(t + h // 2)]), last], blocks)


def test_a_sum_of_value_beyond_64_bits_does_not_depend_on_what_is_taken_back_first() -> None:
    t, h = START_MS, HOUR_MS
    huge = [answered(t + 2 * h + n) | {"value": 1e12} for n in range(9)]
    first, again = (
        answered(t + 2 * h + ms) | {"value": value, "response_id": "q"}
        for ms, value in ((20, 1e12), (10, 1.0))
    )
    many = [answered(t + 2 * h + 30) | {"value": 9e8 - 1} for _ in range(200)]
    last = (0, [tick(t + 30 * h)])
    alike(1, [(0, [put(t), tick(t + 2 * h)]), (0, [first, *huge, again, *many]), last])


def test_what_is_kept_of_an_appeal_of_lines_is_an_appeal_like_others() -> None:
    lean, rng = LinesCollector(SETTINGS), Random(7)
    answers = [
        {"type": "response", "appeal_id": "a", "time": rfc3339(time_ms), "responder": f"u{time_ms}"}
        for time_ms in sorted(START_MS + rng.randrange(4 * HOUR_MS) for _ in range(100))
    ]
    for first_line, events in ((1, [put(START_MS), *answers[:50]]), (52, answers[50:])):
        text = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
        lean.receive_lines(Lines("s", first_line, text).decode())
    counted = lean.state.opened["a"]
    restored = unpack(pack(lean.state), CollectorState).opened["a"]
    assert type(restored) is OpenAppeal
    assert restored.by_slot() == counted.by_slot()
    assert sum(unpacked(restored.by_slot(), SLOT)[1::2]) == sum(restored.bins) == 100
    assert restored.least_responders(4) == counted.least_responders(4) != b""
