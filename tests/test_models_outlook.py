"""What is said at the ends of what numbers can hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from models.gaussian import NORMAL_95, NORMAL_99, between
from models.joint import Belief
from models.outlook import HEAVY_TAILED_90, looked_given, outlook
from models.retention import PooledRetention
from models.stock import HALF_LIVES_DAYS


def features(stock: float, day: float = 0.0) -> dict:
    felt = np.full(len(HALF_LIVES_DAYS), stock)
    return {"time_days": day, "exposure": 1000.0, "own": felt, "kind_stock": felt, "crowd": felt}


@pytest.mark.parametrize("stock", [0.0, 100.0, 10_000.0])
def test_before_anything_was_learned_all_that_is_said_is_a_number(stock):
    model = PooledRetention()
    for said in (
        model.forecast_one(features(stock)),
        model.forecast_given(features(stock), 5, 0.5),
    ):
        assert all(map(math.isfinite, said))
        assert said.low <= said.retention <= said.high
    assert math.isfinite(model.log_score_one(features(stock), 3))


def test_what_is_known_too_well_is_still_said():
    """After thousands of like appeals rounding is all that is left of the variance."""
    model = PooledRetention()
    for day in range(300):
        model.learn_one(features(50.0, day / 10.0), 20)
    belief = model._expect(features(50.0, 30.0))[0]._replace(eta_variance=1e-6, covariance=0.0)
    given = looked_given(*belief, model.size, 8.0, 0.9999999)
    for said in (outlook(belief, model.size), given[:5], between(given[5])):
        assert all(map(math.isfinite, said))


def reach(belief: Belief) -> tuple[float, float]:
    """Return how far the limits of 90 % lie from the middle, and what those of 99 % are taken from,
    natural log.
    """
    said = outlook(belief, 10.0)
    assert said.retention / said.low == pytest.approx(said.high / said.retention)
    return math.log(said.retention / said.low), said.log_retention_sd


def test_what_was_learned_has_heavier_tails_than_a_normal():
    """As many lie beyond a limit of 99 % as beyond a normal's, but fewer beyond one of 95 %."""
    t = stats.t(4)
    assert pytest.approx(t.ppf(0.95) / t.ppf(0.99) * NORMAL_99 / NORMAL_95, 1e-5) == HEAVY_TAILED_90
    normal = Belief(3.0, 0.04, 0.0, 0.04, 0.0, 0.0)
    learned, some = normal._replace(normal_variance=0.0), normal._replace(normal_variance=0.03)
    floor = 0.02**2
    assert reach(normal) == pytest.approx((NORMAL_95 * math.sqrt(0.04 + floor), math.sqrt(0.0404)))
    assert reach(learned)[0] == pytest.approx(
        NORMAL_95 * math.sqrt(HEAVY_TAILED_90**2 * 0.04 + floor)
    )
    assert reach(learned)[0] < reach(some)[0] < reach(normal)[0]
    assert reach(learned)[1] == reach(some)[1] == reach(normal)[1]


def test_what_is_held_beforehand_is_normal():
    model = PooledRetention()
    said = model.forecast_one(features(1.0))
    assert math.log(said.high / said.low) == pytest.approx(2 * NORMAL_95 * said.log_retention_sd)


def test_how_a_unit_differs_is_normal():
    """Nobody differs by more than units do, and of whom much was learned, by less."""
    model = PooledRetention()
    rng = np.random.default_rng(1)
    for day in range(400):
        own, kind, crowd = 3.0 * rng.random(3)
        x = features(own, day / 4.0) | {"appealer": f"p{day % 10}"}
        x |= {"kind_stock": np.full(len(HALF_LIVES_DAYS), kind)}
        x |= {"crowd": np.full(len(HALF_LIVES_DAYS), crowd)}
        model.learn_one(x, rng.poisson(300.0 * math.exp(-0.2 * own - 0.2 * kind)))
    assert model.layout.told
    new, known = (
        model._expect(features(3.0, 100.0) | {"appealer": who})[0] for who in ("new", "p1")
    )
    assert new.normal_variance == pytest.approx((model.strength.sd * new.retention) ** 2, rel=0.2)
    assert 0.0 < known.normal_variance < new.normal_variance


def test_what_has_come_takes_as_much_off_both_parts_of_the_variance():
    belief = Belief(math.log(100.0), 0.04, -0.5, 0.04, 0.03, 0.0, 0.02)
    all_normal = belief._replace(normal_variance=math.inf)
    none_normal = belief._replace(normal_variance=0.0)
    widths = [
        math.log(high / low)
        for _, low, high, *_ in (
            looked_given(*b, 10.0, 60.0, 0.5) for b in (none_normal, belief, all_normal)
        )
    ]
    assert widths[0] < widths[1] < widths[2]
    floor = 0.05**2 * 0.5**2 + 0.02**2  # at about this log retention; it is normal in all three
    variances = [(width / (2.0 * NORMAL_95)) ** 2 - floor for width in widths]
    assert variances[0] / variances[2] == pytest.approx(HEAVY_TAILED_90**2, rel=0.05)
    assert variances[1] / variances[2] == pytest.approx((1.0 + HEAVY_TAILED_90**2) / 2.0, rel=0.05)


@pytest.mark.parametrize("normal", [0.0, 0.02, math.inf])
def test_an_immune_part_reaches_up_to_one(normal):
    tired = Belief(math.log(100.0), 0.04, -1.0, 0.04, 0.0, 0.0, normal)
    mixed = outlook(tired._replace(immune=0.2), 10.0)
    plain = outlook(tired, 10.0)
    assert mixed.high > 0.9 > plain.high and mixed.low >= 0.95 * plain.low


@pytest.mark.parametrize("told", [False, True])
def test_what_is_foretold_in_one_go_is_what_is_believed_and_what_it_comes_to(told):
    """With others put at the same moment, or alone."""
    model, rng = PooledRetention(), np.random.default_rng(2)
    for n in range(200):
        own, kind = 3.0 * rng.random(2)
        x = features(own, float(n // 3)) | {"appealer": f"p{n // 3 % 5}"}
        x |= {"kind_stock": np.full(len(HALF_LIVES_DAYS), kind)}
        model.learn_one(x, rng.poisson(300.0 * math.exp(-0.2 * own - 0.2 * kind)))
    model.layout.told = told
    same_moment = x | {"own": np.full(len(HALF_LIVES_DAYS), 1.5)}
    for asked in (same_moment, x | {"time_days": 500.0}, features(1.0, 500.0)):
        belief, size = model._expect(asked)
        assert model.forecast_one(asked) == outlook(belief, size)
        assert model.forecast_one(asked) == model.forecast_and_score_one(asked, 7)[0]
        retention, low, high, sd, rest, count = looked_given(*belief, size, 40.0, 0.6)
        least, most = between(count)
        to_come = (40.0 + rest, 40.0 + least, 40.0 + most)
        assert model.forecast_given(asked, 40, 0.6) == (retention, low, high, *to_come, sd)
