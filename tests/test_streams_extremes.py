"""What the codec lets through is learned from, however absurd: nothing raises, all is finite."""

from __future__ import annotations

import random

import pytest

from models.gaps import Gaps
from streams.collector import Block
from streams.events import Appeal, Response
from streams.facts import encode_fact
from streams.packing import HASH, packed
from streams.pipeline import Pipeline
from streams.reciprocity import Reciprocity
from streams.settings import Settings

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
START_MS = 1_231_000_000_000
APPEALS = 250


def stream(seed: int) -> list[Appeal | Response]:
    rng = random.Random(seed)
    reaches = rng.choice([[1e-5], [0.01, 100.0], [100.0, 1e4], [1e6], [1e12]])
    counts = rng.choice([[0], [0, 1, 300], [0, 1, 10**6, 10**9], [10**9]])
    events: list[Appeal | Response] = []
    for number in range(APPEALS):
        time_ms = START_MS + number * rng.choice([0, HOUR_MS, 30 * HOUR_MS])
        who = f"a{rng.randrange(5)}"
        attributes = {"size": rng.choice([0.0, 1.0, -1e6, 1e6])} if seed % 2 else {}
        appeal = Appeal(
            *(f"{number}", time_ms, who, f"k{rng.randrange(2)}", who, "c"),
            *(rng.choice(reaches), None, attributes),
        )
        events.append(appeal)
        count = rng.choice(counts)
        if count:
            events.append(Response(f"{number}", time_ms + rng.randrange(6 * HOUR_MS), count=count))
    return sorted(events, key=lambda event: (event.time_ms, isinstance(event, Response)))


@pytest.mark.parametrize("seed", range(24))
def test_absurd_reaches_counts_and_attributes_are_learned_from(seed: int) -> None:
    pipeline = Pipeline(Settings())
    events = stream(seed)
    pipeline.declare("s")
    pipeline.receive(Block("s", range(len(events)), events))
    pipeline.finish("s")
    facts, rejects = pipeline.take()
    assert not rejects
    assert len(facts) >= 2 * APPEALS
    for fact in facts:
        encode_fact(fact)  # refuses what is not finite


def test_a_time_long_before_all_others_leaves_no_trace_in_reciprocity() -> None:
    reciprocity = Reciprocity(100)
    reciprocity.of("nobody", START_MS - 45 * YEAR_MS)
    reciprocity.learn("somebody", START_MS - 45 * YEAR_MS, packed([1, 2, 3], HASH), 3)
    for _ in range(2):
        assert all(reciprocity.of(name, START_MS) < 1e-9 for name in ("somebody", "nobody"))


def test_appeals_learned_out_of_their_order_keep_the_span_of_a_kind() -> None:
    gaps = Gaps()
    for days in (10.0, 9.5, 12.0):
        gaps.notice(days, float("-inf"), "k")
    assert gaps.of_kind_days("k") == 1.25
