"""The contract: facts are a function of the events and the settings, and of nothing else.

Most properties look at the messages to the learner, in the order in which they are learned: facts
are a function of them alone. The last ones run the models too.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import (
    Crash,
    Deliver,
    Log,
    Outcome,
    Redeliver,
    Save,
    Simulation,
    Step,
    by_appeal,
    by_type,
    one_log,
    plans,
)
from stories import an_emulated_trick_wears_out, rest_restores_it, told
from strategies import (
    DAY_MS,
    HORIZON_MS,
    HOUR_MS,
    LATENESS_MS,
    START_MS,
    WEEK_MS,
    Event,
    in_time_order,
    shuffled,
    small_settings,
    streams,
)

from streams.events import Appeal, Rejected, Response, Tick
from streams.settings import Settings

SETTINGS = small_settings()
# With the models running an example costs a hundred times as much.
FEW = max(5, settings.default.max_examples // 10)
# By then every appeal that `streams` draws is final.
LONG_AFTER_MS = START_MS + 30 * DAY_MS


def fault_free(events: list[Event], **how: Any) -> Outcome:
    return Simulation(how.pop("settings", SETTINGS), one_log(events), **how).run()


def agree(one: Outcome, other: Outcome) -> None:
    assert one.facts == other.facts
    assert one.rejects == other.rejects
    assert one.fates == other.fates


def conserved(outcome: Outcome, events: list[Event]) -> None:
    """Every event has one fate, and every reject is one of them."""
    assert sum(outcome.fates.values()) == len(events)
    kept = {"appeals", "responses", "exits", "ticks"}
    rejected = Counter({fate: n for fate, n in outcome.fates.items() if fate not in kept})
    assert rejected == Counter(reason for reason, _, _ in outcome.rejects.elements())


# Arrival.


@given(st.data(), streams())
def test_order_of_arrival_leaves_no_trace(data: st.DataObject, events: list[Event]) -> None:
    expected = fault_free(events)
    conserved(expected, events)
    agree(fault_free(data.draw(shuffled(events))), expected)


@given(st.data(), streams())
def test_cuts_redeliveries_and_crashes_leave_no_trace(
    data: st.DataObject, events: list[Event]
) -> None:
    agree(Simulation(SETTINGS, one_log(events)).run(data.draw(plans(1))), fault_free(events))


@given(st.data(), streams())
def test_responses_may_come_as_they_are_decoded(data: st.DataObject, events: list[Event]) -> None:
    logs = data.draw(st.sampled_from([one_log, by_type]))(data.draw(shuffled(events)))
    got = Simulation(SETTINGS, logs, arrived=True).run(data.draw(plans(len(logs))))
    agree(got, fault_free(events))


@given(st.data(), streams())
def test_partitions_leave_no_trace(data: st.DataObject, events: list[Event]) -> None:
    logs = by_appeal(data.draw(shuffled(events)), data.draw(st.integers(1, 4)))
    agree(Simulation(SETTINGS, logs).run(data.draw(plans(len(logs)))), fault_free(events))


@given(st.data(), streams())
def test_appeals_and_responses_may_come_apart(data: st.DataObject, events: list[Event]) -> None:
    logs = by_type(data.draw(shuffled(events)))
    agree(Simulation(SETTINGS, logs).run(data.draw(plans(2))), fault_free(events))


@given(st.data(), streams())
def test_a_collector_says_the_same_in_the_same_order(
    data: st.DataObject, events: list[Event]
) -> None:
    """Messages are numbered, so that a restarted collector may say again what it has said."""
    said = []
    for one in (events, data.draw(shuffled(events))):
        simulation = Simulation(SETTINGS, one_log(one))
        simulation.pipeline.learner = _Silent()
        simulation.run(data.draw(plans(1).map(_without_crashes)))
        said.append(simulation.pipeline.learner.said)
    assert said[0] == said[1]


class _Silent:
    """In a learner's place: keeps what one collector says as it was said."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.facts: list[Any] = []

    def receive(self, envelope: Any) -> None:
        assert envelope.sequence == len(self.said)
        self.said += map(msgspec.json.encode, envelope.messages)


def _without_crashes(plan: list[Any]) -> list[Any]:
    return [step for step in plan if isinstance(step, Deliver)]


@given(st.data(), streams())
def test_what_is_too_late_is_rejected_once_and_changes_nothing(
    data: st.DataObject, events: list[Event]
) -> None:
    closing = Tick(max(e.time_ms for e in events) + LATENESS_MS)
    late = [e for e in data.draw(streams(ids="late-")) if e.time_ms < closing.time_ms - LATENESS_MS]
    with_late, without = fault_free([*events, closing, *late]), fault_free([*events, closing])
    assert with_late.facts == without.facts
    rejects = with_late.rejects - without.rejects
    assert Counter(reason for reason, _, _ in rejects.elements()) == Counter(late=len(late))
    conserved(with_late, [*events, closing, *late])


@given(st.data(), streams())
def test_what_has_an_id_may_be_sent_twice(data: st.DataObject, events: list[Event]) -> None:
    named = [e for e in events if isinstance(e, Appeal) or getattr(e, "response_id", None)]
    again = data.draw(st.lists(st.sampled_from(named), max_size=9))
    sent = data.draw(shuffled(in_time_order([*events, *again])))
    assert fault_free(sent).facts == fault_free(events).facts
    conserved(fault_free(sent), sent)


@given(st.data(), streams())
def test_poison_changes_nothing_else(data: st.DataObject, events: list[Event]) -> None:
    poison = Rejected("all", 0, "not_json", None, "\x00")
    poisoned: list[Any] = list(events)
    for place in data.draw(st.lists(st.integers(0, len(events)), max_size=5)):
        poisoned.insert(place, poison)
    expected, got = fault_free(events), fault_free(poisoned)
    assert got.facts == expected.facts
    assert sum((got.rejects - expected.rejects).values()) == len(poisoned) - len(events)
    conserved(got, poisoned)


# Time.


@given(st.data(), streams())
def test_facts_do_not_look_ahead(data: st.DataObject, events: list[Event]) -> None:
    """What has been said is a beginning of what will have been said, whatever may come."""
    known = data.draw(st.integers(0, len(events)))
    simulation = Simulation(SETTINGS, one_log(events))
    simulation._do(Deliver(0, known))
    said = list(simulation.facts)
    other_future = [
        e for e in data.draw(streams(ids="later-")) if e.time_ms >= _newest(events[:known])
    ]
    for future in (events[known:], other_future):
        assert fault_free([*events[:known], *future]).facts[: len(said)] == said


def _newest(events: list[Event]) -> int:
    return max((event.time_ms for event in events), default=START_MS)


@given(st.data(), streams())
def test_ticks_only_say_sooner_what_will_be_said(data: st.DataObject, events: list[Event]) -> None:
    ticked: list[Event] = []
    for event in events:
        ahead_ms = data.draw(st.none() | st.integers(-DAY_MS, LATENESS_MS))
        if ahead_ms is not None:
            ticked.append(Tick(event.time_ms + ahead_ms))
        ticked.append(event)
    last = Tick(LONG_AFTER_MS)
    expected, got = fault_free([*events, last]), fault_free([*ticked, last])
    assert (got.facts, got.rejects) == (expected.facts, expected.rejects)
    conserved(got, [*ticked, last])


@given(streams(), st.integers(0, 3 * HORIZON_MS), st.integers(0, 3 * HORIZON_MS))
def test_two_ticks_equal_the_later_one(events: list[Event], some_ms: int, more_ms: int) -> None:
    newest_ms = _newest(events)
    first, later = Tick(newest_ms + some_ms), Tick(newest_ms + some_ms + more_ms)
    for ticks in ([first, later], [later, first], [later, later]):
        simulation = Simulation(SETTINGS, one_log([*events, *ticks]))
        simulation._do(Deliver(0, len(events) + 2))
        one = Simulation(SETTINGS, one_log([*events, later]))
        one._do(Deliver(0, len(events) + 1))
        assert simulation.facts == one.facts
        said = len(simulation.facts)
        simulation.logs = one_log([*events, *ticks, later])
        simulation._do(Deliver(0, 1))
        assert len(simulation.facts) == said, "an idle tick has nothing to say"


@given(streams(), st.integers(-50, 50))
def test_a_shift_in_time_shifts_what_is_said(events: list[Event], weeks: int) -> None:
    shift_ms = weeks * WEEK_MS
    shifted = [msgspec.structs.replace(e, time_ms=e.time_ms + shift_ms) for e in events]
    expected = [_shifted(line, shift_ms) for line in fault_free(events).facts]
    assert [msgspec.json.decode(line) for line in fault_free(shifted).facts] == expected


def _shifted(line: bytes, shift_ms: int) -> dict[str, Any]:
    said = msgspec.json.decode(line)
    for part in (said, said.get("appeal", {})):
        if "time_ms" in part:
            part["time_ms"] += shift_ms
    return said


# Names.


@given(streams(communities="c"), streams(communities="d", ids="other-"))
def test_a_community_does_not_hear_of_another(one: list[Event], other: list[Event]) -> None:
    last = Tick(LONG_AFTER_MS)
    both = fault_free([*in_time_order([*one, *other]), last])
    for alone in (one, other):
        community = next(e.community for e in alone if isinstance(e, Appeal))
        mark = b'"community":"%s"' % community.encode()
        assert [f for f in both.facts if mark in f] == fault_free([*alone, last]).facts


def renamed(event: Event, prefix: str) -> Event:
    if isinstance(event, Appeal):
        names = {name: prefix + getattr(event, name) for name in ("appealer", "kind", "audience")}
        return msgspec.structs.replace(event, **names)
    if isinstance(event, Response) and event.responder is not None:
        return msgspec.structs.replace(event, responder=prefix + event.responder)
    return event


@given(streams())
def test_renaming_renames_and_no_more(events: list[Event]) -> None:
    expected, got = fault_free(events), fault_free([renamed(event, "z") for event in events])
    assert list(map(_nameless, got.facts)) == list(map(_nameless, expected.facts))
    assert got.fates == expected.fates


def _nameless(line: bytes) -> dict[str, Any]:
    said = msgspec.json.decode(line)
    said["responders"] = len(said.get("responders", ()))
    for name in ("appealer", "kind", "audience"):
        said.get("appeal", {}).pop(name, None)
    return said


# The same with the models running.


@pytest.mark.parametrize("until_next_appeal", [False, True])
@settings(max_examples=FEW)
@given(data=st.data(), events=streams())
def test_facts_are_a_function_of_the_events(
    until_next_appeal: bool, data: st.DataObject, events: list[Event]
) -> None:
    how = small_settings(until_next_appeal=until_next_appeal)
    events = [*events, Tick(LONG_AFTER_MS)]
    expected = fault_free(events, settings=how, learning=True)
    logs = by_appeal([*data.draw(shuffled(events[:-1])), events[-1]], data.draw(st.integers(1, 4)))
    got = Simulation(how, logs, learning=True).run(data.draw(plans(len(logs))))
    assert got.facts == expected.facts
    assert any(b'"stage":"final"' in line for line in got.facts)


@settings(max_examples=FEW)
@given(data=st.data(), events=streams())
def test_facts_do_not_look_ahead_either(data: st.DataObject, events: list[Event]) -> None:
    simulation = Simulation(SETTINGS, one_log(events), learning=True)
    simulation._do(Deliver(0, data.draw(st.integers(0, len(events)))))
    said = list(simulation.facts)
    assert fault_free(events, learning=True).facts[: len(said)] == said


@settings(max_examples=FEW)
@given(events=streams(communities="c"), other=streams(communities="d", ids="other-"))
def test_facts_keep_to_their_community(events: list[Event], other: list[Event]) -> None:
    last = Tick(LONG_AFTER_MS)
    both = fault_free([*in_time_order([*events, *other]), last], learning=True)
    alone = fault_free([*events, last], learning=True)
    assert [fact for fact in both.facts if b'"community":"c"' in fact] == alone.facts


@settings(max_examples=FEW)
@given(events=streams(), weeks=st.integers(-50, 50))
def test_facts_shift_and_rename_with_the_events(events: list[Event], weeks: int) -> None:
    """Only nearly: what is 12 digits of a day at one date is 13 at another."""
    events = [*events, Tick(LONG_AFTER_MS)]
    moved = [
        msgspec.structs.replace(renamed(e, "z"), time_ms=e.time_ms + weeks * WEEK_MS)
        for e in events
    ]
    expected, got = fault_free(events, learning=True), fault_free(moved, learning=True)
    assert len(got.facts) == len(expected.facts)
    for one, other in zip(got.facts, expected.facts, strict=True):
        assert _numbers(one) == pytest.approx(_numbers(other), rel=1e-4)


def _numbers(line: bytes) -> dict[str, Any]:
    said = msgspec.json.decode(line)
    return {name: value for name, value in said.items() if type(value) in (int, float)}


# Heavier and fixed.


def any_plan(rng: Random, logs: int) -> list[Step]:
    """Portions in any order, one in four of them a fault."""
    plan: list[Step] = []
    for _ in range(60):
        log, count = rng.randrange(logs), rng.randrange(1, 60)
        faults: list[Step] = [Redeliver(log, count, rng.randrange(9)), Save(), Crash()]
        plan.append(rng.choice([Deliver(log, count)] * 9 + faults))
    return plan


def among_faults(seed: int) -> None:
    rng = Random(seed)
    how = Settings(until_next_appeal=seed % 2 == 0)
    *events, last = told(rng.choice([rest_restores_it, an_emulated_trick_wears_out])())
    arrival = sorted(events, key=lambda e: e.time_ms + rng.randrange(how.allowed_lateness_ms + 1))
    logs = by_appeal([*arrival, last], 1 + seed % 4)
    got = Simulation(how, logs, learning=True).run(any_plan(rng, len(logs)))
    assert got.facts == fault_free([*events, last], settings=how, learning=True).facts


# 71: once, what a model restored knew of jumps was newer than before. The others: once, a restored
# series did not know its latest appeal again, and was judged by another.
@pytest.mark.parametrize("seed", [1, 71, 94, 97])
def test_a_story_among_faults_is_the_same_story(seed: int) -> None:
    among_faults(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_stories_among_faults(seed: int) -> None:
    among_faults(seed)


def test_a_silent_partition_holds_back_until_a_tick_speaks_for_it() -> None:
    appeal = Appeal("p", START_MS, "ann", "help", "ann", "c", 1.0, None, {})
    far = Tick(START_MS + 2 * HORIZON_MS)
    logs = [Log("all", 0, [appeal, far]), Log("all", 1, [far])]
    simulation = Simulation(SETTINGS, logs)
    simulation._do(Deliver(0, 2))
    assert simulation.facts == []
    simulation._do(Deliver(1, 1))
    assert len(simulation.facts) > 1


def test_a_source_that_comes_later_does_not_turn_time_back() -> None:
    simulation = Simulation(SETTINGS, one_log([Tick(START_MS)]))
    simulation._do(Deliver(0, 1))
    before_ms = simulation.pipeline.learner.watermark_ms()
    simulation.pipeline.declare("another")
    assert simulation.pipeline.collectors[0].watermark_ms() == before_ms
    simulation.logs = [*simulation.logs, Log("another", 0, [Tick(before_ms - HOUR_MS)])]
    simulation._do(Deliver(1, 1))
    assert simulation.pipeline.collectors[0].watermark_ms() == before_ms
