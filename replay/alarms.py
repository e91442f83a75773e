"""Alarm rules that people use, as labelled baselines. They are measured here and offered nowhere.

A rule is given one series' responses and reach, appeal by appeal, and returns the number of the
appeal at which it first cries (1 is the first), or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift
from scipy import stats

__all__ = ["Rule", "baseline_rules"]

Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats], int | None]

RANDOM_SEED = 20090106
RANDOM_SHARE = 0.05


def baseline_rules() -> dict[str, Rule]:
    """Return the baselines by name: new ones, as the random one's generator goes on and on."""
    new: Any = drift  # untyped
    return {
        "never": lambda responses, reach: None,
        "always": lambda responses, reach: 1,
        "random 5 %": _random(),
        "cost doubled": cost_doubled,
        "Poisson 5 %": poisson_test,
        "ADWIN": _river(lambda: new.ADWIN(delta=0.002, clock=32, grace_period=10)),
        "ADWIN (1, 5)": _river(lambda: new.ADWIN(delta=0.002, clock=1, grace_period=5)),
        "PageHinkley": _river(
            lambda: new.PageHinkley(
                min_instances=30, delta=0.005, threshold=50.0, alpha=0.9999, mode="down"
            )
        ),
    }


def cost_doubled(responses: Floats, reach: Floats) -> int | None:
    """Cry when a response costs twice as much reach as at the first appeal.

    >>> cost_doubled(np.array([10.0, 6.0, 5.0]), np.full(3, 100.0))
    3
    """
    rate = responses / reach
    return _first((rate <= rate[0] / 2.0) & (rate[0] > 0.0))


def poisson_test(responses: Floats, reach: Floats, level: float = 0.05) -> int | None:
    """Cry when an appeal is below the first one, counts taken as Poisson, tested one by one.

    Given both counts' sum, one of them is binomial: Przyborowski and Wilenski (1940), "Homogeneity
    of results in testing samples from Poisson series", Biometrika 31(3-4), 313-323.

    >>> poisson_test(np.array([10.0, 6.0, 1.0]), np.full(3, 100.0))
    3
    """
    both, part = responses + responses[0], reach / (reach + reach[0])
    p_values = stats.binom.cdf(responses, both, part)
    p_values[0] = 1.0
    return _first(p_values <= level)


def _random() -> Rule:
    """Cry at each appeal with the same probability, knowing nothing."""
    rng = np.random.Generator(np.random.PCG64(RANDOM_SEED))
    return lambda responses, reach: _first(rng.random(len(responses)) < RANDOM_SHARE)


def _river(new: Callable[[], Any]) -> Rule:
    """Cry when river's detector, fed the log rates, sees them change for the worse."""

    def rule(responses: Floats, reach: Floats) -> int | None:
        detector, log_rates = new(), np.log((responses + 0.5) / reach)
        for number, log_rate in enumerate(log_rates.tolist(), start=1):
            before = log_rates[: number - 1].mean() if number > 1 else log_rate
            detector.update(log_rate)
            if detector.drift_detected and log_rate < before:
                return number
        return None

    return rule


def _first(cries: NDArray[np.bool_]) -> int | None:
    found = np.flatnonzero(cries)
    return int(found[0]) + 1 if found.size else None
