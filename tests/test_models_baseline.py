"""The log-rate regression: a retention model made of river's own parts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from models.baseline import LogRateRegression
from models.counts import Dispersion
from models.forecast import Features
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


def tiring_world(
    seed: int, appeals: int, strength: float = 0.25, dispersion: float = 10.0
) -> Iterator[tuple[Features, int, float]]:
    """Yield appeals, responses and the true log retention: a kind wears out, half-life 16 days."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(0.0, 0.5, size=appeals // 10 + 1)
    reach = np.exp(rng.normal(9.0, 1.0, size=len(levels)))
    stocks: dict[tuple[int, int], Stock] = {}
    for time_days in np.sort(rng.uniform(0.0, 365.0, size=appeals)):
        who, kind = int(rng.integers(len(levels))), int(rng.integers(3))
        stock = stocks.setdefault((who, kind), Stock())
        felt = stock.at(int(time_days * DAY_MS))
        log_retention = -strength * float(felt[12])
        mean = 0.01 * reach[who] * math.exp(levels[who] + log_retention)
        y = int(rng.poisson(mean * rng.gamma(dispersion) / dispersion))
        x = appeal(
            time_days=float(time_days),
            appealer=f"a{who}",
            kind=f"k{kind}",
            exposure=float(reach[who]),
            kind_stock=felt,
            repeat=stock.appeals + 1,
        )
        yield x, y, log_retention
        stock.add(int(time_days * DAY_MS))


def test_learns_how_a_kind_wears_out() -> None:
    model, errors, scores = LogRateRegression(), [], []
    for number, (x, y, log_retention) in enumerate(tiring_world(seed=1, appeals=3000)):
        if number > 2000:
            errors.append(abs(math.log(model.forecast_one(x).retention) - log_retention))
            scores.append(model.log_score_one(x, y))
        model.learn_one(x, y)
    assert np.mean(errors) < 0.1
    assert 5.0 < 1.0 / model.dispersion.inverse < 16.0
    assert np.mean(scores) > -5.0


def test_counts_fall_into_their_interval() -> None:
    model, inside = LogRateRegression(), []
    for number, (x, y, _) in enumerate(tiring_world(seed=2, appeals=1500)):
        forecast = model.forecast_one(x)
        if number > 300:
            inside.append(forecast.mean_low <= y <= forecast.mean_high)
        model.learn_one(x, y)
    assert 0.86 < np.mean(inside) < 0.97


def test_restored_it_goes_on_identically() -> None:
    stream = list(tiring_world(seed=3, appeals=200))
    model = LogRateRegression()
    for x, y, _ in stream[:120]:
        model.learn_one(x, y)
    state = model.state()
    json.dumps(state, default=lambda value: value.hex())  # plain, but for bytes
    other = LogRateRegression()
    other.restore(state)
    assert other.state() == state
    for x, y, _ in stream[120:]:
        assert other.forecast_one(x) == model.forecast_one(x)
        assert other.log_score_one(x, y) == model.log_score_one(x, y)
        model.learn_one(x, y)
        other.learn_one(x, y)
    assert other.state() == model.state()


def test_scoring_changes_nothing() -> None:
    model = LogRateRegression()
    first, second = appeal(), appeal(kind="new", attributes={"brand": 1.0})
    before = model.state()
    model.forecast_one(first), model.predict_one(first), model.log_score_one(first, 3)
    assert model.state() == before
    model.learn_one(first, 20)
    before = model.state()
    model.forecast_one(second), model.predict_one(second), model.log_score_one(second, 3)
    assert model.state() == before


def test_a_refused_appeal_leaves_the_state_as_it_was() -> None:
    model = LogRateRegression()
    model.learn_one(appeal(), 20)
    before = model.state()
    bad_stock = NO_STOCK.copy()
    bad_stock[12] = math.nan
    for x, y in (
        (appeal(), math.nan),
        (appeal(), -1),
        (appeal(exposure=0.0), 1),
        (appeal(exposure=math.inf), 1),
        (appeal(kind_stock=bad_stock, kind="new"), 1),
        (appeal(reciprocity=math.inf), 1),
        (appeal(time_days=math.nan), 1),
        (appeal(attributes={"age": math.nan}), 1),
    ):
        with pytest.raises(ValueError, match="expected"):
            model.learn_one(x, y)
        assert model.state() == before


def test_kinds_attributes_and_appealers_are_capped() -> None:
    model = LogRateRegression(kinds_max=3, attributes_max=2, appealers_max=5)
    for k in range(50):
        model.learn_one(
            appeal(kind=f"k{k}", appealer=f"a{k}", attributes={f"m{k}": 1.0, f"n{k}": 2.0}), 10
        )
    state = model.state()
    assert state["design"]["kinds"] == ["k0", "k1", "k2"]
    assert state["design"]["attributes"] == ["m0", "n0"]
    assert [row[0] for row in state["appealers"]] == [f"a{k}" for k in range(45, 50)]


@pytest.mark.parametrize("mean", [0.05, 0.7, 3.0, 40.0, 1000.0])
def test_interval_is_within_one_of_the_negative_binomial(mean: float) -> None:
    dispersion = Dispersion()
    size = 1.0 / dispersion.inverse
    exact = stats.nbinom.ppf([0.05, 0.95], size, size / (size + mean))
    assert np.abs(np.array(dispersion.interval(mean)) - exact).max() <= max(1.0, 0.01 * mean)


def test_log_score_is_a_distribution() -> None:
    dispersion = Dispersion()
    dispersion.learn_one(5.0, 9)
    total = sum(math.exp(dispersion.log_score_one(5.0, y, log_variance=0.1)) for y in range(3000))
    assert total == pytest.approx(1.0, abs=1e-3)
