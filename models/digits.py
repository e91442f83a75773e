"""Six significant digits, many numbers at once: what `float(f"{value:.6g}")` says, to the bit.

A number is scaled by a power of ten so that six digits stand before the point, rounded to an
integer, and scaled back. Powers up to 10^22 are doubles, so the scaled number is off by half a unit
in its last place, 1e-10, and rounds as the number does unless it is that close to a tie; the
integer and the power being exact, their quotient is the double nearest to the decimal (Clinger
1990, "How to read floating point numbers accurately", PLDI). Where that cannot be said, Python
rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["six_digits"]

Floats = NDArray[np.float64]

DIGITS = 6
LEAST, BEYOND = 10.0 ** (DIGITS - 1), 10.0**DIGITS
EXACT_POWER_MAX = 22
POWERS: Floats = np.array([float(10**power) for power in range(EXACT_POWER_MAX + 1)])
NEAR_TIE = 1e-9


def six_digits(values: Sequence[float]) -> list[float]:
    """Return the numbers with six significant digits.

    Raises
    ------
    ValueError
        If one is not finite.

    >>> six_digits([2 / 3, -123456.5, 1e300, 0.0])
    [0.666667, -123456.0, 1e+300, 0.0]
    """
    given = np.array(values, dtype=np.float64)
    rounded = np.empty(len(given))
    doubtful = round_all(given, rounded)
    result: list[float] = rounded.tolist()
    if doubtful:
        for index in np.flatnonzero(np.isnan(rounded)).tolist():
            if not isfinite(values[index]):
                raise ValueError(f"expected a finite number, got {values[index]}")
            result[index] = float(f"{values[index]:.6g}")
    return result


@compiled
def round_all(values: Floats, rounded: Floats) -> int:
    """Fill in rounded numbers, and NaN where there is doubt; return in how many there is."""
    doubtful = 0
    for i in range(values.shape[0]):
        rounded[i] = round_one(values[i])
        doubtful += rounded[i] != rounded[i]
    return doubtful


@compiled
def round_one(value: float) -> float:
    """Return a number with six digits, or NaN if that is in doubt."""
    size = abs(value)
    if size == 0.0:
        return value
    if not 1e-16 < size < 1e26:
        return np.nan
    power = DIGITS - 1 - int(floor(log10(size)))
    scaled = size * POWERS[power] if power >= 0 else size / POWERS[-power]
    if not LEAST <= scaled < BEYOND:  # the logarithm was rounded across an integer
        return np.nan
    whole = floor(scaled)
    over = scaled - whole
    if abs(over - 0.5) < NEAR_TIE:
        return np.nan
    if over > 0.5:
        whole += 1.0
    result: float = whole / POWERS[power] if power >= 0 else whole * POWERS[-power]
    return result if value > 0.0 else -result
