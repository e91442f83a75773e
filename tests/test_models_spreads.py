"""How counts scatter and how units differ: what is learned of it, and what is forgotten."""

from __future__ import annotations

from math import log

import numpy as np

from models.joint import Belief
from models.spreads import Spreads


def belief(mean: float) -> Belief:
    return Belief(log(mean), 0.01, 0.0, 0.01, 0.0, 0.0)


def test_appeals_that_could_say_nothing_make_nothing_forgotten() -> None:
    """Ten thousand appeals of which one response is expected in all are as good as one."""
    spreads = Spreads(forgetting=0.9995)
    for y in np.random.default_rng(1).poisson(100.0, size=640).tolist():
        spreads.notice_count(y, belief(100.0))
    learned = spreads.size
    assert learned > 100.0
    for _ in range(10_000):
        spreads.notice_count(0.0, belief(1e-4))
    assert 0.9 < spreads.size / learned < 1.1
