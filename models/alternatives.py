"""The ways in which a series may wear out or rise, against which its freshness is weighed.

Each is a row. It says of an appeal, before its responses, the log of the retention: a slope times
the stock at some half-life, a step from some repeat on, or what the pooled model forecasts. Row 0
is the null, "as fresh as ever". The last row says the same, and is there for the baseline that the
fresh appeals alone show (models.evidence).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = [
    "HALF_LIFE_NODES",
    "ROWS",
    "log_mixtures",
    "log_retention_rows",
    "mean_retention",
]

Floats = NDArray[np.float64]

# About 7, 21 and 63 days; stocks are handed over at these nodes of the grid, so that no
# interpolation is needed.
HALF_LIFE_NODES: NDArray[np.intp] = np.array([8, 13, 18])

# The alternatives: the log retention is a slope times the stock, or a step from a repeat on, or
# what the pooled model says. Rising has fewer: it is the rarer question.
_WORN_SLOPES = (-0.06, -0.12, -0.25, -0.5, -1.0)
_WORN_STEPS = tuple(math.log(step) for step in (0.2, 0.35, 0.5, 0.65, 0.8))
_RISING_SLOPES = (0.06, 0.12, 0.25)
_RISING_STEPS = tuple(math.log(step) for step in (1.25, 1.6, 2.5))
_STARTS = np.array([2, 3, 4, 6, 9, 13])
# What the rows are made of: three stocks, whether each start has been reached, the forecast below
# and above zero, nothing.
_STOCKS, _STARTED = range(0, 3), range(3, 9)
_FORECAST_BELOW, _FORECAST_ABOVE, _NOTHING = 9, 10, 11


def _family(
    slopes: Sequence[float], steps: Sequence[float], starts: Sequence[int], forecast: int
) -> tuple[list[tuple[float, int]], Floats]:
    """Return the rows of one side, as coefficient and part, and their log prior weights.

    Half of the prior goes to the forecast, which knows how others wear out: that costs the others
    .7 nats where it is wrong, and is worth two or three where it is right. Of the rest the slopes,
    the shape of wear-out, have three fifths, the steps two.
    """
    sloping = [(slope, part) for slope in slopes for part in _STOCKS]
    stepping = [(step, part) for step in steps for part in starts]
    sizes = (len(sloping), len(stepping), 1)
    weights = np.repeat(np.array((0.3, 0.2, 0.5)) / sizes, sizes)
    return [*sloping, *stepping, (1.0, forecast)], np.log(weights)


_WORN, _WORN_LOG_WEIGHTS = _family(_WORN_SLOPES, _WORN_STEPS, _STARTED, _FORECAST_BELOW)
_RISING, _RISING_LOG_WEIGHTS = _family(
    _RISING_SLOPES, _RISING_STEPS, _STARTED[::2], _FORECAST_ABOVE
)
# Rows: the null; the worn; the rising; and last the baseline as the fresh appeals alone show it.
_NULL = (0.0, _NOTHING)
_COEFFICIENTS = np.array([row[0] for row in (_NULL, *_WORN, *_RISING, _NULL)])
_PARTS = np.array([row[1] for row in (_NULL, *_WORN, *_RISING, _NULL)])
_LOG_WEIGHTS = np.concatenate(([-np.inf], _WORN_LOG_WEIGHTS, _RISING_LOG_WEIGHTS, [-np.inf]))
_BOUNDARIES = (1, 1 + len(_WORN), 1 + len(_WORN) + len(_RISING))
ROWS = _PARTS.size
# Beyond this an alternative says nothing new and the arithmetic stays tame: retention .05 to 5.
_LOG_RETENTION_MIN, _LOG_RETENTION_MAX = -3.0, 1.6


@compiled
def log_retention_rows(
    first: float, second: float, third: float, repeat: float, log_retention: float
) -> Floats:
    """Return the log retention that each row says of an appeal, shape (rows,).

    first, second, third : the stocks at HALF_LIFE_NODES, in appeals. repeat : which ask it is, 1
    for the first. log_retention : what the pooled model forecasts.
    """
    parts = np.zeros(_NOTHING + 1)
    parts[0], parts[1], parts[2] = first, second, third
    for i in range(_STARTS.shape[0]):
        parts[3 + i] = 1.0 if repeat >= _STARTS[i] else 0.0
    parts[_FORECAST_BELOW] = min(log_retention, 0.0)
    parts[_FORECAST_ABOVE] = max(log_retention, 0.0)
    rows = np.empty(ROWS)
    for i in range(ROWS):
        rows[i] = _COEFFICIENTS[i] * parts[_PARTS[i]]
        rows[i] = min(max(rows[i], _LOG_RETENTION_MIN), _LOG_RETENTION_MAX)
    return rows


@compiled
def log_mixtures(log_ratios: Floats) -> tuple[float, float]:
    """Return the logs of the weighted sums of the worn and of the rising ratios."""
    peak = -np.inf
    for i in range(_BOUNDARIES[0], _BOUNDARIES[2]):
        peak = max(peak, log_ratios[i] + _LOG_WEIGHTS[i])
    worn = rising = 0.0
    for i in range(_BOUNDARIES[0], _BOUNDARIES[2]):
        share = exp(log_ratios[i] + _LOG_WEIGHTS[i] - peak)
        if i < _BOUNDARIES[1]:
            worn += share
        else:
            rising += share
    # A side 700 below the other is as good as refuted; its logarithm must stay finite.
    return peak + log(worn + 1e-300), peak + log(rising + 1e-300)


def mean_retention(
    log_ratios: Floats, stocks: Floats, repeat: int, log_retention: float
) -> tuple[float, float, float]:
    """Return the retention that the rows say, averaged by what speaks for each, with 90 % of it.

    Half of the prior is the null's, a quarter each the worn and the rising rows'.
    """
    first, second, third = stocks.tolist()
    return _mean_retention(log_ratios, first, second, third, float(repeat), log_retention)


@compiled
def _mean_retention(
    log_ratios: Floats,
    first: float,
    second: float,
    third: float,
    repeat: float,
    log_retention: float,
) -> tuple[float, float, float]:
    rows = log_retention_rows(first, second, third, repeat, log_retention)
    weights = log_ratios + _LOG_WEIGHTS
    weights[0] = log_ratios[0] + log(2.0)
    peak, total, mean = weights.max(), 0.0, 0.0
    for i in range(ROWS):
        weights[i] = exp(weights[i] - peak)
        total += weights[i]
        mean += weights[i] * rows[i]
    mean /= total
    low, high = _quantiles(rows, weights / total)
    return exp(mean), exp(min(low, mean)), exp(max(high, mean))


@compiled
def _quantiles(values: Floats, shares: Floats) -> tuple[float, float]:
    """Return the 5 % and the 95 % point of values that have shares of one; both get sorted."""
    for i in range(1, values.shape[0]):  # few and nearly in order: by insertion
        value, share, k = values[i], shares[i], i
        while k > 0 and values[k - 1] > value:
            values[k], shares[k] = values[k - 1], shares[k - 1]
            k -= 1
        values[k], shares[k] = value, share
    low = high = 0
    below, last = shares[0], values.shape[0] - 1
    while below < 0.95 and high < last:
        if below < 0.05:
            low += 1
        high += 1
        below += shares[high]
    return values[low], values[high]
