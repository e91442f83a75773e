"""The forecast of an appeal in one go: what is believed of it, and what that comes to. The same as
`joint` and then `outlook`, without a word in between.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from models.design import Appeal
from models.effects import Effects
from models.forecast import Forecast
from models.gaussian import CountInterval, between
from models.kernels import compiled
from models.layout import Layout
from models.level import Level, Slots
from models.luck import Luck
from models.outlook import looked, looked_given
from models.rows import Places, Seen, linearised, room

__all__ = ["NOTHING_YET", "foretell"]

Floats = NDArray[np.float64]
NOTHING_YET = 0.0, 0.0


def foretell(
    appeal: Appeal,
    unit: int,
    layout: Layout,
    level: Level,
    effects: Effects,
    differ: tuple[float, float, float],
    luck: Luck,
    so_far: tuple[float, float],
) -> Forecast:
    """Return the forecast of an appeal by the unit in row `unit` of the effects.

    Parameters
    ----------
    differ : how units do: see spreads.Spreads.
    luck : of its moment, see luck.Moments.luck.
    so_far : responses that are in, and the share of all that could be; `NOTHING_YET` if none.
    """
    coefficients = layout.coefficients
    retention, low, high, sd, mean, count = foretold(
        layout.places,
        (appeal.stocks, appeal.time_days, appeal.log_exposure, layout.found(appeal)),
        (coefficients.mean, coefficients.covariance),
        unit,
        effects.packed,
        level.slots,
        level.jumps.packed,
        differ,
        layout.told,
        luck,
        so_far,
    )
    least, most = between(count)
    y = so_far[0]
    return Forecast(retention, low, high, y + mean, y + least, y + most, sd)


@compiled
def foretold(
    places: Places,
    appeal: Seen,
    coefficients: tuple[Floats, Floats],
    unit: int,
    units: Floats,
    level: Slots,
    jumps: Floats,
    differ: tuple[float, float, float],
    told: bool,
    luck: Luck,
    so_far: tuple[float, float],
) -> tuple[float, float, float, float, float, CountInterval]:
    """See `foretell`, rows.linearised for what is passed, and outlook.looked for what is returned.

    told : whether data have said more of wear-out than was held beforehand, which is normal.
    """
    believed = linearised(
        *(places, appeal, coefficients, unit, units, level, jumps, differ),
        np.empty(room(coefficients[0].shape[0])),
    )
    _, _, _, _, eta, variance, retention, retention_variance, covariance, immune, normal = believed
    by_luck, luck_variance, size = luck
    responses, completion = so_far
    eta, variance, normal = eta + by_luck, variance + luck_variance, normal if told else inf
    if completion == 0.0:
        return looked(
            eta, variance, retention, retention_variance, covariance, immune, normal, size
        )
    return looked_given(
        *(eta, variance, retention, retention_variance, covariance, immune, normal, size),
        *(responses, completion),
    )
