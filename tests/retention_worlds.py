"""Simulated worlds as a model meets them: forecast first, learn once an appeal has closed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.retention import PooledRetention
from models.stock import Stock
from replay.scenarios import WorldSettings
from replay.world import World, build_world

DAY_MS = 86_400_000
HORIZON_DAYS, EARLY_DAYS = 7.0, 3.0
ARRIVED_EARLY = 0.953  # of a log-normal of median 6 h and sigma 1.5, after three days


def features(world: World) -> list[dict[str, Any]]:
    """Return the features of each appeal, as the learner would make them."""
    own: dict[int, Stock] = {}
    kind_stock: dict[tuple[int, int], Stock] = {}
    everybody: dict[int, Stock] = {}
    found = []
    for i, time_ms in enumerate(world.time_ms.tolist()):
        who, kind = int(world.appealer[i]), int(world.kind[i])
        stocks = (
            own.setdefault(who, Stock()),
            kind_stock.setdefault((who, kind), Stock()),
            everybody.setdefault(kind, Stock()),
        )
        own_at, kind_at, all_at = (stock.at(time_ms) for stock in stocks)
        found.append(
            {
                "time_days": time_ms / DAY_MS,
                "appealer": f"p{who}",
                "kind": f"k{kind}",
                "audience": f"p{who}-network",
                "exposure": float(world.appealers.reach[who]),
                "own": own_at,
                "kind_stock": kind_at,
                "crowd": np.maximum(all_at - kind_at, 0.0),
                "repeat": int(world.repeat[i]),
                "attributes": {
                    "brand": float(world.appealers.brand[who]),
                    "network_age_years": float(world.appealers.network_age_years[who]),
                },
            }
        )
        for stock in stocks:
            stock.add(time_ms)
    return found


def replay(
    model: PooledRetention, world: World, appeals: list[dict[str, Any]]
) -> NDArray[np.float64]:
    """Return the forecasts made before each appeal's responses, shape (appeals, 7).

    Appeals are learned in order of time once closed: at the horizon at first, after three days when
    the completion curve has been learned.
    """
    days = world.time_ms / DAY_MS
    arrived = np.random.Generator(np.random.PCG64(1)).binomial(world.responses, ARRIVED_EARLY)
    closes = days + np.where(days - days[0] > 2 * HORIZON_DAYS, EARLY_DAYS, HORIZON_DAYS)
    said = np.zeros((len(appeals), 7))
    learned = 0
    for i, x in enumerate(appeals):
        while learned < i and closes[learned] <= days[i]:
            seen = appeals[learned]
            model.learn_one(
                seen | {"exposure": seen["exposure"] * ARRIVED_EARLY}, float(arrived[learned])
            )
            learned += 1
        said[i] = model.forecast_one(x)
    return said


def judge(world: World, said: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean |log retention error| over all repeats, and the coverage of the 90 % interval."""
    repeats = world.repeat > 1
    truth = world.retention[repeats]
    error = np.abs(np.log(said[repeats, 0] / truth)).mean()
    inside = (said[repeats, 1] <= truth) & (truth <= said[repeats, 2])
    return float(error), float(inside.mean())


def run(
    scenario: str, seed: int, appeals: int, settings: WorldSettings | None = None
) -> tuple[PooledRetention, World, NDArray[np.float64]]:
    """Return a model that has been through a world, the world, and what was said on the way."""
    world = build_world(scenario, seed, appeals, settings=settings)
    model = PooledRetention()
    return model, world, replay(model, world, features(world))
