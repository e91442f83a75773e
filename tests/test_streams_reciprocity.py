"""Who answered others: counted as a dictionary would, whatever the table looks like."""

from __future__ import annotations

from math import exp2, log1p
from random import Random
from zlib import crc32

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.hashed_sums import HASHES, HashedSums, least
from streams.packing import HASH, packed
from streams.reciprocity import HALF_LIFE_MS, Reciprocity, ReciprocityState
from streams.state import pack, unpack

RESPONDERS_MAX = 20
NAMES = [f"person {number}" for number in range(40)]
# Names' own hashes, least ones as samples have them, and the greatest.
HASHED = [*(crc32(name.encode()) for name in NAMES), *range(8), 0xFFFFFFFF]

samples = st.lists(st.sampled_from(HASHED), unique=True, max_size=12)
answers = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 90), samples), max_size=40)
DAY_MS = 86_400_000


def learned(
    calls: list[tuple[str, int, list[int]]], state: ReciprocityState | None = None
) -> Reciprocity:
    reciprocity = Reciprocity(RESPONDERS_MAX, state)
    for name, day, responders in calls:
        reciprocity.learn(name, day * DAY_MS, packed(responders, HASH), 2 * len(responders))
    return reciprocity


def counted(calls: list[tuple[str, int, list[int]]]) -> tuple[dict[int, float], int]:
    """The same with a dictionary: sums, and how many were forgotten."""
    given: dict[int, float] = {}
    forgotten, since_ms = 0, None
    for name, day, responders in calls:
        if not responders:
            continue
        since_ms = day * DAY_MS if since_ms is None else since_ms
        weight = 2.0 * exp2((day * DAY_MS - since_ms) / HALF_LIFE_MS)
        for hashed in responders:
            if hashed != crc32(name.encode()):
                given[hashed] = given.get(hashed, 0.0) + weight
        if len(given) > RESPONDERS_MAX:
            least = sorted(given, key=lambda hashed: (given[hashed], hashed))
            for hashed in least[: len(given) - 3 * RESPONDERS_MAX // 4]:
                del given[hashed]
                forgotten += 1
    return given, forgotten


@given(answers)
def test_those_who_gave_least_are_forgotten(calls: list[tuple[str, int, list[int]]]) -> None:
    reciprocity, (given, forgotten) = learned(calls), counted(calls)
    assert reciprocity.state().given == sorted(given.items())
    assert reciprocity.forgotten == forgotten


@given(answers, st.randoms(use_true_random=False), st.integers(0, 40))
def test_neither_order_nor_a_restart_leaves_a_trace(
    calls: list[tuple[str, int, list[int]]], random: Random, cut: int
) -> None:
    whole = learned(calls).state()
    state = learned(calls[:cut]).state()
    random.shuffle(state.given)  # as older snapshots have them
    restored = unpack(pack(state), ReciprocityState)
    shuffled = [(name, day, random.sample(some, len(some))) for name, day, some in calls[cut:]]
    assert pack(learned(shuffled, restored).state()) == pack(whole)


def test_answers_fade_and_ones_own_do_not_count() -> None:
    own = crc32(b"ann")
    reciprocity = Reciprocity(10)
    reciprocity.learn("bob", 0, packed([own, crc32(b"bob")], HASH), 6)
    assert reciprocity.of("ann", 0) == log1p(3.0)
    assert reciprocity.of("ann", HALF_LIFE_MS) == log1p(1.5)
    assert reciprocity.of("bob", 0) == 0.0
    long_after_ms = 600 * HALF_LIFE_MS  # all sums are written anew
    assert 0.0 < reciprocity.of("ann", long_after_ms) < 1e-100
    assert reciprocity.state().since_ms == long_after_ms


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0.0, 1e9)), max_size=400))
def test_sums_are_those_of_a_dictionary(items: list[tuple[int, float]]) -> None:
    sums, expected = HashedSums(), dict[int, float]()
    for hashed, weight in items:
        sums.add(np.array([hashed], HASHES), weight, but=-1)
        expected[hashed] = expected.get(hashed, 0.0) + weight
    assert sums.items() == sorted(expected.items())
    assert all(sums.of(hashed) == given for hashed, given in expected.items())
    assert HashedSums(expected.items()).items() == sums.items()
    sums.scale(0.5)
    assert all(sums.of(hashed) == 0.5 * given for hashed, given in expected.items())


@given(st.lists(st.sampled_from(HASHED), max_size=40), st.integers(1, 20))
def test_the_least_are_those_of_a_set(hashes: list[int], most: int) -> None:
    assert least(packed(hashes, HASH), most) == packed(sorted(set(hashes))[:most], HASH)
