"""What one count adds to the evidence of a series, compiled: from the numbers said of an appeal to
the logs of the evidence.
"""

from __future__ import annotations

from math import exp, inf, log

import numpy as np
from numpy.typing import NDArray

from models.absorb import step
from models.alternatives import log_mixtures, log_retention_rows
from models.kernels import compiled

__all__ = ["EXPECTED_MIN", "differ", "learn_count", "refuse_unfit"]

Floats = NDArray[np.float64]
Said = tuple[float, float, float, float, float]
Numbers = tuple[float, int, float, float, float, float]

# Three half-lives of 20 days at rest leave an eighth of the stock: such an appeal counts as fresh.
_FRESH_STOCK_MAX = 0.125

# At a million the negative binomial is Poisson to every digit that counts; above it
# log(1 + mean / phi) loses its own.
_DISPERSION_MAX = 1e6
# Below a thousandth one appeal says nothing; nor does one of which so little is known beforehand.
_DISPERSION_MIN, _EXPECTATION_SD_MAX = 1e-3, 5.0
EXPECTED_MIN = _TINY = 1e-6  # fewer responses are not told from none


@compiled
def learn_count(
    mean: Floats,
    variance: Floats,
    ratios: Floats,
    said: Said,
    numbers: Numbers,
    then_days: float,
    drift_sd: float,
) -> tuple[Floats, float, float]:
    """Let every row learn a count.

    Parameters
    ----------
    mean, variance, ratios : of the rows; brought up to date. said : what the rows look at, as
        `log_retention_rows` takes it. numbers : time, responses, what was expected of a first one,
        sd of the baseline, dispersion and sd of the expectation: see `SeriesEvidence.learn_one`.
    then_days : when the last count came. drift_sd : of the log baseline after one day.

    Returns
    -------
    What the count adds to the log ratios, and the logs of the evidence. Without any row, and with
    nothing learned, if a number does not fit.
    """
    if not _fit(said, numbers):
        return np.empty(0), 0.0, 0.0
    first, second, third, repeat, log_retention = said
    time_days, responses, expected_first, baseline_sd, dispersion, expectation_sd = numbers
    drift = drift_sd**2 * max(0.0, time_days - then_days)
    if variance[0] == 0.0:
        variance[:], drift = baseline_sd**2, 0.0
    rows = log_retention_rows(first, second, third, repeat, log_retention)
    offset = log(expected_first) + rows[: mean.shape[0]]
    phi = _widened(dispersion, expectation_sd)
    fresh = second <= _FRESH_STOCK_MAX
    increments = step(mean, variance, ratios, offset, drift, float(responses), phi, not fresh)
    if ratios.shape[0] == 1:
        return increments, 0.0, 0.0
    worn, rising = log_mixtures(ratios)
    return increments, worn, rising


@compiled
def differ(said: Said, numbers: Numbers) -> bool:
    """Return whether the rows say different things of an appeal, whose numbers all fit."""
    if not _fit(said, numbers):
        return False
    first, second, third, repeat, log_retention = said
    for row in log_retention_rows(first, second, third, repeat, log_retention):
        if row != 0.0:
            return True
    return False


@compiled
def _fit(said: Said, numbers: Numbers) -> bool:
    """Return whether all numbers are ones to learn from; what is none fails every comparison."""
    first, second, third, repeat, log_retention = said
    time_days, responses, expected_first, baseline_sd, dispersion, expectation_sd = numbers
    least, most = min(first, min(second, third)), first + second + third
    return (
        0.0 <= least <= most < inf
        and 0.0 <= responses < inf
        and 0.0 <= expectation_sd < inf
        and time_days < inf
        and log_retention < inf
        and _TINY <= expected_first < inf
        and _TINY <= baseline_sd < inf
        and _TINY <= repeat < inf
        and _TINY <= dispersion
    )


def refuse_unfit(said: Said, numbers: Numbers) -> None:
    """Raise ValueError for the first number that is not one to learn from, if there is any."""
    *stocks, repeat, log_retention = said
    time_days, responses, expected_first, baseline_sd, dispersion, expectation_sd = numbers
    _refuse(0.0, responses=responses, expectation_sd=expectation_sd, stocks=min(stocks))
    _refuse(-inf, time_days=time_days, log_retention=log_retention, stocks=sum(stocks))
    _refuse(_TINY, expected_first=expected_first, baseline_sd=baseline_sd, repeat=repeat)
    _refuse(_TINY, dispersion=min(dispersion, _DISPERSION_MAX))


@compiled
def _widened(dispersion: float, expectation_sd: float) -> float:
    """Return phi of the negative binomial with the second moment of NB(phi) times a log-normal."""
    spread = exp(min(expectation_sd, _EXPECTATION_SD_MAX) ** 2)
    excess = (1.0 + 1.0 / dispersion) * spread - 1.0
    return max(1.0 / max(excess, 1.0 / _DISPERSION_MAX), _DISPERSION_MIN)


def _refuse(least: float, **numbers: float) -> None:
    """Raise ValueError for the first number that is not finite and at least `least`."""
    for name, number in numbers.items():
        if not least <= number < inf:
            raise ValueError(f"{name}: expected a finite number >= {least}, got {number!r}")
