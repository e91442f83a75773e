"""Weighted responses by age bin, of one kind or of all, and the curve they make: see
models.completion.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["Ladder", "are_counts", "count", "shares"]

Floats = NDArray[np.float64]
SHARE_MIN = 1e-9
DISPERSION_FROM = 50  # checkpoints of a kind, before which its curve is too rough to judge by


class Ladder:
    """Weighted responses in each bin and through each bin; and their curve.

    density: share of the final responses by bin. arrived: its running sum. variance: of the log of
    the share arrived by the end of a bin. All of shape (bins,). by_hour: what `shares` says of an
    hour put, kept until the curve is another; it follows from the rest.
    """

    __slots__ = ("arrived", "by_hour", "density", "learned", "new", "refit_at", "total", "variance")

    def __init__(self, bins: int) -> None:
        self.new = np.zeros(bins)
        self.total = np.zeros(bins)
        self.learned = 0
        self.refit_at = 1
        self.adopt(np.ones(bins), np.zeros(bins), np.zeros(bins))

    def set_curve(self, q: Floats, variance: Floats) -> None:
        """Turn the shares `q` of bins in what came through them into the curve."""
        log_stay = np.log1p(-q[1:])
        arrived = np.exp(np.append(np.cumsum(log_stay[::-1])[::-1], 0.0))
        spread = variance[1:] / (1.0 - q[1:]) ** 2
        variance = np.append(np.cumsum(spread[::-1])[::-1], 0.0)
        self.adopt(arrived, np.diff(arrived, prepend=0.0), variance)

    def adopt(self, arrived: Floats, density: Floats, variance: Floats) -> None:
        """Take over a curve."""
        self.arrived, self.density, self.variance = arrived, density, variance
        self.by_hour: dict[int, array[float]] = {}

    def state(self) -> dict[str, Any]:
        """Return everything counted, and the curve, as plain data."""
        return {
            "learned": self.learned,
            "refit_at": self.refit_at,
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> Ladder:
        """Return the ladder that gave `state`."""
        arrays = {name: np.array(state[name], dtype=np.float64) for name in _ARRAYS}
        ladder = cls(len(arrays["new"]))
        ladder.new, ladder.total = arrays["new"], arrays["total"]
        ladder.learned, ladder.refit_at = state["learned"], state["refit_at"]
        ladder.adopt(arrays["arrived"], arrays["density"], arrays["variance"])
        return ladder


_ARRAYS = ("new", "total", "arrived", "density", "variance")


@compiled
def shares(density: Floats, profile: Floats) -> Floats:
    """Return the share arrived by the end of each bin, put at an hour of that profile (by bin)."""
    arrived, total = np.empty(density.shape[0]), 0.0
    for k in range(density.shape[0]):
        total += density[k] * profile[k]
        arrived[k] = total
    for k in range(density.shape[0]):
        arrived[k] = max(SHARE_MIN, arrived[k] / total)
    return arrived


@compiled
def adjusted_before(
    arrived: Floats, density: Floats, profile: Floats, bin_start: int, before: float
) -> float:
    """Return what `before` would have been had the appeal been put at an average hour."""
    if before == 0.0 or bin_start == 0:
        return before
    expected = 0.0
    for k in range(bin_start):
        expected += density[k] * profile[k]
    return before * float(arrived[bin_start - 1]) / expected


@compiled
def disperse(
    spread: Floats, q: float, new: float, adjusted: float, correlation: float, keep: float
) -> None:
    """Learn how far appeals are from all having the same curve, by their squared residuals."""
    if not 0.0 < q < 1.0:
        return
    weight = 1.0 / (1.0 + adjusted * correlation)
    residual = weight * (new - adjusted * q)
    spread[0] = keep * spread[0] + weight * adjusted
    spread[1] = keep * spread[1] + weight * weight * adjusted
    spread[2] = keep * spread[2] + residual * residual / (q * (1.0 - q))


@compiled
def are_counts(bin_start: int, counts: Floats, before: float, bins: int) -> bool:
    """Return whether there are so many bins, and nothing less than none came in them or before."""
    if bin_start + counts.shape[0] > bins or not before >= 0.0:
        return False
    for number in counts:
        if not number >= 0.0:
            return False
    return True


@compiled
def count(
    new: Floats,
    total: Floats,
    arrived: Floats,
    density: Floats,
    learned: int,
    profile: Floats,
    bin_start: int,
    counts: Floats,
    before: float,
    keep: float,
    correlation: float,
    checkpoint_of_bin: NDArray[np.int64],
    hours_new: Floats,
    hours_total: Floats,
    hour: int,
    spread: Floats,
) -> None:
    """Add an appeal's counts to a ladder, in operational time, and to the profile's cells, as they
    came; see Completion.learn_one.

    Parameters
    ----------
    new, total, arrived, density, learned : of the ladder. profile : of the hour, by bin.
    keep : forgetting. correlation : of responses within an appeal.
    checkpoint_of_bin : number of the checkpoint that a bin ends with, or -1.
    hours_new, hours_total : shape (checkpoints, 168), the profile's cells.
    spread : shape (3,), what was claimed, expected by chance, and seen.
    """
    through, adjusted = before, adjusted_before(arrived, density, profile, bin_start, before)
    whole = bin_start == 0 or checkpoint_of_bin[bin_start - 1] >= 0
    start, before_start, adjusted_start = bin_start, through, adjusted
    for k in range(bin_start, bin_start + counts.shape[0]):
        came = counts[k - bin_start] / profile[k]
        adjusted += came
        through += counts[k - bin_start]
        if adjusted > 0.0:
            weight = 1.0 / (1.0 + adjusted * correlation)
            new[k] = keep * new[k] + weight * came
            total[k] = keep * total[k] + weight * adjusted
        if checkpoint_of_bin[k] < 0:
            continue
        if whole and start > 0 and through > 0.0:
            weight = 1.0 / (1.0 + through * correlation)
            hours_new[checkpoint_of_bin[k], hour] += weight * (through - before_start)
            hours_total[checkpoint_of_bin[k], hour] += weight * through
            if learned >= DISPERSION_FROM:
                q = 1.0 - arrived[start - 1] / arrived[k]
                disperse(spread, q, adjusted - adjusted_start, adjusted, correlation, keep)
        whole, start, before_start, adjusted_start = True, k + 1, through, adjusted
