"""The level: what happens to everybody at once, stiff from slot to slot, but free to jump.

The level of a slot (half a week, or longer where appeals are few) is an entry of the coefficients
and follows a stationary Ornstein-Uhlenbeck process that moves slowly; to it come the jumps
(models.jumps). Old slots stay among the coefficients for a while, so that an appealer who comes
back is compared with the level that held when it was last heard.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.coefficients import Coefficients
from models.effects import Effects
from models.jumps import Jumps, unpacked
from models.kernels import compiled

__all__ = ["Level", "entry"]

Floats = NDArray[np.float64]
Slots = tuple[int, int, Floats, bool]  # at, latest, slot_days and begun: see entry

# Slots kept apart: six weeks or more. Who was away for longer is compared with the oldest kept.
SLOTS = 12
SLOT_DAYS = 3.5
SLOT_APPEALS_MIN = 10  # ten concurrent appeals tell the level to about .15
SLOT_DAYS_MAX = 14.0
# It moves by .05 in half a week, as one of sd .15 does that forgets in two months; but it may stay
# away for a season.
DRIFT_SD, DRIFT_DAYS = 0.3, 240.0
# Appeals of a slot after each of which its jump is weighed anew; later only every so many.
WEIGH_ALWAYS, WEIGH_EVERY = 8, 4
NORMAL_DAYS = 365.0  # "normal" is the average level over about a year


class Level:
    """Which coefficients make the level at a time, and how they are renewed as time goes on.

    Parameters
    ----------
    coefficients : gets the entries of the level.
    intercept : index of the intercept, which accepted jumps finally join.
    """

    def __init__(self, coefficients: Coefficients, intercept: int) -> None:
        sds = [DRIFT_SD] + [0.0] * (SLOTS - 1)
        self.at = coefficients.add("level", [0.0] * SLOTS, sds)
        self.jumps = Jumps(coefficients, intercept)
        self.slot = 0  # number of the latest slot; its entry is at `at + slot % SLOTS`
        self.slot_days: Floats = np.zeros(SLOTS)  # when each kept slot began
        self.appeals = 0  # learned in the latest slot
        self.begun = False
        self.normal_sum = 0.0
        self.normal_weight = 0.0

    @property
    def began_days(self) -> float:
        """When the latest slot began."""
        return float(self.slot_days[self.slot % SLOTS])

    @property
    def slots(self) -> Slots:
        """What `entry` asks of the slots."""
        return self.at, self.slot, self.slot_days, self.begun

    def entry(self, time_days: float) -> tuple[int, float, float]:
        """Return the index and weight of the slot's level then, and the variance left open."""
        return entry(time_days, *self.slots)

    def advance(self, time_days: float, coefficients: Coefficients, effects: Effects) -> None:
        """Begin a new slot if it is time, before an appeal put then is learned."""
        if not self.begun:
            self.begun = True
            self.slot_days[0] = time_days
        age = time_days - self.began_days
        enough = self.appeals >= SLOT_APPEALS_MIN or age >= SLOT_DAYS_MAX
        if age >= SLOT_DAYS and enough:
            self._remember_normal(age, coefficients)
            self._begin_slot(time_days, coefficients, effects)
            self.jumps.begin_slot(self.slot, time_days, coefficients, effects)
        self.appeals += 1

    def settle(self, coefficients: Coefficients) -> None:
        """Weigh the jumps anew after an appeal was learned; not after each, once there are many."""
        if self.appeals < WEIGH_ALWAYS or self.appeals % WEIGH_EVERY == 0:
            self.jumps.weigh(coefficients)

    def _begin_slot(self, time_days: float, coefficients: Coefficients, effects: Effects) -> None:
        last, new = self.at + self.slot % SLOTS, self.at + (self.slot + 1) % SLOTS
        if self.slot + 1 >= SLOTS:
            effects.stand_in(new, self.at + (self.slot + 2) % SLOTS, coefficients)
        keep = exp(-(time_days - self.began_days) / DRIFT_DAYS)
        coefficients.replace(new, last, keep, DRIFT_SD**2 * (1.0 - keep * keep))
        self.slot += 1
        self.slot_days[self.slot % SLOTS] = time_days
        self.appeals = 0

    def _remember_normal(self, elapsed_days: float, coefficients: Coefficients) -> None:
        mean, _ = self.moments(self.began_days, coefficients)
        keep = exp(-elapsed_days / NORMAL_DAYS)
        self.normal_sum = keep * self.normal_sum + elapsed_days * mean
        self.normal_weight = keep * self.normal_weight + elapsed_days

    @property
    def normal(self) -> float:
        """The average log level so far."""
        return self.normal_sum / self.normal_weight if self.normal_weight > 0.0 else 0.0

    def moments(self, time_days: float, coefficients: Coefficients) -> tuple[float, float]:
        """Return mean and variance of the log level at a time, over all that may have jumped."""
        slot, keep, variance = self.entry(time_days)
        jumps = self.jumps
        mean, known = moments(
            coefficients.mean,
            coefficients.covariance,
            slot,
            keep,
            jumps.at,
            jumps.packed,
            time_days,
        )
        return mean, known + variance

    def correlation(self, coefficients: Coefficients, entry: int) -> float:
        """Return the correlation, in what is believed, of the latest level and another entry."""
        slot, _, _ = self.entry(self.began_days)
        indices = [slot, *self.jumps.entries(self.began_days)]
        covariance = coefficients.covariance
        across = float(covariance[indices, entry].sum())
        level = float(covariance[np.ix_(indices, indices)].sum())
        return across / sqrt(max(level * float(covariance[entry, entry]), 1e-300))

    def state(self) -> dict[str, Any]:
        names = ("slot", "appeals", "begun", "normal_sum", "normal_weight")
        kept: dict[str, Any] = {name: getattr(self, name) for name in names}
        return kept | {"slot_days": self.slot_days.tolist(), "jumps": self.jumps.state()}

    def restore(self, state: dict[str, Any]) -> None:
        for name in ("slot", "appeals", "begun", "normal_sum", "normal_weight"):
            setattr(self, name, state[name])
        self.slot_days[:] = state["slot_days"]
        self.jumps.restore(state["jumps"])


@compiled
def entry(
    time_days: float, at: int, latest: int, slot_days: Floats, begun: bool
) -> tuple[int, float, float]:
    """Return the index and weight of the slot's level at a time, and the variance left open.

    at : of the first slot's entry. latest : number of the latest slot. slot_days : when each began.
    """
    slot, began_days = latest, slot_days[latest % SLOTS]
    if time_days >= began_days or not begun:
        keep = exp(-max(0.0, time_days - began_days - SLOT_DAYS) / DRIFT_DAYS)
        return at + slot % SLOTS, keep, DRIFT_SD**2 * (1.0 - keep * keep)
    while slot > max(0, latest - SLOTS + 1) and slot_days[slot % SLOTS] > time_days:
        slot -= 1
    return at + slot % SLOTS, 1.0, 0.0


@compiled
def moments(
    mean: Floats,
    covariance: Floats,
    slot: int,
    keep: float,
    jumps_at: int,
    packed: Floats,
    time_days: float,
) -> tuple[float, float]:
    """Return mean and variance of `keep` times a slot's level and the jumps that had begun by a
    time, over all that may have jumped; jumps_at, packed : see jumps.Jumps.
    """
    began_days, shift, change = unpacked(packed)
    jumps = jumps_at + np.flatnonzero(began_days <= time_days)
    centre, variance = keep * mean[slot], keep * keep * covariance[slot, slot]
    for i in jumps:
        centre += mean[i]
        variance += 2.0 * keep * covariance[slot, i]
        for j in jumps:
            variance += covariance[i, j]
    across = np.empty(shift.shape[0])  # with the candidates
    for k in range(shift.shape[0]):
        across[k] = keep * covariance[slot, jumps_at + k]
        for i in jumps:
            across[k] += covariance[i, jumps_at + k]
    for k in range(shift.shape[0]):
        centre += across[k] * shift[k]
        for m in range(shift.shape[0]):
            variance += across[k] * change[k, m] * across[m]
    return centre, variance
