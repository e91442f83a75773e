"""What is said at the ends of what numbers can hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.outlook import outlook, outlook_given
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
    for said in (outlook(belief, model.size), outlook_given(belief, model.size, 8, 0.9999999)):
        assert all(map(math.isfinite, said))
