"""The pooled retention model: what it learns, says, keeps, and refuses."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from retention_worlds import features, judge, replay, run
from river import compose
from river.checks import common

from models.effects import BLANK
from models.gaussian import seen_as
from models.kernels import matched_size
from models.retention import PooledRetention
from models.stock import HALF_LIVES_DAYS
from replay.world import build_world

GRID = len(HALF_LIVES_DAYS)


@pytest.fixture(scope="module")
def classic() -> Any:
    return run("classic", 7, 1000)


def test_says_something_sensible_before_any_learning() -> None:
    forecast = PooledRetention().forecast_one({"appealer": "a", "exposure": 100.0})
    assert forecast.retention == 1.0
    assert 0.0 <= forecast.mean_low <= forecast.mean_high < math.inf


def test_learns_wear_out_from_a_cold_start(classic: Any) -> None:
    _, world, said = classic
    error, coverage = judge(world, said)
    assert error < 0.2
    assert 0.8 < coverage <= 1.0


def test_count_intervals_hold_nine_in_ten(classic: Any) -> None:
    _, world, said = classic
    inside = (said[:, 4] <= world.responses) & (world.responses <= said[:, 5])
    assert 0.85 < inside[100:].mean() < 0.98


def test_state_restores_to_the_same_future(classic: Any) -> None:
    model, world, _ = classic
    appeals = features(world)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(model.state()))
    twin = model.clone()
    twin.restore(kept)
    other = model.clone()
    other.restore(kept)
    for x, y in zip(appeals[:60], world.responses[:60].tolist(), strict=True):
        twin.learn_one(x, y)
        assert other.forecast_one(x) is not None  # forecasting changes nothing
        other.learn_one(x, y)
    assert msgspec.msgpack.encode(twin.state()) == msgspec.msgpack.encode(other.state())
    assert kept != twin.state()


def test_in_place_of_an_appeal_a_first_one_feels_the_crowd_alone(classic: Any) -> None:
    model, world, _ = classic
    for x in features(world)[-3:]:
        nothing = np.zeros(GRID)
        alone = x | {"appealer": "nobody", "audience": "", "own": nothing, "kind_stock": nothing}
        seen = model.read(alone)
        belief = model._foresee(seen, BLANK).belief
        log_mean, passing_sd = model.first_appeal_expectation(x)
        assert log_mean == pytest.approx(belief.eta, rel=1e-12)
        _, passing = model._level.moments(seen.time_days, model._coefficients)
        unknown = belief.eta_variance - model.level_sd**2
        assert passing_sd == pytest.approx(math.sqrt(min(passing, unknown)), rel=1e-9)


def test_more_of_an_appeals_own_responses_narrow_what_is_expected(classic: Any) -> None:
    model, world, _ = classic
    x = features(world)[-1]
    widths = []
    for completion in (0.1, 0.5, 0.9):
        forecast = model.forecast_given(x, 40.0 * completion, completion)
        assert forecast.mean >= 40.0 * completion
        widths.append(forecast.mean_high - forecast.mean_low)
    assert widths[0] > widths[1] > widths[2]


@pytest.fixture(scope="module")
def mixed() -> Any:
    return run("mixed", 7, 1500)


@pytest.mark.parametrize("responses", [0, 20, 2000])
def test_what_denies_all_that_was_learned_is_learned_in_the_end(mixed: Any, responses: int) -> None:
    model, world, _ = mixed
    changed, appeals = model.clone(), features(world)
    changed.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(model.state())))
    tired = max(appeals, key=lambda x: float(x["kind_stock"][13]))
    for hours in range(300):
        x = {**tired, "time_days": appeals[-1]["time_days"] + hours / 100.0}
        changed.learn_one(x, responses)
    forecast = changed.forecast_one(x)
    assert forecast.mean == pytest.approx(responses, rel=0.25, abs=1.0)
    assert forecast.mean_low <= responses <= forecast.mean_high


def test_an_eviction_is_counted_and_bounds_the_state() -> None:
    model = PooledRetention(units_max=5)
    for i in range(30):
        model.learn_one({"time_days": float(i), "appealer": f"a{i}", "exposure": 100.0}, 3)
    assert model.evicted == 25
    assert len(model.state()["effects"]["units"]) == 5


def test_kinds_beyond_the_limit_share_a_place() -> None:
    model = PooledRetention(kinds_max=2)
    for i in range(12):
        model.learn_one({"time_days": float(i), "kind": f"k{i % 4}", "exposure": 100.0}, 3)
    assert model.summary()["limits"]["crowded_out"]["kind"] == 6


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"exposure": 0.0}, "exposure"),
        ({"exposure": math.nan}, "exposure"),
        ({"time_days": math.inf}, "time_days"),
        ({"own": np.full(GRID, math.nan)}, "own"),
        ({"own": np.zeros(3)}, "own"),
        ({"attributes": {"brand": math.nan}}, "brand"),
    ],
)
def test_refuses_what_is_not_finite_and_learns_nothing(change: dict[str, Any], names: str) -> None:
    model = PooledRetention()
    model.learn_one({"appealer": "a", "exposure": 100.0}, 3)
    before = msgspec.msgpack.encode(model.state())
    with pytest.raises(ValueError, match=names):
        model.learn_one({"appealer": "a", "exposure": 100.0} | change, 3)
    with pytest.raises(ValueError, match="responses"):
        model.learn_one({"appealer": "a", "exposure": 100.0}, math.nan)
    assert msgspec.msgpack.encode(model.state()) == before


def test_works_in_a_pipeline() -> None:
    model = compose.Discard("noise") | PooledRetention()
    for i in range(20):
        x = {"time_days": float(i), "appealer": "a", "exposure": 100.0, "noise": float(i)}
        model.learn_one(x, 5)
    assert 3.0 < model.predict_one(x) < 8.0


def plain_appeals() -> list[tuple[dict[str, Any], float]]:
    """Return appeals whose features are plain numbers, as river's checks expect."""
    rng = np.random.Generator(np.random.PCG64(3))
    return [
        ({"brand": float(rng.integers(2)), "age": float(rng.random())}, float(rng.poisson(5)))
        for _ in range(60)
    ]


WITH_DATA: list[Callable[..., None]] = [
    common.check_learn_one,
    common.check_shuffle_features_no_impact,
    common.check_predict_one_pure,
    common.check_emerging_features,
    common.check_disappearing_features,
    common.check_radically_disappearing_features,
    common.check_bounded_memory_growth,
    common.check_pickling,
    common.check_clone_is_independent,
    common.check_predict_one_before_any_learn,
    common.check_no_state_aliasing_with_input,
]
WITHOUT_DATA: list[Callable[..., None]] = [
    common.check_repr,
    common.check_str,
    common.check_tags,
    common.check_clone_same_class,
    common.check_clone_is_idempotent,
    common.check_init_has_default_params_for_tests,
    common.check_init_default_params_are_not_mutable,
    common.check_doc,
    common.check_clone_changes_memory_addresses,
    common.check_get_params_matches_signature,
]


@pytest.mark.parametrize("check", WITH_DATA, ids=lambda check: check.__name__)
def test_keeps_rivers_promises_on_data(check: Callable[..., None]) -> None:
    random.seed(1)  # two of the checks shuffle
    check(PooledRetention(), plain_appeals())


@pytest.mark.parametrize("check", WITHOUT_DATA, ids=lambda check: check.__name__)
def test_keeps_rivers_promises(check: Callable[..., None]) -> None:
    check(PooledRetention())


def test_no_look_ahead() -> None:
    world = build_world("classic", 3, 200)
    appeals = features(world)
    whole = replay(PooledRetention(), world, appeals)
    half = replay(PooledRetention(), world, appeals[:100])
    assert (whole[:100] == half).all()


def test_learns_a_rate_from_rare_answers_of_single_people() -> None:
    """A yes where one in fifty was expected teaches as much as forty-nine nos."""
    rng, model = np.random.default_rng(1), PooledRetention()
    answers = (rng.random(4000) < 0.02).tolist()
    said = 0.0
    for i, answer in enumerate(answers):
        x = {"time_days": i / 100.0, "appealer": f"p{i}"}
        said += model.predict_one(x)
        model.learn_one(x, float(answer))
    assert 0.8 < said / sum(answers) < 1.25


def test_those_who_have_not_answered_yet_are_held_no_less_willing_than_people_differ() -> None:
    """Who answers is asked no more; alike as people are here, nothing follows from that."""
    rng, model, grid = np.random.default_rng(2), PooledRetention(), np.ones(GRID)
    calls = [(i / 50.0 + ask, f"p{i}", ask) for i in range(4000) for ask in range(4)]
    answered, said = set[str](), []
    for day, who, ask in sorted(calls):
        if who in answered:
            continue
        x = {"time_days": day, "appealer": "caller", "audience": who, "kind_stock": ask * grid}
        if ask == 3:
            said.append(model.forecast_one(x).retention)
        yes = rng.random() < 0.1
        model.learn_one(x, float(yes))
        if yes:
            answered.add(who)
    assert 0.9 < np.exp(np.log(said[-1000:]).mean()) < 1.1


def test_two_appeals_near_a_step_say_little_of_a_half_life() -> None:
    """A step is sharp, but where it lies among the stocks is as uncertain as the half-life."""
    model = PooledRetention()
    model.layout.coefficients.reset(model.layout.steps + 3, 0.7, 0.01)
    before = model.log_half_life_sds()[1]
    felt = np.array([sum(0.5 ** (9.0 * j / h) for j in range(1, 20)) for h in HALF_LIVES_DAYS])
    for day in range(2):
        x = {"time_days": float(day), "appealer": f"a{day}", "exposure": 1e4, "kind_stock": felt}
        model.learn_one(x, 150)
    assert model.log_half_life_sds()[1] > 0.9 * before


@pytest.mark.parametrize(
    ("y", "mean", "variance", "size"),
    [(0.0, -1.0, 1.0, 2.0), (7.0, 1.0, 0.3, 10.0), (90.0, 5, 2, 50)],
)
def test_a_count_is_seen_as_the_observation_that_does_the_same(
    y: float, mean: float, variance: float, size: float
) -> None:
    seen, noise = seen_as(y, mean, variance, size)
    precision = 1.0 / variance + 1.0 / noise
    eta = np.linspace(mean - 12.0 * variance**0.5, mean + 12.0 * variance**0.5, 20_001)
    log_weights = y * eta - (y + size) * np.log(size + np.exp(eta))
    log_weights -= 0.5 * (eta - mean) ** 2 / variance
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    expected = float(weights @ eta)
    assert (mean / variance + seen / noise) / precision == pytest.approx(expected, abs=1e-4)
    assert 1.0 / precision == pytest.approx(float(weights @ (eta - expected) ** 2), rel=1e-3)


def test_a_dispersion_is_matched_to_an_uncertain_mean() -> None:
    assert matched_size(0.0, 10.0) == pytest.approx(10.0)
    assert 1.0 / matched_size(0.5, 10.0) == pytest.approx(1.1 * math.exp(0.5) - 1.0)


def test_a_count_that_nothing_foretold_leaves_numbers() -> None:
    seen, noise = seen_as(1e9, -40.0, 0.010958200618897096, 0.5)
    assert math.isfinite(seen) and noise > 0.0
