"""The forecast of an appeal in one go: what is believed of it, and what that comes to. The same as
`joint` and then `outlook`, without a word in between.
"""

from __future__ import annotations

import numpy as np

from models.forecast import Forecast
from models.gaussian import CountInterval, between
from models.kernels import compiled
from models.luck import Luck
from models.outlook import looked, looked_given
from models.rows import Given, linearised, room

__all__ = ["NOTHING_YET", "foretell"]

NOTHING_YET = 0.0, 0.0


def foretell(given: Given, unit: int, luck: Luck, so_far: tuple[float, float]) -> Forecast:
    """Return the forecast of an appeal by the unit in row `unit` of the effects.

    Parameters
    ----------
    luck : of its moment, see luck.Moments.luck.
    so_far : responses that are in, and the share of all that could be; `NOTHING_YET` if none.
    """
    retention, low, high, sd, mean, count = foretold(given, unit, luck, so_far)
    least, most = between(count)
    y = so_far[0]
    return Forecast(retention, low, high, y + mean, y + least, y + most, sd)


@compiled
def foretold(
    given: Given, unit: int, luck: Luck, so_far: tuple[float, float]
) -> tuple[float, float, float, float, float, CountInterval]:
    """See `foretell`, and outlook.looked for what is returned."""
    believed = linearised(given, unit, np.empty(room(given[2][0].shape[0])))
    _, _, _, _, eta, variance, retention, retention_variance, covariance, immune, normal = believed
    by_luck, luck_variance, size = luck
    responses, completion = so_far
    eta, variance = eta + by_luck, variance + luck_variance
    if completion == 0.0:
        return looked(
            eta, variance, retention, retention_variance, covariance, immune, normal, size
        )
    return looked_given(
        *(eta, variance, retention, retention_variance, covariance, immune, normal, size),
        *(responses, completion),
    )
