"""Named coefficients with a joint Gaussian belief: mean and covariance grow as names appear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["Coefficients"]

Floats = NDArray[np.float64]
GROWTH = 16  # entries added at a time: growing copies everything, rarely


class Coefficients:
    """A Gaussian over a vector whose entries are handed out in runs, each under a name.

    Attributes
    ----------
    mean : shape (capacity,); covariance : shape (capacity, capacity). Entries not handed out yet
        are 0 in both, which leaves every product with them 0.
    start : where the run of a name begins.

    >>> belief = Coefficients()
    >>> belief.add("level", [1.0], [2.0])
    0
    >>> belief.condition(0, 3.0, 4.0)  # seen as 3 with variance 4: halfway
    >>> float(belief.mean[0]), float(belief.covariance[0, 0])
    (2.0, 2.0)
    """

    def __init__(self) -> None:
        self.mean: Floats = np.zeros(GROWTH)
        self.covariance: Floats = np.zeros((GROWTH, GROWTH))
        self.size = 0
        self.start: dict[str, int] = {}

    @property
    def capacity(self) -> int:
        return len(self.mean)

    def add(self, name: str, means: list[float], sds: list[float]) -> int:
        """Hand out a run of entries, a priori independent of all others; return where it begins."""
        at = self.size
        self._reserve(at + len(means))
        self.start[name] = at
        self.size += len(means)
        entries = np.arange(at, self.size)
        self.mean[entries] = means
        self.covariance[entries, entries] = np.square(sds)
        return at

    def _reserve(self, size: int) -> None:
        if size <= self.capacity:
            return
        more = -(-(size - self.capacity) // GROWTH) * GROWTH
        self.mean = np.pad(self.mean, (0, more))
        self.covariance = np.pad(self.covariance, (0, more))

    def condition(self, index: int, value: float, variance: float) -> None:
        """Learn that an entry has been seen as `value` with an error of that variance (0: it is
        `value`).

        A negative variance takes such an observation back: it must have been in there.
        """
        condition(self.mean, self.covariance, index, value, variance)

    def replace(self, index: int, source: int, keep: float, noise: float) -> None:
        """Let an entry become keep * (entry at `source`) + N(0, noise), forgetting what it was."""
        row = keep * self.covariance[source]
        row[index] = 0.0
        self.mean[index] = keep * self.mean[source]
        self.covariance[index] = row
        self.covariance[:, index] = row
        variance = keep * keep * self.covariance[source, source] + noise
        self.covariance[index, index] = variance

    def reset(self, index: int, mean: float, variance: float) -> None:
        """Let an entry become N(mean, variance), independent of all others."""
        self.mean[index] = mean
        self.covariance[index] = 0.0
        self.covariance[:, index] = 0.0
        self.covariance[index, index] = variance

    def add_entry(self, target: int, source: int) -> None:
        """Let the entry at `target` become the sum of itself and the one at `source`."""
        self.mean[target] += self.mean[source]
        self.covariance[target] += self.covariance[source]
        self.covariance[:, target] += self.covariance[:, source]

    def state(self) -> dict[str, Any]:
        return {
            "mean": self.mean.tobytes(),
            "covariance": self.covariance.tobytes(),
            "size": self.size,
            "start": dict(self.start),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.mean = np.frombuffer(state["mean"], dtype=np.float64).copy()
        capacity = len(self.mean)
        covariance = np.frombuffer(state["covariance"], dtype=np.float64)
        self.covariance = covariance.reshape(capacity, capacity).copy()
        self.size = state["size"]
        self.start = dict(state["start"])


@compiled
def condition(mean: Floats, covariance: Floats, index: int, value: float, variance: float) -> None:
    """Do Coefficients.condition."""
    column = covariance[index].copy()
    total = column[index] + variance
    if total == 0.0:
        return
    step = (value - mean[index]) / total
    for i in range(mean.shape[0]):
        mean[i] += column[i] * step
    gain = column / total
    for i in range(mean.shape[0]):
        if column[i] != 0.0:
            for j in range(mean.shape[0]):
                covariance[i, j] -= column[i] * gain[j]
