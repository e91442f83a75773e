"""The challengers that always run beside the pooled model, and the watch on its fit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from models.baseline import LogRateRegression
from models.challengers import AlwaysAsNew, Challengers, PoissonDescent
from models.counts import Dispersion
from models.drift import FitWatch, place
from models.forecast import Features, Forecast
from models.stock import HALF_LIVES_DAYS, Stock

NO_STOCK = np.zeros(len(HALF_LIVES_DAYS))
DAY_MS = 86_400_000


def appeal(**changes: object) -> Features:
    x = Features(
        time_days=0.0,
        appealer="a",
        kind="k",
        audience="a",
        exposure=1000.0,
        own=NO_STOCK,
        kind_stock=NO_STOCK,
        crowd=NO_STOCK,
        repeat=1,
        reciprocity=0.0,
        attributes={},
    )
    return Features(**{**x, **changes})  # type: ignore[typeddict-item]


def world(seed: int, appeals: int, strength: float) -> Iterator[tuple[Features, int]]:
    """Yield appeals and responses; every appealer wears out by `strength` a recent appeal."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(0.0, 0.5, size=appeals // 20 + 1)
    stocks = [Stock() for _ in levels]
    for time_days in np.sort(rng.uniform(0.0, 365.0, size=appeals)):
        who, time_ms = int(rng.integers(len(levels))), int(time_days * DAY_MS)
        felt = stocks[who].at(time_ms)
        mean = 50.0 * math.exp(levels[who] - strength * float(felt[12]))
        x = appeal(time_days=float(time_days), appealer=f"a{who}", own=felt, kind_stock=felt)
        yield x, int(rng.poisson(mean * rng.gamma(10.0) / 10.0))
        stocks[who].add(time_ms)


def scored(seed: int, appeals: int, strength: float) -> dict[str, float]:
    challengers = Challengers()
    for x, y in world(seed, appeals, strength):
        challengers.score_then_learn(x, y)
    return {name: score / challengers.appeals for name, score in challengers.log_scores.items()}


def test_where_nobody_tires_always_as_new_is_hard_to_beat() -> None:
    scores = scored(seed=1, appeals=1500, strength=0.0)
    assert scores["always_as_new"] > max(scores.values()) - 0.05
    assert min(scores.values()) > -5.0


def test_where_all_tire_those_that_see_stocks_win() -> None:
    scores = scored(seed=2, appeals=1500, strength=0.4)
    assert scores["log_rate"] > scores["always_as_new"] + 0.1
    assert scores["log_rate"] > scores["poisson_descent"]


def test_scores_come_before_learning() -> None:
    challengers, twin = Challengers(), Challengers()
    stream = list(world(seed=3, appeals=50, strength=0.2))
    for x, y in stream:
        before = {name: model.log_score_one(x, y) for name, model in twin.models.items()}
        sums = dict(challengers.log_scores)
        after = challengers.score_then_learn(x, y)
        assert after == {name: sums[name] + before[name] for name in sums}
        twin.score_then_learn(x, y)


def test_restored_they_go_on_identically() -> None:
    stream = list(world(seed=4, appeals=300, strength=0.2))
    whole = Challengers()
    for x, y in stream[:150]:
        whole.score_then_learn(x, y)
    state = whole.state()
    other = Challengers()
    other.restore(state)
    assert other.state() == state
    for x, y in stream[150:]:
        assert other.score_then_learn(x, y) == whole.score_then_learn(x, y)
    assert other.state() == whole.state()


def test_scoring_changes_nothing_and_bad_counts_are_refused() -> None:
    challengers = Challengers()
    for x, y in world(seed=5, appeals=40, strength=0.2):
        challengers.score_then_learn(x, y)
    before = challengers.state()
    for model in challengers.models.values():
        model.log_score_one(appeal(appealer="new", kind="new"), 3)
    not_finite = appeal(own=NO_STOCK + math.nan), appeal(exposure=math.inf)
    for x, y in ((appeal(), math.nan), (appeal(), -1.0), *((x, 1.0) for x in not_finite)):
        with pytest.raises(ValueError, match="expected"):
            challengers.score_then_learn(x, y)
    assert challengers.state() == before


def test_appealers_are_capped() -> None:
    as_new, descent = AlwaysAsNew(appealers_max=3), PoissonDescent(appealers_max=3)
    for number in range(20):
        for model in (as_new, descent):
            model.learn_one(appeal(appealer=f"a{number}"), 5)
    assert [row[0] for row in as_new.state()["appealers"]] == ["a17", "a18", "a19"]
    assert descent.state()["appealers"] == ["a0", "a1", "a2"]


def test_descent_stands_huge_appeals_and_deep_stocks() -> None:
    model = PoissonDescent()
    for number in range(200):
        deep = NO_STOCK + 200.0 * (number % 3)
        model.learn_one(appeal(exposure=10.0 ** (number % 7), own=deep), 10.0 ** (number % 7))
    assert 10.0 < model.predict_one(appeal(exposure=1000.0)) < 100_000.0


def forecast(mean: float, dispersion: float = 10.0) -> Forecast:
    belief = Dispersion()
    belief.inverse = 1.0 / dispersion
    return Forecast(1.0, 0.9, 1.1, mean, *belief.interval(mean), 0.1)


@pytest.mark.parametrize("mean", [2.0, 30.0, 500.0])
def test_places_lie_evenly_where_the_forecast_is_right(mean: float) -> None:
    rng = np.random.default_rng(6)
    counts = rng.poisson(mean * rng.gamma(10.0, size=2000) / 10.0)
    places = [place(forecast(mean), int(y)) for y in counts]
    assert np.mean(places) == pytest.approx(0.5, abs=0.03)
    assert np.var(places) == pytest.approx(1.0 / 12.0, abs=0.02)
    exact = stats.nbinom.cdf(int(mean), 10.0, 10.0 / (10.0 + mean))
    assert place(forecast(mean), int(mean)) < exact


def watched(watch: FitWatch, rng: np.random.Generator, appeals: int, factor: float) -> set[str]:
    """Forecast 30, let `factor` times as many come, and return what was found to have changed."""
    found: set[str] = set()
    for _ in range(appeals):
        y = int(rng.poisson(factor * 30.0 * rng.gamma(10.0) / 10.0))
        found.update(watch.learn_one(forecast(30.0), y))
    return found


def test_the_watch_is_silent_while_the_model_fits() -> None:
    alarms = 0
    for seed in range(10):
        watch = FitWatch()
        watched(watch, np.random.default_rng(seed), 3000, factor=1.0)
        alarms += sum(watch.alarms.values())
    assert alarms == 0


def test_the_watch_sees_the_model_go_wrong() -> None:
    for seed in range(5):
        watch, rng = FitWatch(), np.random.default_rng(seed)
        assert not watched(watch, rng, 1000, factor=1.0)
        assert "mean" in watched(watch, rng, 300, factor=0.7)
        assert watch.level("mean") < 0.4


def test_the_watch_restored_goes_on_identically_and_stays_small() -> None:
    rng = np.random.default_rng(11)
    whole, other = FitWatch(memory=100), FitWatch(memory=100)
    watched(whole, rng, 345, factor=1.0)
    state = json.loads(json.dumps(whole.state()))
    other.restore(state)
    assert other.state() == state
    for factor in (1.0, 0.6, 1.0):
        for _ in range(200):
            y = int(rng.poisson(factor * 30.0 * rng.gamma(10.0) / 10.0))
            assert other.learn_one(forecast(30.0), y) == whole.learn_one(forecast(30.0), y)
    assert other.state() == whole.state()
    assert max(map(len, whole.state()["logs"].values())) < 200


def test_the_watch_refuses_what_would_make_it_deaf() -> None:
    watch = FitWatch()
    with pytest.raises(ValueError, match="expected finite numbers"):
        watch.learn_one(forecast(30.0), math.nan)
    with pytest.raises(ValueError, match="expected finite numbers"):
        watch.learn_one(forecast(30.0)._replace(mean=math.inf), 3)
    assert watch.state() == FitWatch().state()


def test_many_at_once_are_learned_as_one_by_one() -> None:
    """Batches end wherever a snapshot is taken: where they do must leave no trace."""
    stream = list(world(seed=7, appeals=150, strength=0.2))
    stream = [
        (appeal(**{**x, "kind": f"k{i % 40}", "attributes": {f"m{i % 11}": i}}), y)
        for i, (x, y) in enumerate(stream)
    ]
    single, many = Challengers(), Challengers()
    for x, y in stream:
        single.score_then_learn(x, y)
    many.score_then_learn_many(stream[:70])
    many.score_then_learn_many(stream[70:])
    assert many.log_scores == single.log_scores
    assert many.state() == single.state()


def test_of_many_none_is_learned_if_one_is_refused() -> None:
    challengers = Challengers()
    before = challengers.state()
    for bad in (appeal(crowd=NO_STOCK + math.inf), appeal(reciprocity=math.nan)):
        with pytest.raises(ValueError, match="stocks and reciprocity"):
            challengers.score_then_learn_many([(appeal(), 3), (bad, 3)])
    assert challengers.state() == before


def test_alone_a_challenger_learns_what_it_learns_among_the_others() -> None:
    challengers = Challengers()
    alone = AlwaysAsNew(), PoissonDescent(), LogRateRegression()
    for x, y in world(seed=8, appeals=60, strength=0.2):
        challengers.score_then_learn(x, y)
        for model in alone:
            model.learn_one(x, y)
    assert [model.state() for model in alone] == [m.state() for m in challengers.models.values()]


def test_the_watch_learns_many_as_one_by_one() -> None:
    rng = np.random.default_rng(12)
    said = [forecast(float(mean)) for mean in rng.uniform(0.05, 300.0, 900)]
    factors = np.repeat((1.0, 0.4, 1.0), 300)
    means = factors * [f.mean for f in said] * rng.gamma(10.0, size=900) / 10.0
    counts = rng.poisson(means).tolist()
    single, many = FitWatch(memory=200), FitWatch(memory=200)
    found = [single.learn_one(f, y) for f, y in zip(said, counts, strict=True)]
    assert many.learn_many(said, counts) == found and 0 in counts and single.alarms["mean"]
    assert many.state() == single.state()
    with pytest.raises(ValueError, match="expected finite numbers"):
        many.learn_many([*said, forecast(30.0)._replace(mean=0.0)], [*counts, 3])
    assert many.state() == single.state()
