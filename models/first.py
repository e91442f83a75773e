"""What a first appeal would draw in place of one: the yardstick of evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.design import AXES, Appeal
from models.effects import BLANK, Effects
from models.jumps import CANDIDATES
from models.jumps import JUMPS as JUMPS_MAX
from models.kernels import compiled
from models.layout import Layout
from models.level import Level, entry, moments
from models.rows import JUMPS, Places, linearised
from models.strength import Strength

__all__ = ["first_in_place"]

Floats = NDArray[np.float64]
CROWD = AXES.index("crowd")


def first_in_place(
    appeal: Appeal,
    layout: Layout,
    level: Level,
    effects: Effects,
    level_sd: float,
    strength: Strength,
) -> tuple[float, float, float]:
    """Work out what a first appeal by an unknown appealer would draw in place of this one.

    level_sd, strength : how units differ.

    Returns
    -------
    Mean and variance of its log mean, and the variance of everybody's level at that time.
    """
    coefficients, jumps = layout.coefficients, level.jumps.packed
    return in_place(
        *(layout.places, *layout.found(appeal)),
        *(appeal.stocks, appeal.time_days, appeal.log_exposure),
        *(coefficients.mean, coefficients.covariance, effects.packed),
        *(level.at, level.slot),
        level.slot_days,
        level.begun,
        jumps,
        *(level_sd, strength.sd, strength.share),
    )


@compiled
def in_place(
    places: Places,
    kind: int,
    group: int,
    attributes: Places,
    values: Floats,
    stocks: Floats,
    time_days: float,
    base: float,
    mean: Floats,
    covariance: Floats,
    units: Floats,
    level: int,
    slot: int,
    slot_days: Floats,
    begun: bool,
    jumps: Floats,
    level_sd: float,
    wear_sd: float,
    immune_share: float,
) -> tuple[float, float, float]:
    """See `first_in_place`, and rows.linearised for what is passed."""
    crowd = np.zeros_like(stocks)
    crowd[CROWD] = stocks[CROWD]
    believed = linearised(
        *(places, kind, group, attributes, values, crowd, time_days, base, mean, covariance),
        *(BLANK, units, level, slot, slot_days, begun, jumps, level_sd, wear_sd, immune_share),
        np.empty(6 * mean.shape[0] + 20),
    )
    index, weight, open_variance = entry(time_days, level, slot, slot_days, begun)
    _, known = moments(
        *(mean, covariance, index, weight, places[JUMPS], jumps[:JUMPS_MAX], time_days),
        jumps[JUMPS_MAX : JUMPS_MAX + CANDIDATES],
        jumps[JUMPS_MAX + CANDIDATES :].reshape((CANDIDATES, CANDIDATES)),
    )
    return believed[4], believed[5], known + open_variance
