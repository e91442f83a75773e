"""The incremental e-BH selects what its definition selects, and false discoveries stay rare."""

from __future__ import annotations

import math
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evidence import HALF_LIFE_NODES, SeriesEvidence
from models.multiplicity import LiveEvidence
from models.stock import HALF_LIVES_DAYS


def by_definition(log_e: dict[str, float], alpha: float) -> set[str]:
    """Return the k* largest, k* = max {k : e_(k) >= n / (alpha k)}, word for word."""
    ranked = sorted(log_e, key=lambda key: -log_e[key])
    largest = 0
    for k, key in enumerate(ranked, start=1):
        if log_e[key] >= math.log(len(ranked) / k) - math.log(alpha):
            largest = k
    least = log_e[ranked[largest - 1]] if largest else math.inf
    return {key for key in ranked if log_e[key] >= least}


actions = st.lists(
    st.tuples(
        st.sampled_from([f"s{i}" for i in range(12)]),
        st.one_of(st.none(), st.floats(-5.0, 12.0), st.sampled_from([3.0, 4.0, -math.log(0.1)])),
    ),
    max_size=60,
)


@settings(derandomize=True)
@given(actions, st.sampled_from([0.05, 0.1, 0.5]))
def test_selects_what_the_definition_selects(
    history: list[tuple[str, float | None]], alpha: float
) -> None:
    live, expected = LiveEvidence(alpha), dict[str, float]()
    for key, log_e in history:
        if log_e is None:
            live.remove(key)
            expected.pop(key, None)
        else:
            live.update(key, log_e)
            expected[key] = log_e
        selected = {name for name in expected if live.selected(name)}
        assert selected == by_definition(expected, alpha)
        assert len(live) == len(expected)


@settings(derandomize=True)
@given(actions)
def test_state_continues_identically(history: list[tuple[str, float | None]]) -> None:
    live, other = LiveEvidence(), LiveEvidence()
    for key, log_e in history:
        live.update(key, log_e or 0.0)
    other.restore(live.state())
    assert other.state() == live.state() and other.threshold() == live.threshold()


def test_nothing_is_selected_where_nothing_is_known() -> None:
    live = LiveEvidence()
    assert live.threshold() == math.inf and not live.selected("nobody")
    live.update("one", math.log(9.9))
    assert not live.selected("one")


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan, -0.1])
def test_refuses_an_alpha_that_is_none(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        LiveEvidence(alpha)


@pytest.mark.parametrize("log_e", [math.nan, math.inf])
def test_refuses_evidence_that_is_not_a_number_and_stays_as_it_was(log_e: float) -> None:
    live = LiveEvidence()
    live.update("one", 3.0)
    before = live.state()
    with pytest.raises(ValueError, match="log_e"):
        live.update("one", log_e)
    assert live.state() == before


def test_an_update_does_not_slow_down_with_the_number_of_series() -> None:
    """A hundred thousand series: an update and a question stay far below a millisecond."""
    rng = random.Random(1)
    live = LiveEvidence()
    for i in range(100_000):
        live.update(f"s{i}", rng.gauss(0.0, 2.0))
    began = time.perf_counter()
    for i in range(2_000):
        live.update(f"s{i}", rng.gauss(0.0, 2.0))
        live.selected(f"s{i}")
    assert (time.perf_counter() - began) / 2_000 < 5e-4


def false_and_true_discoveries(
    rng: np.random.Generator, count: int, appeals: int, phi: float, worn_share: float
) -> tuple[float, float]:
    """Return false discovery proportion and power, latched, e-BH asked after each appeal."""
    half_lives = HALF_LIVES_DAYS[HALF_LIFE_NODES]
    worn_count = int(count * worn_share)
    beta = np.where(np.arange(count) < worn_count, rng.uniform(0.15, 0.5, count), 0.0)
    baseline = np.exp(rng.normal(0.0, 0.5, count))
    expected = np.exp(rng.normal(math.log(100.0), 0.8, count))
    gaps = rng.exponential(7.0, (count, appeals))
    stocks = np.zeros((count, 3))
    felt = np.zeros(count)  # the true stock, half-life 21 days
    detectors = [SeriesEvidence() for _ in range(count)]
    live, latched = LiveEvidence(alpha=0.10), np.zeros(count, dtype=bool)
    for n in range(appeals):
        mean = expected * baseline * np.exp(-beta * felt) * rng.gamma(phi, 1.0 / phi, count)
        responses = rng.poisson(mean)
        for i, detector in enumerate(detectors):
            detector.learn_one(
                float(n), int(responses[i]), float(expected[i]), 0.5, phi, stocks[i], n + 1
            )
            live.update(str(i), detector.log_e_worn)
        threshold = live.threshold()
        latched |= np.array([detector.log_e_worn >= threshold for detector in detectors])
        stocks = (stocks + 1.0) * np.exp2(-gaps[:, n, None] / half_lives)
        felt = (felt + 1.0) * np.exp2(-gaps[:, n] / 21.0)
    false = latched[worn_count:].sum() / max(latched.sum(), 1)
    return float(false), float(latched[:worn_count].mean())


def test_false_discoveries_and_power_among_six_hundred_series() -> None:
    false, power = false_and_true_discoveries(np.random.default_rng(1), 600, 20, 10.0, 0.1)
    assert false <= 0.05 and power >= 0.6


@pytest.mark.slow
def test_false_discoveries_and_power_among_ten_thousand_series() -> None:
    false, power = false_and_true_discoveries(np.random.default_rng(2), 10_000, 20, 10.0, 0.1)
    assert false <= 0.05 and power >= 0.75
