"""Stories, and what is said of them.

`pytest --update-golden` writes what comes out now; the diff is the review.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from stories import (
    STORIES,
    Ask,
    a_repeat_wears_out,
    a_season_is_not_fatigue,
    an_outage_is_not_fatigue,
    nobody_tires,
    rest_restores_it,
    told,
)
from strategies import Event, in_time_order

from streams.collector import Block
from streams.events import Appeal, Estimate, Response
from streams.facts import encode_fact
from streams.pipeline import Pipeline
from streams.settings import Settings


def said(events: list[Event], duplicates: int = 0) -> bytes:
    """All but the estimates made while an appeal runs."""
    pipeline = Pipeline(Settings())
    pipeline.receive(Block("story", range(len(events)), events))
    facts, rejects = pipeline.take()
    assert [reject.reason for reject in rejects] == ["duplicate"] * duplicates
    kept = [f for f in facts if not isinstance(f, Estimate) or f.stage == "final"]
    return b"".join(encode_fact(fact) + b"\n" for fact in kept)


@pytest.mark.parametrize("name", STORIES)
def test_story(name: str, golden: Callable[[str, bytes], None]) -> None:
    golden(f"{name}.jsonl", said(told(STORIES[name]())))


NOT_FATIGUE = (nobody_tires, an_outage_is_not_fatigue, a_season_is_not_fatigue)


@pytest.mark.parametrize("story", NOT_FATIGUE)
def test_nobody_is_accused_without_cause(story: Callable[[], list[Ask]]) -> None:
    assert not states(story) & {("worn_out", "confirmed"), ("tiring", "confirmed")}
    if story is nobody_tires:
        assert {state for state, _ in states(story)} <= {"unknown", "fresh", "rising"}


def test_who_is_worn_out_is_told() -> None:
    assert ("worn_out", "expected") in states(a_repeat_wears_out)
    assert ("worn_out", "confirmed") in states(rest_restores_it)


def states(story: Callable[[], list[Ask]]) -> set[tuple[str, str]]:
    facts = map(msgspec.json.decode, said(told(story())).splitlines())
    return {(fact["state"], fact["basis"]) for fact in facts if "state" in fact}


# What is told twice, or paid a thousandfold, is no other story.


def test_one_huge_donor_changes_nothing_said_of_responses() -> None:
    events = told(a_repeat_wears_out())
    rich = [
        msgspec.structs.replace(event, value=1e9)
        if isinstance(event, Response) and event.appeal_id == "a9"
        else event
        for event in events
    ]
    assert said(rich) == said(events)


def test_a_robot_that_repeats_one_id_is_counted_once() -> None:
    events = told(a_repeat_wears_out())
    clicks = [Response("a9", _time_ms(events, "a9") + n, "click", "robot") for n in range(500)]
    once, often = (in_time_order([*events, *some]) for some in (clicks[:1], clicks))
    assert said(often, duplicates=499) == said(once)


def _time_ms(events: list[Event], appeal_id: str) -> int:
    return next(e.time_ms for e in events if isinstance(e, Appeal) and e.appeal_id == appeal_id)
