"""The age grid and the completion curve."""

from __future__ import annotations

import itertools
import json
import math
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from models.ages import AgeGrid
from models.completion import Completion

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    "horizon_ms",
    [MINUTE_MS, MINUTE_MS + 1, 100_003, 3_600_000, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 730 * DAY_MS],
)
def test_grid_tiles_the_ages(horizon_ms: int) -> None:
    grid = AgeGrid(horizon_ms)
    starts = [grid.start_ms(slot) for slot in range(grid.slots + 1)]
    assert starts[0] == 0 and starts[-1] == horizon_ms
    assert all(a < b for a, b in zip(starts, starts[1:], strict=False))
    for slot in range(grid.slots):
        assert grid.slot(starts[slot]) == slot
        assert grid.slot(starts[slot + 1] - 1) == slot
    assert 1900 <= grid.slots <= 2100
    assert list(grid.edges_slot) == sorted(set(grid.edges_slot))
    assert grid.edges_slot[0] == 1 and grid.edges_slot[-1] == grid.slots
    assert grid.edges_ms == tuple(starts[slot] for slot in grid.edges_slot)


@pytest.mark.parametrize("horizon_ms", [MINUTE_MS, 3_600_000, 7 * DAY_MS, 730 * DAY_MS])
def test_checkpoints_double_the_age(horizon_ms: int) -> None:
    grid = AgeGrid(horizon_ms)
    assert len(set(grid.checkpoints)) == 10
    assert grid.checkpoints[-1] == grid.bins
    for k, bins in zip(range(9, -1, -1), grid.checkpoints, strict=True):
        assert grid.edges_ms[bins - 1] == pytest.approx(horizon_ms / 2**k, rel=0.06)


@pytest.mark.parametrize("horizon_ms", [0, -5, 59_999, 1e6, True, float("nan")])
def test_grid_refuses_what_is_no_horizon(horizon_ms: int) -> None:
    with pytest.raises(ValueError, match="horizon_ms: expected"):
        AgeGrid(horizon_ms)


WEEK_MS = 7 * DAY_MS
GRID = AgeGrid(WEEK_MS)
EDGES = np.array(GRID.edges_ms)
MEDIAN_MS = 6 * HOUR_MS
LIFE_MS = int(2.9 * DAY_MS)  # by when 95 % of the log-normal law's responses have come


class Put(NamedTuple):
    """An appeal as the completion curve sees it: kind, time, responses by bin."""

    kind: str
    time_ms: int
    counts: list[int]


def lognormal_share(age_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    law = stats.lognorm(s=1.5, scale=MEDIAN_MS)
    share: NDArray[np.float64] = law.cdf(age_ms) / law.cdf(WEEK_MS)
    return share


def drawn(
    seed: int,
    appeals: int,
    days: float,
    mean: float = 100.0,
    amplitude: float = 0.0,
    medians_ms: tuple[float, ...] = (MEDIAN_MS,),
) -> list[Put]:
    """Draw appeals put evenly over `days`, in time order; kind k has the k-th median."""
    rng = np.random.default_rng(seed)
    puts = []
    for number, time_ms in enumerate(np.sort(rng.integers(0, int(days * DAY_MS), size=appeals))):
        kind = number % len(medians_ms)
        responses = rng.poisson(mean * (1.0 + amplitude))
        ages = medians_ms[kind] * np.exp(1.5 * rng.standard_normal(responses))
        hours = (time_ms + ages) / HOUR_MS % 24.0
        rhythm = 1.0 + amplitude * np.cos(2.0 * np.pi * (hours - 19.0) / 24.0)
        ages = ages[rng.random(responses) < rhythm / (1.0 + amplitude)]
        counts = np.histogram(ages, bins=np.concatenate(([0], EDGES)))[0]
        puts.append(Put(f"k{kind}", int(time_ms), counts.tolist()))
    return puts


def feed(completion: Completion, puts: list[Put], until_ms: int) -> None:
    """Let `completion` learn every checkpoint that an appeal has reached by then, in time order."""
    starts = (0, *GRID.checkpoints[:-1])
    due = sorted(
        (put.time_ms + GRID.edges_ms[end - 1], number, start, end)
        for number, put in enumerate(puts)
        for start, end in zip(starts, GRID.checkpoints, strict=True)
        if put.time_ms + GRID.edges_ms[end - 1] <= until_ms
    )
    for _, number, start, end in due:
        put = puts[number]
        before = sum(put.counts[:start])
        completion.learn_one(put.kind, put.time_ms, start, put.counts[start:end], before)


def naive_chain_ladder(puts: list[Put], until_ms: int) -> NDArray[np.float64]:
    """The oracle: sums over all appeals that have passed a bin, then the product of what stays."""
    last_reached = [
        max((end for end in (0, *GRID.checkpoints) if end == 0 or age >= EDGES[end - 1]), default=0)
        for age in (until_ms - put.time_ms for put in puts)
    ]
    share = np.ones(GRID.bins)
    for k in range(GRID.bins - 1, 0, -1):
        passed = [put.counts for put, end in zip(puts, last_reached, strict=True) if end > k]
        came = sum(counts[k] for counts in passed)
        through = sum(sum(counts[: k + 1]) for counts in passed)
        share[k - 1] = share[k] * (1.0 - came / through)
    return share


def log_errors(completion: Completion, at: tuple[float, ...]) -> NDArray[np.float64]:
    true = lognormal_share(EDGES.astype(float))
    share = np.array([point.share for point in completion.curve()])
    where = [int(np.abs(np.log(true / share_at)).argmin()) for share_at in at]
    return np.log(share / true)[where]


def test_is_the_naive_chain_ladder_when_unweighted() -> None:
    puts = drawn(seed=1, appeals=300, days=30.0, mean=200.0)
    until_ms = 30 * DAY_MS
    completion = Completion(GRID, forgetting=1.0, appeal_responses_max=1e12, learns_hours=False)
    feed(completion, puts, until_ms)
    completion.refit()
    share = np.array([point.share for point in completion.curve()])
    naive = naive_chain_ladder(puts, until_ms)
    later = EDGES > HOUR_MS
    # What is left of the difference is the parametric law's ten responses a bin.
    assert np.abs(np.log(share / naive))[later].max() < 0.01


def test_before_any_data_it_is_the_prior_curve() -> None:
    completion = Completion(GRID)
    share = [completion.share("k", 0, bins) for bins in range(1, GRID.bins + 1)]
    assert all(0.0 < a < b for a, b in itertools.pairwise(share))
    assert share[-1] == 1.0
    at_median = int(np.abs(EDGES - MEDIAN_MS).argmin())
    low, high = completion.interval("k", 0, at_median + 1)
    assert low < 0.5 < high
    assert share[at_median] == pytest.approx(0.5, abs=0.1)


def test_is_right_while_young() -> None:
    """No appeal has reached the horizon, and most are younger than three days."""
    errors = []
    for seed in range(3):
        completion = Completion(GRID)
        feed(completion, drawn(seed, appeals=76, days=2.9), LIFE_MS)
        errors.append(np.abs(log_errors(completion, (0.05, 0.2, 0.5, 0.8))))
    assert (np.mean(errors, axis=0) < (0.12, 0.12, 0.1, 0.06)).all()


def test_kinds_keep_their_own_pace() -> None:
    medians_ms = (MEDIAN_MS / 4.0, MEDIAN_MS * 2.0)
    completion = Completion(GRID)
    puts = drawn(seed=5, appeals=120, days=60.0, medians_ms=medians_ms)
    feed(completion, puts, 70 * DAY_MS)
    for kind, median_ms in enumerate(medians_ms):
        law = stats.lognorm(s=1.5, scale=median_ms)
        bins = GRID.checkpoints[4]
        true = law.cdf(EDGES[bins - 1]) / law.cdf(WEEK_MS)
        assert completion.share(f"k{kind}", 0, bins) == pytest.approx(true, rel=0.15)
    unseen, pooled = completion.share("new", 0, 29), completion.curve()[28].share
    assert unseen == pytest.approx(pooled, rel=0.05)


def test_an_early_look_is_not_fooled_by_the_time_of_day() -> None:
    """With a daily amplitude of .5 the log of the early share varies by posting hour, sd .29."""
    completion = Completion(GRID)
    feed(completion, drawn(seed=0, appeals=200, days=40.0, amplitude=0.5), 50 * DAY_MS)
    ages = np.geomspace(6e3, WEEK_MS, 3000)
    density = np.diff(lognormal_share(ages), prepend=0.0)
    bins = GRID.checkpoints[3]  # 2 h 37: a third of the responses at most
    early = ages <= GRID.edges_ms[bins - 1]
    uncorrected, left = [], []
    for hour in range(24):
        time_ms = 1000 * WEEK_MS + hour * HOUR_MS + HOUR_MS // 2
        clock = (time_ms + ages) / HOUR_MS % 24.0
        came = density * (1.0 + 0.5 * np.cos(2.0 * np.pi * (clock - 19.0) / 24.0))
        true = math.log(came[early].sum() / came.sum())
        uncorrected.append(true)
        left.append(true - math.log(completion.share("k0", time_ms, bins)))
    assert np.std(uncorrected) > 0.25
    assert np.std(left) < 0.05
    assert np.abs(left).max() < 0.12


def test_restored_it_goes_on_identically() -> None:
    puts = drawn(seed=7, appeals=60, days=20.0, amplitude=0.3, medians_ms=(MEDIAN_MS, HOUR_MS))
    whole, first = Completion(GRID), Completion(GRID)
    for completion in (whole, first):
        feed(completion, puts[:30], 40 * DAY_MS)
    state = first.state()
    json.dumps(state, allow_nan=False)
    second = Completion(GRID)
    second.restore(json.loads(json.dumps(state)))
    assert second.state() == state
    for completion in (whole, second):
        feed(completion, puts[30:], 40 * DAY_MS)
    assert second.state() == whole.state()
    assert second.share("k1", 5 * DAY_MS, 20) == whole.share("k1", 5 * DAY_MS, 20)
    with pytest.raises(ValueError, match="expected schema and horizon_ms"):
        Completion(AgeGrid(DAY_MS)).restore(state)


def test_looking_changes_nothing() -> None:
    completion = Completion(GRID)
    feed(completion, drawn(seed=8, appeals=5, days=2.0), 9 * DAY_MS)
    before = json.dumps(completion.state())
    completion.share("unseen", 0, 5)
    completion.interval("k0", 0, 5)
    completion.curve("unseen")
    assert json.dumps(completion.state()) == before


def test_a_share_is_that_of_the_curve_as_it_is_now() -> None:
    completion, rng = Completion(GRID), np.random.default_rng(5)
    for appeal in range(120):
        kind, time_ms = f"k{appeal % 2}", int(rng.integers(4)) * 5 * HOUR_MS
        counts = rng.poisson(2.0, size=GRID.bins).tolist()
        completion.learn_one(kind, time_ms, 0, counts, 0)
        for looked_at in ("k0", "k1", "other"):
            arrived = completion.density(looked_at, time_ms).cumsum()
            shares = [completion.share(looked_at, time_ms, bins + 1) for bins in range(GRID.bins)]
            assert shares == pytest.approx(arrived.tolist(), rel=1e-12)


def test_refuses_what_cannot_be() -> None:
    completion = Completion(GRID)
    before = completion.state()
    for bin_start, counts, already in ((-1, [1], 0), (48, [1, 1], 0), (0, [-1], 0), (5, [1], -1)):
        with pytest.raises(ValueError, match="expected"):
            completion.learn_one("k", 0, bin_start, counts, already)
    for bins in (0, GRID.bins + 1):
        with pytest.raises(ValueError, match="bins: expected 1 to"):
            completion.share("k", 0, bins)
    assert completion.state() == before


def test_kinds_are_capped() -> None:
    completion = Completion(GRID, kinds_max=3)
    for kind in range(10):
        completion.learn_one(f"k{kind}", 0, 0, [5] * GRID.bins, 0)
    assert completion.kinds == ("k0", "k1", "k2")
    assert completion.share("k8", 0, 20) == completion.share("k9", 0, 20)


def test_one_huge_appeal_does_not_make_the_curve() -> None:
    """Fifty appeals of the law, and one whose million responses all came in the first minute."""
    completion = Completion(GRID)
    feed(completion, drawn(seed=9, appeals=50, days=20.0), 30 * DAY_MS)
    before = completion.curve()[30].share
    completion.learn_one("k0", 0, 0, [1_000_000] + [0] * (GRID.bins - 1), 0)
    completion.refit()
    assert completion.curve()[30].share == pytest.approx(before, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lives", "appeals", "bounds"),
    [
        (1, 6, (0.18, 0.18, 0.13, 0.09)),
        (1, 76, (0.10, 0.09, 0.08, 0.05)),
        (3, 20, (0.12, 0.08, 0.05, 0.03)),
        (3, 244, (0.05, 0.025, 0.02, 0.01)),
        (10, 846, (0.03, 0.015, 0.01, 0.005)),
    ],
)
def test_errors_by_how_long_it_watched(lives: int, appeals: int, bounds: tuple[float, ...]) -> None:
    """Mean |log F / true F| at F = .05, .2, .5, .8, about 100 responses an appeal."""
    errors = []
    for seed in range(6):
        completion = Completion(GRID)
        days = lives * LIFE_MS / DAY_MS
        feed(completion, drawn(100 + seed, appeals, days), int(days * DAY_MS))
        completion.refit()
        errors.append(np.abs(log_errors(completion, (0.05, 0.2, 0.5, 0.8))))
    assert (np.mean(errors, axis=0) < bounds).all(), np.mean(errors, axis=0)


@pytest.mark.slow
def test_intervals_cover() -> None:
    inside = []
    for seed in range(24):
        completion = Completion(GRID)
        feed(completion, drawn(200 + seed, appeals=120, days=8.7), int(8.7 * DAY_MS))
        completion.refit()
        true = lognormal_share(EDGES.astype(float))
        inside.append(
            [
                point.low <= share <= point.high
                for point, share in zip(completion.curve(), true, strict=True)
            ]
        )
    cover = np.mean(inside, axis=0)[[20, 28, 36, 40]]
    assert (cover >= 0.7).all() and cover.mean() >= 0.8, cover
