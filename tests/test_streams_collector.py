"""The first stage, in ASCII. A column is ten minutes, the horizon twelve, the lateness two."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgspec
import pytest
from strategies import HORIZON_MS, LATENESS_MS, MINUTE_MS, START_MS, Event, small_settings
from timeline import timeline

from models.ages import AgeGrid
from streams.codec import Arrived
from streams.collector import Block, Collector
from streams.events import Appeal, Checkpoint, Opened, Response, Tick
from streams.packing import HASH, SLOT, unpacked

STEP_MS = 10 * MINUTE_MS
FAR = Tick(START_MS + 10 * HORIZON_MS)


def collected(text: str, **limits: int) -> Collector:
    """What a collector makes of a timeline, read to its end."""
    return fed(timeline(text, STEP_MS), **limits)


def fed(events: list[Event], end: bool = True, **limits: int) -> Collector:
    collector = Collector(small_settings(**limits))
    collector.declare("s")
    collector.receive(Block("s", range(len(events)), events))
    if end:
        collector.finish("s")
        collector.end(collector.watermark_ms())
    return collector


def fates(collector: Collector) -> dict[str, int]:
    return {fate: n for fate, n in collector.state.fates.items() if n}


def final(collector: Collector, appeal_id: str = "a") -> Checkpoint:
    (found,) = [
        m
        for m in collector.messages
        if isinstance(m, Checkpoint) and m.final and m.appeal_id == appeal_id
    ]
    return found


def numbers(last: Checkpoint) -> list[int]:
    """Age slots and how many responses came in each, by turns."""
    found: list[int] = unpacked(last.slots, SLOT).tolist()
    return found


def hashes(last: Checkpoint) -> list[int]:
    """Of the responders sampled."""
    found: list[int] = unpacked(last.responders, HASH).tolist()
    return found


def test_an_appeal_opens_is_looked_at_and_closes() -> None:
    collector = collected("""
        a: A.r3..e..v......
        tick: ...................T
    """)
    opened, *checks = collector.messages
    assert isinstance(opened, Opened)
    assert all(isinstance(check, Checkpoint) for check in checks)
    grid = AgeGrid(HORIZON_MS)
    ages_ms = [check.time_ms - START_MS for check in checks]
    assert ages_ms == [grid.edges_ms[bins - 1] for bins in grid.checkpoints]
    last = final(collector)
    assert (last.responses, last.exits, last.value_micros) == (5, 1, 10_000_000)
    counts = [count for check in checks for count in check.counts]
    assert len(counts) == grid.bins
    assert sum(counts) == sum(numbers(last)[1::2]) == 5
    assert fates(collector) == {"appeals": 1, "responses": 3, "exits": 1, "ticks": 1}


def test_totals_never_fall_and_leave_out_what_is_younger() -> None:
    collector = collected("""
        a: Avev1e.v..e....
        tick: ..............T
    """)
    checks = [m for m in collector.messages if isinstance(m, Checkpoint)]
    for earlier, later in pairwise(checks):
        assert later.bin_start == earlier.bin_start + len(earlier.counts)
        assert later.responses == earlier.responses + sum(later.counts)
    half_ms = START_MS + HORIZON_MS // 2
    (half,) = [check for check in checks if abs(check.time_ms - half_ms) < MINUTE_MS]
    assert half.responses == 3
    assert [(m.exits, m.value_micros) for m in checks[:-1]] == [(0, 0)] * (len(checks) - 1)
    assert (checks[-1].responses, checks[-1].exits, checks[-1].value_micros) == (4, 3, 30_000_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A response before its appeal, by accident and in truth.
        ("a: rA", {"appeals": 1, "unknown_appeal": 1}),
        ("a: Ar\nb: .r", {"appeals": 1, "responses": 1, "unknown_appeal": 1}),
        # Just before the horizon, at it, within two, and at two.
        ("a: A" + 10 * "." + "r", {"appeals": 1, "responses": 1}),
        ("a: A" + 11 * "." + "r", {"appeals": 1, "after_horizon": 1}),
        ("a: A" + 22 * "." + "r", {"appeals": 1, "after_horizon": 1}),
        ("a: A" + 23 * "." + "r", {"appeals": 1, "unknown_appeal": 1}),
        # An id used again: too soon it is a duplicate, after two horizons another appeal.
        ("a: AA", {"appeals": 1, "duplicate": 1}),
        ("a: A" + 22 * "." + "A", {"appeals": 1, "duplicate": 1}),
        ("a: A" + 23 * "." + "Ar", {"appeals": 2, "responses": 1}),
        ("a: A" + 22 * "." + "rA", {"appeals": 2, "after_horizon": 1}),
        ("a: A" + 23 * "." + "rA", {"appeals": 2, "unknown_appeal": 1}),
    ],
)
def test_fates(text: str, expected: dict[str, int]) -> None:
    assert fates(collected(text)) == expected


def response(age_ms: int, identity: str, **changes: object) -> Response:
    return Response("a", START_MS + age_ms, identity, **changes)  # type: ignore[arg-type]


APPEAL = Appeal("a", START_MS, "ann", "help", "ann", "c", 100.0, None, {})


def test_of_responses_with_one_id_the_earliest_counts() -> None:
    one, other = response(5, "1", value=3.0), response(4, "1", count=7, responder="u")
    for order in ([one, other, other], [other, one, other]):
        collector = fed([APPEAL, *order, FAR])
        assert fates(collector) == {"appeals": 1, "responses": 1, "duplicate": 2, "ticks": 1}
        last = final(collector)
        assert (last.responses, last.value_micros, len(hashes(last))) == (7, 0, 1)
        assert numbers(last) == [0, 7]


def test_an_exit_may_give_way_to_a_response_and_the_other_way_round() -> None:
    early_exit = [response(9, "1"), response(8, "1", exit=True)]
    late_exit = [response(8, "2", exit=True), response(7, "2")]
    last = final(fed([APPEAL, *early_exit, *late_exit, FAR]))
    assert (last.responses, last.exits) == (1, 1)


def test_ids_are_remembered_after_they_are_settled() -> None:
    later = Tick(START_MS + LATENESS_MS + MINUTE_MS)
    collector = fed([APPEAL, response(0, "1"), later, response(2 * MINUTE_MS, "1"), FAR])
    assert fates(collector)["duplicate"] == 1
    assert final(collector).responses == 1


def test_many_ids_keep_no_more_than_the_ids() -> None:
    events: list[Event] = [APPEAL, Tick(START_MS + LATENESS_MS + 1)]
    events += [response(LATENESS_MS + 1 + n * 1000, str(n), responder=f"u{n}") for n in range(4000)]
    collector = fed(events, end=False)
    (appeal,) = collector.state.opened.values()
    assert len(appeal.settled) + len(appeal.unsettled) == collector.state.response_ids == 4000
    assert len(appeal.unsettled) < 3 * LATENESS_MS // 1000
    collector.receive(Block("s", [len(events)], [FAR]))
    assert collector.state.response_ids == 0
    assert final(collector).responses == 4000
    assert len(hashes(final(collector))) == 64


def test_of_appeals_with_one_id_the_earliest_counts_and_then_the_least() -> None:
    late = Appeal("a", START_MS + 5, "zoe", "help", "zoe", "c", 1.0, None, {})
    least = Appeal("a", START_MS, "aaa", "help", "aaa", "c", 1.0, None, {})
    for order in ([late, APPEAL, least], [least, APPEAL, late], [APPEAL, least, late]):
        collector = fed([*order, FAR])
        (opened,) = [m for m in collector.messages if isinstance(m, Opened)]
        assert opened.appeal == least
        assert fates(collector) == {"appeals": 1, "duplicate": 2, "ticks": 1}


def test_the_sample_of_responders_is_the_least_hashes() -> None:
    names = [f"u{n}" for n in range(300)]
    samples = []
    for order in (names, names[::-1], names + names):
        answers = [Response("a", START_MS + 1, None, name) for name in order]
        samples.append(hashes(final(fed([APPEAL, *answers, FAR]))))
    assert samples[0] == samples[1] == samples[2] == sorted(set(samples[0]))
    assert len(samples[0]) == 64


# Limits. Reaching one is visible, and changes nothing for what came before.


def test_too_many_open_appeals() -> None:
    collector = collected("a: Ar\nb: .Ar\nd: ..Ar", open_appeals_max=2)
    assert fates(collector) == {
        "appeals": 2,
        "responses": 2,
        "over_limit": 1,
        "unknown_appeal": 1,
    }


def test_what_was_held_counts_as_if_it_had_come_late() -> None:
    plain = [
        Response("a", START_MS + age_ms, None, f"u{age_ms}", value, count)
        for age_ms, value, count in ((-1, None, 1), (1, 2.5, 3), (2, None, 1), (MINUTE_MS, 1.0, 1))
    ]
    odd = [response(2, "1"), response(1, "1"), response(3, "2", exit=True)]
    opens = Tick(START_MS + LATENESS_MS + 1)  # nothing held has expired, and nothing is late
    seen = []
    for events in ([*plain, *odd, APPEAL, FAR], [APPEAL, opens, *plain[1:], *odd[::-1], FAR]):
        collector = fed(events)
        last = final(collector)
        seen.append((last.slots, hashes(last), last.value_micros, last.exits))
        assert fates(collector) == {
            **{"appeals": 1, "responses": 4, "exits": 1, "duplicate": 1},
            **({"unknown_appeal": 1, "ticks": 1} if events[0] is plain[0] else {"ticks": 2}),
        }
    assert seen[0] == seen[1]
    assert (seen[0][2], seen[0][3], len(seen[0][1])) == (3_500_000, 1, 3)


def test_too_many_held_responses() -> None:
    collector = collected("a: rrrr", held_responses_max=2)
    assert fates(collector) == {"over_limit": 1, "unknown_appeal": 3}
    assert collector.state.held_count == 0


def test_too_many_response_ids() -> None:
    answers = [response(n, str(n)) for n in range(5)]
    collector = fed([APPEAL, *answers, *answers[:2], FAR], response_ids_max=3)
    assert fates(collector)["over_limit"] == 2
    assert fates(collector)["duplicate"] == 2


def test_orphans_of_one_id_cost_no_more_than_others() -> None:
    """They expire in batches; looking through all of them for each took their number squared."""
    orphans = [Response("nobody", START_MS + 10 * n) for n in range(100_000)]
    collector = fed([*orphans, FAR])  # type: ignore[list-item]
    assert fates(collector) == {"unknown_appeal": 100_000, "ticks": 1}
    assert len(collector._agenda) == 0


# Sources and time.


def test_the_slowest_source_sets_the_pace() -> None:
    collector = Collector(small_settings())
    for name in ("fast", "slow"):
        collector.declare(name)
    collector.receive(Block("fast", [0, 1], [APPEAL, FAR]))
    assert collector.messages == []
    collector.receive(Block("slow", [0], [response(MINUTE_MS, "1")]))
    collector.finish("slow")
    assert final(collector).responses == 1


def test_late_is_by_the_watermark_not_by_the_source() -> None:
    collector = Collector(small_settings())
    for name in ("fast", "slow"):
        collector.declare(name)
    collector.receive(Block("fast", [0, 1], [FAR, response(0, "1")]))
    assert fates(collector) == {"ticks": 1}, "slow may still bring something older"


def test_nothing_may_come_after_the_end() -> None:
    collector = fed([APPEAL])
    collector.receive(Block("s", [0], [APPEAL]))  # redelivered
    with pytest.raises(AssertionError, match="s: an event after the end"):
        collector.receive(Block("s", [1], [FAR]))


def test_redelivered_events_are_counted_apart() -> None:
    collector = fed([APPEAL, response(1, "1")], end=False)
    collector.receive(Block("s", [0, 1, 2], [APPEAL, response(1, "1"), response(2, "2")]))
    collector.finish("s")
    assert fates(collector) == {"redelivered": 2, "appeals": 1, "responses": 2}


def test_an_appeal_may_be_named_by_a_number() -> None:
    appeal = msgspec.structs.replace(APPEAL, appeal_id="7")
    events = [
        appeal,
        Arrived(7, 0.0),
        Arrived(7, 0.0, 1),
        Arrived("7", 0.0, "1"),
        FAR,
        Arrived(7, 0.0),
    ]
    times = [START_MS, *[START_MS + LATENESS_MS] * 3, FAR.time_ms, FAR.time_ms]
    collector = Collector(small_settings())
    for index, (event, time_ms) in enumerate(zip(events, times, strict=True)):
        collector.receive(Block("s", [index], [event], times=[time_ms]))
    assert fates(collector) == {"appeals": 1, "responses": 2, "duplicate": 1, "ticks": 1}
    assert final(collector, "7").responses == 2
    assert collector.state.held["7"]


def test_ticks_behind_the_watermark_are_no_news() -> None:
    collector = fed([FAR, Tick(START_MS), FAR], end=False)
    before = collector.watermark_ms()
    collector.receive(Block("s", [3], [Tick(START_MS - 1)]))
    assert collector.watermark_ms() == before
    assert fates(collector) == {"ticks": 4}


def test_rejects_name_the_place_in_the_table_they_came_from() -> None:
    collector = Collector(small_settings())
    orphan = Response("nobody", START_MS)
    collector.receive(Block("m", [0, 1], [orphan, FAR], ["gifts.csv", ""], [17, 0]))
    (reject,) = collector.rejects
    assert (reject.source, reject.line, reject.reason) == ("gifts.csv", 17, "unknown_appeal")


@pytest.mark.parametrize("horizon_ms", [60_000, 61_001, 86_400_000, 7 * 86_400_000])
def test_slots_lie_in_their_bins(horizon_ms: int) -> None:
    collector = Collector(small_settings(horizon_ms=horizon_ms, allowed_lateness_ms=0))
    grid = collector.grid
    assert len(collector._bin_of_slot) == grid.slots
    for slot, index in enumerate(collector._bin_of_slot):
        assert (grid.edges_slot[index - 1] if index else 0) <= slot < grid.edges_slot[index]
    assert set(Counter(collector._bin_of_slot)) == set(range(grid.bins))
