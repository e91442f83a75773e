"""Every state, basis, reason and action is reached by the numbers that should reach it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models.plan import AskAgain
from models.repeats import repeats_needed
from models.verdict import CANNOT_TELL, Ruling, Standing, Thresholds, rule

STATES = ("unknown", "fresh", "tiring", "worn_out", "recovering", "rising")
REST = AskAgain(30.0, 20.0, 45.0)


def standing(
    retention: float, spread: float = 1.1, state: str = "unknown", **more: object
) -> Standing:
    """Return a standing with an interval of `retention` times and over `spread`."""
    given: dict[str, object] = {
        "state": state,
        "reference": retention,
        "repeat": 4,
        "retention": retention,
        "low": retention / spread,
        "high": retention * spread,
        "high_99": retention * spread**1.6,
        **more,
    }
    return Standing(**given)  # type: ignore[arg-type]


def verdict(
    retention: float, spread: float = 1.1, state: str = "unknown", **more: object
) -> Ruling:
    return rule(standing(retention, spread, state, **more), Thresholds())


@pytest.mark.parametrize(
    ("retention", "spread", "expected"),
    [
        (1.0, 1.05, "fresh"),
        (0.6, 1.1, "tiring"),
        (0.3, 1.1, "worn_out"),
        (1.5, 1.1, "rising"),
        (0.8, 1.3, "unknown"),  # leans down, not credibly
        (1.0, 1.5, "unknown"),
        (0.3, 3.0, "unknown"),
        (1.3, 1.3, "fresh"),  # leans up, not credibly; credibly no wear-out
        (1.3, 1.6, "unknown"),
    ],
)
def test_from_unknown(retention: float, spread: float, expected: str) -> None:
    ruling = verdict(retention, spread)
    assert (ruling.state, ruling.basis) == (expected, "expected")


def test_between_ninety_and_ninety_nine_percent_nothing_is_expected_yet() -> None:
    ruling = verdict(0.7, 1.15)  # 90 % limit .805, 99 % limit .875
    assert ruling.state == "unknown"


@pytest.mark.parametrize(
    ("before", "retention", "spread", "reference", "expected"),
    [
        ("fresh", 0.9, 1.3, 1.0, "fresh"),  # not credible any more, but nothing else is either
        ("fresh", 0.8, 1.3, 1.0, "unknown"),
        ("tiring", 0.8, 1.3, 0.75, "tiring"),
        ("tiring", 0.3, 1.1, 0.5, "worn_out"),
        ("tiring", 0.7, 1.05, 0.6, "recovering"),
        ("tiring", 0.68, 1.05, 0.6, "tiring"),  # up by less than 15 %
        ("worn_out", 0.35, 1.1, 0.3, "recovering"),
        ("worn_out", 0.41, 1.1, 0.38, "tiring"),
        ("worn_out", 1.0, 1.05, 0.3, "fresh"),
        ("recovering", 0.35, 1.1, 0.36, "recovering"),  # still low, but has not turned
        ("recovering", 0.35, 1.1, 0.5, "worn_out"),
        ("recovering", 0.6, 1.1, 0.75, "tiring"),
        ("recovering", 0.9, 1.02, 0.7, "fresh"),
        ("rising", 1.3, 1.6, 1.5, "unknown"),
        ("rising", 0.3, 1.1, 1.5, "worn_out"),
    ],
)
def test_transitions(
    before: str, retention: float, spread: float, reference: float, expected: str
) -> None:
    assert verdict(retention, spread, before, reference=reference).state == expected


def test_the_reference_is_the_low_while_down_and_the_high_while_recovering() -> None:
    path, state, reference = [], "unknown", 1.0
    for retention in (0.6, 0.5, 0.55, 0.6, 0.75, 0.7, 0.62):
        ruling = verdict(retention, 1.05, state, reference=reference)
        state, reference = ruling.state, ruling.reference
        path.append((state, reference))
    assert [state for state, _ in path] == [
        "tiring",
        "tiring",
        "tiring",
        "recovering",
        "recovering",
        "recovering",
        "tiring",
    ]
    assert [reference for _, reference in path] == [0.6, 0.5, 0.5, 0.6, 0.75, 0.75, 0.62]


def test_confirmed_needs_no_credible_forecast() -> None:
    ruling = verdict(0.7, 1.5, worn_confirmed=True)
    assert (ruling.state, ruling.basis, ruling.retention) == ("tiring", "confirmed", 0.7)
    ruling = verdict(1.3, 1.5, rising_confirmed=True)
    assert (ruling.state, ruling.basis) == ("rising", "confirmed")


def test_the_own_estimate_speaks_where_the_forecast_denies_what_is_confirmed() -> None:
    ruling = verdict(1.0, 1.05, worn_confirmed=True, own_estimate=(0.3, 0.2, 0.4))
    assert ruling[:5] == ("worn_out", "confirmed", 0.3, 0.2, 0.4)
    ruling = verdict(1.0, 1.05, rising_confirmed=True, own_estimate=(1.6, 1.3, 2.0))
    assert ruling[:5] == ("rising", "confirmed", 1.6, 1.3, 2.0)


def test_a_wear_out_confirmed_but_small_is_no_tiring() -> None:
    ruling = verdict(0.95, 1.02, worn_confirmed=True, own_estimate=(0.93, 0.9, 0.96))
    assert (ruling.state, ruling.basis) == ("fresh", "expected")


@pytest.mark.parametrize("cannot_tell", sorted(CANNOT_TELL))
def test_what_cannot_be_told_is_unknown_whatever_the_numbers(cannot_tell: str) -> None:
    for before in STATES:
        ruling = verdict(0.3, 1.1, before, worn_confirmed=True, cannot_tell=cannot_tell)
        assert (ruling.state, ruling.basis, ruling.action) == ("unknown", "expected", "wait")
        assert ruling.reason == f"cannot tell: {CANNOT_TELL[cannot_tell]}"


@pytest.mark.parametrize(
    ("retention", "more", "reason", "action"),
    [
        (
            0.3,
            {"own": -1.0, "kind": -0.2, "appeals": 3, "days": 9.2, "ask_again": REST},
            "own repetition: 3 appeals in 9 days",
            "rest",
        ),
        (
            0.3,
            {"own": -1.0, "appeals": 1, "days": 0.2},
            "own repetition: 1 appeal in 1 day",
            "stop",
        ),
        (
            0.5,
            {"own": -0.1, "kind": -0.6, "appeals": 3, "days": 9.0},
            "the kind's repetition: 3 appeals in 9 days",
            "rotate",
        ),
        (
            0.5,
            {"crowd": -0.6, "others": 14, "other_appealers": 9, "other_days": 10.0},
            "the kind's overuse by others: 14 appeals by 9 others in 10 days",
            "rotate",
        ),
        (
            0.5,
            {"worn_confirmed": True, "appeals": 12, "days": 80.0, "ask_again": REST},
            "own responses: 0.50 of a first appeal's, 12 appeals in 80 days",
            "rest",
        ),
        (1.0, {"level": math.log(0.6)}, "the level: everybody fell by 40%", "check"),
        (1.0, {"appeals": 6, "days": 40.0}, "no wear-out: 6 appeals in 40 days", "keep"),
        (
            1.0,
            {"state": "worn_out", "rest_days": 60.4},
            "as new after a rest of 60 days",
            "keep",
        ),
        (1.6, {}, "repeats do better: 1.60 of a first appeal's responses", "keep"),
        (
            0.6,
            {"state": "worn_out", "reference": 0.3, "rest_days": 21.0, "ask_again": REST},
            "0.60 of a first appeal's responses after a rest of 21 days",
            "rest",
        ),
    ],
)
def test_reasons_and_actions(
    retention: float, more: dict[str, object], reason: str, action: str
) -> None:
    ruling = verdict(retention, 1.05, **more)  # type: ignore[arg-type]
    assert (ruling.reason, ruling.action) == (reason, action)
    assert (ruling.ask_again is REST) == (action == "rest")


def test_unknown_says_what_is_missing() -> None:
    ruling = verdict(0.8, 2.0, needed=9)
    assert ruling.action == "wait"
    assert ruling.reason == "somewhere from 0.40 to 1.60: about 9 more repeats needed"
    assert verdict(0.8, 2.0, needed=1).reason.endswith("about 1 more repeat needed")
    assert verdict(0.8, 2.0).reason.endswith("its own repeats alone will not tell")


def test_an_outage_is_not_fatigue() -> None:
    ruling = verdict(0.9, 1.4, level=math.log(0.5))
    assert (ruling.state, ruling.action) == ("unknown", "check")
    assert ruling.reason == "the level: everybody fell by 50%"


@settings(derandomize=True)
@given(
    st.sampled_from(STATES),
    st.floats(0.01, 3.0),
    st.floats(1.0, 4.0),
    st.floats(0.01, 3.0),
    st.booleans(),
    st.booleans(),
)
def test_whatever_comes_the_ruling_keeps_its_own_rules(
    before: str, retention: float, spread: float, reference: float, worn: bool, rising: bool
) -> None:
    given = standing(
        retention, spread, before, reference=reference, worn_confirmed=worn, rising_confirmed=rising
    )
    ruling = rule(given, Thresholds())
    assert ruling == rule(given, Thresholds())
    assert ruling.state in STATES and ruling.low <= ruling.retention <= ruling.high
    if ruling.basis == "confirmed":
        assert (worn and ruling.state in ("tiring", "worn_out")) or (
            rising and ruling.state == "rising"
        )
    if ruling.state == "recovering":
        assert before in ("tiring", "worn_out", "recovering")
    if ruling.state == "fresh":
        assert ruling.retention >= 0.85
    if ruling.state == "rising" and ruling.basis == "expected":
        assert given.low > 1.15


@pytest.mark.parametrize(
    "more",
    [
        {"retention": math.nan},
        {"low": 0.9},
        {"high_99": math.inf},
        {"state": "bored"},
        {"cannot_tell": "moon"},
        {"level": math.nan},
    ],
)
def test_refuses_what_is_no_standing(more: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        rule(replace(standing(0.5), **more), Thresholds())  # type: ignore[arg-type]


def test_more_repeats_are_needed_the_noisier_and_the_less_is_known() -> None:
    by_dispersion = [repeats_needed(100.0, phi, 0.5) for phi in (1e6, 20.0, 10.0, 5.0)]
    assert by_dispersion == sorted(by_dispersion, key=lambda needed: needed or 10**6)
    known = repeats_needed(100.0, 10.0, 0.1) or 0
    assert known < (repeats_needed(100.0, 10.0, 0.5) or 0)
    assert repeats_needed(100.0, 1.0, 0.5) is None


def test_repeats_needed_is_the_gaussian_power_by_brute_force() -> None:
    """The same count, with the covariance matrix inverted instead of the formula."""
    first, phi, sd, wear, half_life, gap = 50.0, 8.0, 0.4, 0.3, 14.0, 5.0
    stocks, evidence = [0.0], 0.0
    while evidence < math.log(20.0) + 0.5:
        stocks.append((stocks[-1] + 1.0) * 2.0 ** (-gap / half_life))
        size = len(stocks)
        covariance = sd**2 * np.ones((size, size)) + (1 / first + 1 / phi) * np.eye(size)
        path = wear * np.array(stocks)
        evidence = path @ np.linalg.solve(covariance, path) / 2.0
    assert repeats_needed(first, phi, sd, wear, half_life, gap) == len(stocks) - 1
