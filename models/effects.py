"""Random effects of many units, each Gaussian *given* the shared coefficients.

A unit (an appealer with its audience) has two effects: its level, and how much faster than others
it wears out. Kept is u | theta ~ N(mean + loading theta, covariance). That is the exact conditional
of a joint Gaussian over theta and all the units' effects: an observation of one unit changes only
its own conditional and the marginal of theta (the "arrowhead" a mixed model's precision has;
Henderson 1975, "Best linear unbiased estimation and prediction under a selection model", Biometrics
31(2)). So thousands of units cost one row each.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.coefficients import Coefficients
from models.kernels import compiled

__all__ = ["BLANK", "COVARIANCE", "LOADING", "MEAN", "PRIOR_SDS", "Effects"]

Floats = NDArray[np.float64]
BLANK = 0  # the row of a unit never seen
EFFECTS = 2  # level, wear-out
# How a row is laid out: means, covariance, prior sds, and then the loading, effect by effect.
MEAN, COVARIANCE, PRIOR_SDS, LOADING = 0, 2, 6, 8


class Effects:
    """The conditional Gaussians of up to `units_max` units; the one longest unheard of makes room
    for a new one.

    Attributes
    ----------
    packed : shape (rows, 8 + 2 capacity), everything of a unit in one row, for compiled loops; the
        following four are views of it.
    mean, prior_sds : shape (rows, 2). loading : (rows, 2, capacity). covariance : (rows, 2, 2).
    appeals, last_days : by row, how many appeals of a unit were learned, and when the latest was.
    evicted : how many units have made room.
    """

    def __init__(self, units_max: int, sds: tuple[float, float]) -> None:
        self.units_max = units_max
        self.sds = sds  # of a new unit
        # A plain dict would look through all that has been taken from its front for the next one.
        self.row: OrderedDict[str, int] = OrderedDict()
        self.evicted = 0
        self._allocate(64, 16)

    def _allocate(self, rows: int, capacity: int) -> None:
        self._view(np.zeros((rows, LOADING + EFFECTS * capacity)))
        self.appeals = [0] * rows
        self.last_days = [-inf] * rows
        self._expect_of_new()

    def _view(self, everything: Floats) -> None:
        rows = len(everything)
        self.packed = everything
        self.mean: Floats = everything[:, MEAN:COVARIANCE]
        self.covariance: Floats = everything[:, COVARIANCE:PRIOR_SDS].reshape(rows, 2, 2)
        self.prior_sds: Floats = everything[:, PRIOR_SDS:LOADING]
        self.loading: Floats = everything[:, LOADING:].reshape(rows, EFFECTS, -1)

    def fit(self, capacity: int) -> None:
        """Make room for the loadings of so many coefficients."""
        more = capacity - self.loading.shape[2]
        if more > 0:
            loading = np.pad(self.loading, ((0, 0), (0, 0), (0, more)))
            own = self.packed[:, :LOADING]
            self._view(np.concatenate((own, loading.reshape(len(own), -1)), axis=1))

    def find(self, key: str) -> int:
        """Return the row of a unit, BLANK if it is not known."""
        return self.row.get(key, BLANK)

    def touch(self, key: str, time_days: float) -> int:
        """Return the row of a unit about to be learned of, as the one latest heard of."""
        row = self.row.pop(key, None)
        if row is None:
            row = self._new_row()
        self.row[key] = row
        self.appeals[row] += 1
        self.last_days[row] = max(time_days, self.last_days[row])
        return row

    def _new_row(self) -> int:
        """Return a blank row: a fresh one, or that of the unit longest unheard of."""
        if len(self.row) >= self.units_max:
            _, row = self.row.popitem(last=False)
            self.evicted += 1
        else:
            row = len(self.row) + 1
            self._grow(row + 1)
        self._blank(row)
        return row

    def expect(self, sds: tuple[float, float]) -> None:
        """Let units that are new from now on have these prior sds."""
        if sds != self.sds:
            self.sds = sds
            self._expect_of_new()

    def _expect_of_new(self) -> None:
        self.covariance[BLANK] = np.diag(np.square(self.sds))
        self.prior_sds[BLANK] = self.sds

    def _blank(self, row: int) -> None:
        self.packed[row] = self.packed[BLANK]
        self.appeals[row], self.last_days[row] = 0, -inf

    def _grow(self, rows: int) -> None:
        if rows <= len(self.mean):
            return
        more = min(len(self.mean), self.units_max + 1 - len(self.mean))
        self._view(np.pad(self.packed, ((0, more), (0, 0))))
        self.appeals += [0] * more
        self.last_days += [-inf] * more

    def move(
        self, source: int, target: int, slope: float, constant: float, variance: float
    ) -> None:
        """Say the coefficient at `source` by the one at `target` plus N(constant, variance), for
        all units.

        Needed before a coefficient is taken out: what a unit owed to it, it now owes to its
        stand-in.
        """
        move(self.packed[: len(self.row) + 1], source, target, slope, constant, variance)

    def forget(self, index: int) -> None:
        """Let no unit owe anything to a coefficient that has turned out to be zero."""
        self.loading[: len(self.row) + 1, :, index] = 0.0

    def stand_in(self, old: int, new: int, coefficients: Coefficients) -> None:
        """Let what units owe to the entry `old`, about to go, be owed to `new` from now on.

        The one is said by the other by regression, what is left by its mean and variance.
        """
        covariance, mean = coefficients.covariance, coefficients.mean
        slope = float(covariance[old, new] / max(covariance[new, new], 1e-300))
        constant = float(mean[old] - slope * mean[new])
        variance = max(0.0, float(covariance[old, old] - slope * covariance[old, new]))
        self.move(old, new, slope, constant, variance)

    def state(self) -> dict[str, Any]:
        used = len(self.row) + 1
        return {
            "units": list(self.row.items()),
            "evicted": self.evicted,
            "capacity": self.loading.shape[2],
            "mean": self.mean[:used].tobytes(),
            "loading": self.loading[:used].tobytes(),
            "covariance": self.covariance[:used].tobytes(),
            "prior_sds": self.prior_sds[:used].tobytes(),
            "sds": list(self.sds),
            "appeals": np.array(self.appeals[:used], dtype=np.int64).tobytes(),
            "last_days": np.array(self.last_days[:used]).tobytes(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.row = OrderedDict(state["units"])
        self.evicted = state["evicted"]
        used = len(self.row) + 1
        rows = 64
        while rows < used:
            rows = min(2 * rows, self.units_max + 1)
        self._allocate(rows, state["capacity"])
        self.sds = tuple(state["sds"])
        for name in ("mean", "loading", "covariance", "prior_sds"):
            kept = getattr(self, name)
            kept[:used] = np.frombuffer(state[name]).reshape(used, *kept.shape[1:])
        self.appeals[:used] = np.frombuffer(state["appeals"], dtype=np.int64).tolist()
        self.last_days[:used] = np.frombuffer(state["last_days"]).tolist()


@compiled
def move(
    packed: Floats, source: int, target: int, slope: float, constant: float, variance: float
) -> None:
    """Do Effects.move; a unit that owes the source nothing is passed over."""
    capacity = (packed.shape[1] - LOADING) // EFFECTS
    for row in range(packed.shape[0]):
        own = packed[row]
        loading, covariance = own[LOADING:].reshape((EFFECTS, capacity)), own[COVARIANCE:PRIOR_SDS]
        level, wear = loading[0, source], loading[1, source]
        if level == 0.0 and wear == 0.0:
            continue
        for effect, owed in enumerate((level, wear)):
            loading[effect, target] += slope * owed
            loading[effect, source] = 0.0
            own[MEAN + effect] += constant * owed
            covariance[EFFECTS * effect] += variance * owed * level
            covariance[EFFECTS * effect + 1] += variance * owed * wear
