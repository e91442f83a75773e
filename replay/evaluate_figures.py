"""Figures with 90 % intervals: means over clusters, shares, medians."""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Figure", "clustered_mean", "median", "share"]

NORMAL_95 = 1.6448536269514722
Floats = NDArray[np.float64]


class Figure(msgspec.Struct, frozen=True):
    """An estimate from `n` cases with its 90 % interval: each limit is a one-sided 95 % limit.

    Without cases the estimate is None, and the interval says so.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        low, high = (nan if limit is None else limit for limit in (self.low, self.high))
        return f"{self.value:.3f} ({low:.3f} to {high:.3f})"


def share(hits: int, n: int) -> Figure:
    """Return a share with its exact interval.

    Clopper and Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of
    the binomial", Biometrika 26(4), 404-413, written with beta quantiles.

    >>> print(share(0, 300))
    0.000 (0.000 to 0.010)
    """
    if n == 0:
        return Figure(None, None, None, 0)
    low = float(stats.beta.ppf(0.05, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(0.95, hits + 1, n - hits)) if hits < n else 1.0
    return Figure(hits / n, low, high, n)


def clustered_mean(values: Floats, clusters: NDArray[Any]) -> Figure:
    """Return the mean of values that come in clusters, such as the appeals of an appealer.

    The mean is a ratio of cluster totals to cluster sizes; its variance is that ratio's, linearised
    (Cochran 1977, "Sampling techniques", 3rd ed., chapter 9A, single-stage sampling of clusters of
    unequal sizes, here out of very many). With fewer than two clusters there is no interval.

    >>> print(clustered_mean(np.array([1.0, 3.0, 2.0, 2.0]), np.array([0, 0, 1, 1])))
    2.000 (2.000 to 2.000)
    """
    n = len(values)
    if n == 0:
        return Figure(None, None, None, 0)
    mean = float(values.mean())
    _, index = np.unique(clusters, return_inverse=True)
    totals = np.bincount(index, weights=values - mean)
    groups = len(totals)
    if groups < 2:
        return Figure(mean, None, None, n)
    reach = NORMAL_95 * sqrt(groups / (groups - 1) * float((totals**2).sum())) / n
    return Figure(mean, mean - reach, mean + reach, n)


def median(values: Floats) -> Figure:
    """Return the median with its distribution-free interval, between two order statistics.

    The ranks are binomial quantiles (David and Nagaraja 2003, "Order statistics", 3rd ed.,
    section 7.1). With too few values for 90 % an end is left open.

    >>> print(median(np.arange(9.0)))
    4.000 (1.000 to 7.000)
    """
    n = len(values)
    if n == 0:
        return Figure(None, None, None, 0)
    ordered = np.sort(values)
    rank = int(stats.binom.ppf(0.05, n, 0.5))
    open_ended = float(stats.binom.cdf(rank - 1, n, 0.5)) > 0.05 or rank < 1
    low, high = (-inf, inf) if open_ended else (ordered[rank - 1], ordered[n - rank])
    limits = [float(limit) if np.isfinite(limit) else None for limit in (low, high)]
    return Figure(float(np.median(ordered)), limits[0], limits[1], n)
