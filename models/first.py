"""What a first appeal would draw in place of one: the yardstick of evidence."""

from __future__ import annotations

import numpy as np

from models.design import AXES
from models.effects import BLANK
from models.kernels import compiled
from models.level import entry, moments
from models.rows import JUMPS, Given, linearised, room

__all__ = ["first_in_place"]

CROWD = AXES.index("crowd")


@compiled
def first_in_place(given: Given) -> tuple[float, float, float]:
    """Work out what a first appeal by an unknown appealer would draw in place of one.

    Returns
    -------
    Mean and variance of its log mean, and the variance of everybody's level at that time.
    """
    places, appeal, coefficients, units, level, jumps, differ, told = given
    stocks, time_days, base, found = appeal
    mean, covariance = coefficients
    crowd = np.zeros_like(stocks)
    crowd[CROWD] = stocks[CROWD]
    first = crowd, time_days, base, found
    in_its_place = places, first, coefficients, units, level, jumps, differ, told
    believed = linearised(in_its_place, BLANK, np.empty(room(mean.shape[0])))
    index, weight, open_variance = entry(time_days, *level)
    _, known = moments(mean, covariance, index, weight, places[JUMPS], jumps, time_days)
    return believed[4], believed[5], known + open_variance
