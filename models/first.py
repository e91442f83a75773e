"""What a first appeal would draw in place of one: the yardstick of evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.design import AXES, Appeal
from models.effects import BLANK, Effects
from models.kernels import compiled
from models.layout import Layout
from models.level import Level, Slots, entry, moments
from models.rows import JUMPS, Places, Seen, linearised, room

__all__ = ["first_in_place"]

Floats = NDArray[np.float64]
CROWD = AXES.index("crowd")


def first_in_place(
    appeal: Appeal,
    layout: Layout,
    level: Level,
    effects: Effects,
    differ: tuple[float, float, float],
) -> tuple[float, float, float]:
    """Work out what a first appeal by an unknown appealer would draw in place of this one.

    differ : how units do, see spreads.Spreads.

    Returns
    -------
    Mean and variance of its log mean, and the variance of everybody's level at that time.
    """
    coefficients = layout.coefficients
    return in_place(
        layout.places,
        (appeal.stocks, appeal.time_days, appeal.log_exposure, layout.found(appeal)),
        (coefficients.mean, coefficients.covariance),
        effects.packed,
        level.slots,
        level.jumps.packed,
        differ,
    )


@compiled
def in_place(
    places: Places,
    appeal: Seen,
    coefficients: tuple[Floats, Floats],
    units: Floats,
    level: Slots,
    jumps: Floats,
    differ: tuple[float, float, float],
) -> tuple[float, float, float]:
    """See `first_in_place`, and rows.linearised for what is passed."""
    stocks, time_days, base, found = appeal
    mean, covariance = coefficients
    crowd = np.zeros_like(stocks)
    crowd[CROWD] = stocks[CROWD]
    believed = linearised(
        places,
        (crowd, time_days, base, found),
        coefficients,
        BLANK,
        units,
        level,
        jumps,
        differ,
        np.empty(room(mean.shape[0])),
    )
    index, weight, open_variance = entry(time_days, *level)
    _, known = moments(mean, covariance, index, weight, places[JUMPS], jumps, time_days)
    return believed[4], believed[5], known + open_variance
