"""The branching ratio: how many of the responses earlier responses set off."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.ages import AgeGrid
from models.completion import Completion
from models.surge import RATIOS, Surge, background, excited

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
WEEK_MS = 168 * HOUR_MS
GRID = AgeGrid(WEEK_MS)
BIN_EDGES = np.array((0, *GRID.edges_ms))
SLOT_EDGES = np.array([GRID.start_ms(slot) for slot in range(GRID.slots + 1)])
Floats = NDArray[np.float64]


def ages(rng: np.random.Generator, mean: float, ratio: float, median_ms: float) -> Floats:
    """Draw the ages of responses: log-normal immigrants, offspring after 29 minutes on average."""
    generation = median_ms * np.exp(1.5 * rng.standard_normal(rng.poisson(mean * (1.0 - ratio))))
    everybody = [generation]
    while len(generation):
        generation = np.repeat(generation, rng.poisson(ratio, len(generation)))
        generation = generation + rng.exponential(29.0 * MINUTE_MS, len(generation))
        everybody.append(generation)
    drawn = np.concatenate(everybody)
    return drawn[drawn < WEEK_MS]


def by_slot(drawn: Floats) -> list[int]:
    counts = np.histogram(drawn, SLOT_EDGES)[0]
    slots = np.flatnonzero(counts)
    flat: list[int] = np.stack((slots, counts[slots]), axis=1).ravel().tolist()
    return flat


def appeals(seed: int, number: int, mean: float, ratio: float, wobble: float = 0.0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    medians_ms = 6 * HOUR_MS * np.exp(wobble * rng.standard_normal(number))
    return [ages(rng, mean, ratio, median_ms) for median_ms in medians_ms]


def density_of(drawn: list[Floats]) -> Floats:
    """Learn the completion curve from the surged responses themselves, as the product does."""
    completion = Completion(GRID)
    for number, one in enumerate(drawn):
        counts = np.histogram(one, BIN_EDGES)[0].tolist()
        for start, end in zip((0, *GRID.checkpoints[:-1]), GRID.checkpoints, strict=True):
            time_ms = number * 5 * HOUR_MS
            completion.learn_one("k", time_ms, start, counts[start:end], sum(counts[:start]))
    completion.refit()
    return completion.density("k", 0)


def fitted(drawn: list[Floats]) -> tuple[Surge, list[float]]:
    surge, own = Surge(GRID, every=1), []
    density = density_of(drawn)
    for one in drawn:
        ratio = surge.learn_one("k", by_slot(one), density)
        if ratio is not None:
            own.append(ratio)
    return surge, own


@pytest.mark.parametrize("true", [0.0, 0.5])
def test_a_kind_shows_its_ratio_though_its_curve_was_learned_from_the_surge(true: float) -> None:
    surge, own = fitted(appeals(seed=1, number=30, mean=250.0, ratio=true))
    known = surge.ratio("k")
    assert known is not None
    ratio, low, high = known
    assert ratio == pytest.approx(true, abs=0.1)
    assert low <= true <= high
    assert np.mean(own) == pytest.approx(true, abs=0.15)


def test_appeals_of_different_pace_are_no_surge() -> None:
    surge, _ = fitted(appeals(seed=2, number=30, mean=250.0, ratio=0.0, wobble=0.5))
    known = surge.ratio("k")
    assert known is not None and known[0] < 0.2


def test_background_is_the_sum_over_slots() -> None:
    rng = np.random.default_rng(3)
    expected, past = rng.gamma(1.0, size=500), rng.gamma(1.0, size=500)
    naive = [np.maximum(expected - ratio * past, 0.05 * expected).sum() for ratio in RATIOS]
    assert background(expected, past, expected.sum()) == pytest.approx(naive)


def test_past_responses_decay_through_fine_and_coarse_slots() -> None:
    surge = Surge(GRID)
    kernel = 1
    mean_ms = 29 * MINUTE_MS * (WEEK_MS / 350) / (29 * MINUTE_MS)
    came = np.zeros(GRID.slots)
    came[1400] = 1.0  # forty minutes before slots widen
    set_off = excited(came, GRID.fine_slots, *surge._stay[kernel])
    assert set_off[:1401].sum() == 0.0
    assert set_off.sum() == pytest.approx(1.0, abs=1e-6)
    ends = SLOT_EDGES[1:]
    passed = 1.0 - np.exp(-(ends - ends[1400]) / mean_ms)
    assert np.cumsum(set_off)[1401:] == pytest.approx(passed[1401:], abs=1e-9)


def test_few_responses_say_nothing() -> None:
    surge, density = Surge(GRID), np.full(GRID.bins, 1.0 / GRID.bins)
    assert surge.learn_one("k", [3, 49], density) is None
    assert surge.ratio("k") is None
    assert surge.learn_one("k", [3, 60, 9, 20], density) is None  # of its kind, not of itself
    assert surge.ratio("k") is not None
    assert surge.learn_one("k", [], density) is None


def test_once_a_kind_is_known_only_some_appeals_are_looked_at() -> None:
    surge, density = Surge(GRID, every=10), np.full(GRID.bins, 1.0 / GRID.bins)
    slots = np.stack((np.arange(250), np.ones(250, int)), axis=1).ravel().tolist()
    looked = [surge.learn_one("k", slots, density) is not None for _ in range(60)]
    assert all(looked[:20]) and sum(looked[20:]) == 4


def test_kinds_are_capped() -> None:
    surge, density = Surge(GRID, kinds_max=2), np.full(GRID.bins, 1.0 / GRID.bins)
    for kind in ("a", "b", "c"):
        surge.learn_one(kind, [3, 300], density)
    assert surge.kinds == ("a", "b")
    assert surge.ratio("c") is None


def test_restored_it_goes_on_identically() -> None:
    drawn = appeals(seed=4, number=40, mean=220.0, ratio=0.4)
    density = density_of(drawn)
    whole, other = Surge(GRID, every=3), Surge(GRID, every=3)
    for one in drawn[:25]:
        whole.learn_one("k", by_slot(one), density)
    state = json.loads(json.dumps(whole.state(), allow_nan=False))
    other.restore(state)
    assert other.state() == state
    for one in drawn[25:]:
        slots = by_slot(one)
        assert other.learn_one("k", slots, density) == whole.learn_one("k", slots, density)
    assert other.state() == whole.state()
    with pytest.raises(ValueError, match="expected schema and horizon_ms"):
        Surge(AgeGrid(HOUR_MS)).restore(state)


def test_counts_beyond_what_a_double_holds_exactly_are_learned() -> None:
    surge, density = Surge(GRID), np.full(GRID.bins, 1.0 / GRID.bins)
    ratio = surge.learn_one("k", [3, 2**53 + 9, 9, 2**60, 3, 1], density)
    assert ratio is not None and 0.0 <= ratio <= 1.0


def test_refuses_what_cannot_be() -> None:
    surge, density = Surge(GRID), np.full(GRID.bins, 1.0 / GRID.bins)
    for slots in ([-1, 60], [GRID.slots, 60], [3, 0], [3, 60, 4]):
        with pytest.raises(ValueError, match="slots: expected"):
            surge.learn_one("k", slots, density)
    for wrong in (density[:-1], density * math.nan, density * 0.0):
        with pytest.raises(ValueError, match="density: expected"):
            surge.learn_one("k", [3, 60], wrong)
    assert surge.kinds == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mean", "true", "bias", "rmse"),
    [
        (60.0, 0.0, 0.13, 0.13),
        (60.0, 0.5, 0.15, 0.22),
        (200.0, 0.0, 0.12, 0.13),
        (200.0, 0.5, 0.12, 0.17),
        (200.0, 0.7, 0.17, 0.21),
        (1000.0, 0.0, 0.12, 0.14),
        (1000.0, 0.3, 0.1, 0.13),
        (1000.0, 0.5, 0.1, 0.14),
        (1000.0, 0.7, 0.12, 0.16),
        (5000.0, 0.5, 0.1, 0.12),
    ],
)
def test_ratio_of_one_appeal(mean: float, true: float, bias: float, rmse: float) -> None:
    """The study's table, but with the curve learned from the same surged responses."""
    drawn = appeals(seed=int(mean + 100 * true), number=20, mean=mean, ratio=true)
    surge, density = Surge(GRID, every=1, appeal_responses_min=1), density_of(drawn)
    own = [surge.learn_one("k", by_slot(one), density) for one in drawn]
    ratios = np.array([ratio for ratio in own if ratio is not None])
    assert abs(ratios.mean() - true) < bias
    assert math.sqrt(np.mean((ratios - true) ** 2)) < rmse
