"""A watch on the model itself: says when its forecasts no longer fit what comes.

Each count is turned into its place in the predictive distribution (the probability integral
transform, at the middle of the jump that a discrete distribution makes there: Czado, Gneiting &
Held 2009, "Predictive model assessment for count data", Biometrics 65(4)). While the model fits,
places lie evenly between 0 and 1. ADWIN (Bifet & Gavalda 2007, "Learning from time-changing data
with adaptive windowing", SIAM International Conference on Data Mining) watches their mean
(forecasts too high or too low) and their distance from the middle (intervals too narrow or too
wide).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift
from scipy.special import betainc

from models.forecast import Forecast

__all__ = ["FitWatch", "place", "places"]

INTERVAL_SDS = 2.0 * 1.6448536269514722  # width of a 90 % interval in standard deviations
WATCHED = ("mean", "spread")
_ADWIN: Any = drift.ADWIN  # compiled, without types


def place(forecast: Forecast, y: float) -> float:
    """Return the place, in [0, 1], of the count `y` in what was forecast.

    The forecast is read as the negative binomial of its mean and of its interval's width.

    >>> place(Forecast(1.0, 0.9, 1.1, 10.0, 3.0, 19.0, 0.1), 10)  # doctest: +ELLIPSIS
    0.55...

    Raises
    ------
    ValueError
        If `y` or the forecast is not finite, or the mean not positive.
    """
    return float(places((forecast,), (y,))[0])


def places(forecasts: Sequence[Forecast], counts: Sequence[float]) -> NDArray[np.float64]:
    """Return the place of each count in its forecast, as `place` does.

    Raises
    ------
    ValueError
        If a count or a forecast is not finite, or a mean not positive.
    """
    numbers = np.empty((len(forecasts), 4))
    numbers[:, 0] = counts
    numbers[:, 1:] = [forecast[3:6] for forecast in forecasts]
    y, mean, low, high = numbers.T
    good = np.isfinite(numbers).all(axis=1) & (y >= 0.0) & (mean > 0.0)
    if not good.all():
        bad = tuple(numbers[good.argmin()].tolist())
        raise ValueError(f"responses and forecast: expected finite numbers, got {bad}")
    variance = ((high - low) / INTERVAL_SDS) ** 2
    size = np.clip(mean * mean / np.maximum(variance - mean, 1e-3 * mean), 1e-2, 1e6)
    chance = size / (size + mean)
    below = np.where(y > 0.0, betainc(size, np.maximum(y, 1.0), chance), 0.0)
    return np.asarray(0.5 * (below + betainc(size, y + 1.0, chance)))


class FitWatch:
    """ADWIN on the places of counts in their forecasts, with a state that can be written down.

    ADWIN keeps its window inside compiled code. What it was fed since it last began anew is kept
    beside it, and it is begun anew, with the latest `memory` places, whenever twice as many have
    come: so the log stays short, and feeding it again gives back the very same detector.

    Parameters
    ----------
    delta
        Chance of a false alarm that ADWIN takes at each check.
    memory
        How many places are kept at least; 16 bytes each.

    Attributes
    ----------
    alarms
        How often the mean and how often the spread was found to have changed, by name.
    """

    def __init__(self, delta: float = 0.0001, memory: int = 1000) -> None:
        self.delta = delta
        self.memory = memory
        self.alarms = dict.fromkeys(WATCHED, 0)
        self._logs: dict[str, list[float]] = {name: [] for name in WATCHED}
        self._detectors = {name: self._fed([]) for name in WATCHED}

    def learn_one(self, forecast: Forecast, y: float) -> tuple[str, ...]:
        """Learn that `y` came where `forecast` was said; return which have changed, if any.

        Raises
        ------
        ValueError
            If a number is not finite.
        """
        return self.learn_many((forecast,), (y,))[0]

    def learn_many(
        self, forecasts: Sequence[Forecast], counts: Sequence[float]
    ) -> list[tuple[str, ...]]:
        """Learn one count after the other, and return for each what `learn_one` does.

        Raises
        ------
        ValueError
            If a number is not finite; none is learned then.
        """
        position = places(forecasts, counts)
        watched = zip(WATCHED, (position, np.abs(2.0 * position - 1.0)), strict=True)
        changed = [
            [self._update(name, value) for value in values.tolist()] for name, values in watched
        ]
        return [tuple(compress(WATCHED, which)) for which in zip(*changed, strict=True)]

    def level(self, name: str) -> float:
        """Return the mean of what is watched since it last changed: 0.5 where the model fits."""
        detector = self._detectors[name]
        return float(detector.estimation) if detector.width else 0.5

    def _update(self, name: str, value: float) -> bool:
        detector, log = self._detectors[name], self._logs[name]
        detector.update(value)
        log.append(value)
        if detector.drift_detected:
            self.alarms[name] += 1
            self._restart(name, [])
            return True
        if len(log) >= 2 * self.memory:
            self._restart(name, log[-self.memory :])
        return False

    def _restart(self, name: str, log: list[float]) -> None:
        self._logs[name] = log
        self._detectors[name] = self._fed(log)

    def _fed(self, log: list[float]) -> Any:
        detector: Any = _ADWIN(
            delta=self.delta, clock=32, max_buckets=5, min_window_length=5, grace_period=10
        )
        for value in log:
            detector.update(value)
        return detector

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        logs = {name: list(log) for name, log in self._logs.items()}
        return {"schema": 1, "alarms": dict(self.alarms), "logs": logs}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        if state["schema"] != 1:
            raise ValueError(f"fit watch: expected schema 1, got {state['schema']!r}")
        self.alarms = {name: state["alarms"][name] for name in WATCHED}
        for name in WATCHED:
            self._restart(name, list(state["logs"][name]))
