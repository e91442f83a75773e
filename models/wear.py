"""Wear-out taken apart: draws of what each axis costs an appeal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.design import LOG_HALF_LIVES, STOCK_KEYS, felt
from models.retention import PooledRetention
from models.rows import SHARE_MAX, SHARE_MIN, step_rate

__all__ = ["Wear", "draw_wear"]

Floats = NDArray[np.float64]


class Wear(NamedTuple):
    """Shape (draws, 3), axes in the order own, kind, crowd.

    stocks : felt now, in appeals. rates : natural log per unit of stock, for this appealer and
    kind. half_lives_days.
    """

    stocks: Floats
    rates: Floats
    half_lives_days: Floats


def draw_wear(
    model: PooledRetention, x: Mapping[Any, Any], rng: np.random.Generator, draws: int
) -> Wear:
    """Return draws from what is believed of the appeal `x`, each of shape (draws, 3).

    The coefficients are drawn jointly from their Gaussian posterior, the appealer's own strength
    from its conditional given the means; stocks are read off at the drawn half-lives.
    """
    layout, appeal = model.layout, model.read(x)
    at = [*range(layout.half_life, layout.half_life + 3), *_rate_entries(model, appeal.kind)]
    belief = layout.coefficients
    covariance = belief.covariance[np.ix_(at, at)]
    drawn = rng.multivariate_normal(belief.mean[at], covariance, size=draws, method="eigh")
    rates = drawn[:, 3:6] + (drawn[:, 6:9] if len(at) > 6 else 0.0)
    stock, _ = felt(appeal.stocks[1], layout.log_half_lives[1])
    rates[:, 1] += step_rate(belief.mean, layout.places, stock)
    strength, strength_sd = model.wear_strength(appeal)
    own = rng.normal(1.0, strength_sd, size=(draws, 1))
    strengths = strength * np.clip(own, SHARE_MIN, SHARE_MAX)
    grids = [x.get(name) for name in STOCK_KEYS]
    stocks = [
        np.zeros(draws) if values is None else np.interp(drawn[:, axis], LOG_HALF_LIVES, values)
        for axis, values in enumerate(grids)
    ]
    return Wear(np.stack(stocks, axis=1), strengths * rates, np.exp(drawn[:, :3]))


def _rate_entries(model: PooledRetention, kind: str) -> list[int]:
    layout = model.layout
    at = layout.find("kind", kind)
    common = list(range(layout.wear, layout.wear + 3))
    return common if at is None else [*common, at + 1, at + 2, at + 3]
