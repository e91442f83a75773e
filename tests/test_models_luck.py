"""Luck shared at a moment: found where it is, not found where it is not, and foretold with."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from models.luck import Moments
from models.retention import PooledRetention

SIBLINGS = 4
ALONE = (0.0, 0.0, 5.0)  # no luck known, and the dispersion that was given


def scored(shared_sd: float, own_sd: float, seed: int, moments: int = 250) -> PooledRetention:
    """Teach a model moments of some appeals each, whose log rates share a part."""
    rng, model = np.random.default_rng(seed), PooledRetention()
    model.scores = {"first": [], "later": []}  # type: ignore[attr-defined]
    for day in range(moments):
        common = rng.normal(0.0, shared_sd)
        for sibling in range(SIBLINGS):
            x = {"time_days": float(day), "appealer": "site", "audience": "all", "exposure": 1000.0}
            y = int(rng.poisson(30.0 * math.exp(common + rng.normal(0.0, own_sd))))
            if day > moments // 2:
                which = "later" if sibling else "first"
                model.scores[which].append(model.log_score_one(x, y))  # type: ignore[attr-defined]
            model.learn_one(x, y)
    return model


def test_shared_luck_is_found_and_foretold_with() -> None:
    model = scored(shared_sd=0.5, own_sd=0.2, seed=1)
    share = 0.25 / (0.25 + 0.04)
    assert model.shared_luck.mean == pytest.approx(share, abs=0.1)
    first, later = (np.mean(model.scores[which]) for which in ("first", "later"))  # type: ignore[attr-defined]
    assert later > first + 0.3, "siblings tell of each other"


def test_luck_of_ones_own_is_not_taken_for_shared() -> None:
    model = scored(shared_sd=0.0, own_sd=0.5, seed=2)
    assert model.shared_luck.mean < 0.03
    first, later = (np.mean(model.scores[which]) for which in ("first", "later"))  # type: ignore[attr-defined]
    assert later == pytest.approx(first, abs=0.1)


def test_appeals_of_other_moments_units_and_before_any_count_have_no_luck() -> None:
    moments = Moments(10, 0.9995)
    assert moments.luck("a", 1.0, 5.0) == ALONE
    moments.learn("a", 1.0, 90.0, math.log(30.0), 0.01, 5.0)
    assert moments.luck("a", 2.0, 5.0) == ALONE
    assert moments.luck("b", 1.0, 5.0) == ALONE
    mean, variance, size = moments.luck("a", 1.0, 5.0)
    assert mean > 0.1
    assert variance > 0.0
    assert size > 5.0, "what is shared is not each one's own"


def test_is_bounded_and_restored_as_it_was() -> None:
    moments = Moments(3, 0.9995)
    for unit in "abcda":
        for y in (10.0, 14.0):
            moments.learn(unit, 1.0, y, 2.0, 0.1, 5.0)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(moments.state()))
    assert len(kept["latest"]) == 3
    twin = Moments(3, 0.9995)
    twin.restore(kept)
    for other in (moments, twin):
        other.learn("a", 1.0, 20.0, 2.0, 0.1, 5.0)
    assert twin.state() == moments.state()
    assert twin.luck("a", 1.0, 5.0) == moments.luck("a", 1.0, 5.0)
