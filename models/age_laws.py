"""Parametric laws of the age at which responses come, for the ages that no appeal has reached yet.

Log-normal and Weibull laws (the latter is the stretched exponential) on a grid of medians and
shapes, weighed by their posterior; before any data, the log-normal of the prior curve and its
neighbours. Lagakos, Barraj & De Gruttola (1988), "Nonparametric analysis of truncated survival
data, with application to AIDS", Biometrika 75(3), for the likelihood.
"""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["truncated_law"]

Floats = NDArray[np.float64]

# The prior curve: log-normal, median 6 h of 7 d, sigma 1.5; sd of the log of either parameter.
MEDIAN_SHARE, MEDIAN_SD = 6.0 / 168.0, 1.5
SIGMA, SIGMA_SD = 1.5, 0.4
LAW_RESPONSES_MAX = 300.0  # the law is never quite true: more responses do not make it surer


def truncated_law(edges_ms: tuple[int, ...], new: Floats, total: Floats) -> Floats:
    """Return the share of each bin in what came through it, by the laws that fit, shape (bins,).

    Parameters
    ----------
    edges_ms
        Upper edges of the bins; the last is the horizon, at which all responses are in.
    new, total
        Responses in each bin and through it, counted for appeals that passed it, shape (bins,);
        weighted counts will do. The likelihood is that of right-truncated ages (Lagakos et al.
        1988).
    """
    laws = _laws(edges_ms)
    seen = float(total.max())
    temper = min(1.0, LAW_RESPONSES_MAX / seen) if seen else 0.0
    fit = laws.log_q[:, 1:] @ new[1:] + laws.log_stay[:, 1:] @ (total - new)[1:]
    posterior = laws.log_prior + temper * fit
    weights = np.exp(posterior - posterior.max())
    law: Floats = weights @ laws.q / weights.sum()
    return law


class _Laws(NamedTuple):
    """Parametric laws: q_k, log q_k and log(1 - q_k), shape (laws, bins), and the log prior."""

    q: Floats
    log_q: Floats
    log_stay: Floats
    log_prior: Floats


@lru_cache(maxsize=8)
def _laws(edges_ms: tuple[int, ...]) -> _Laws:
    horizon = edges_ms[-1]
    ages = np.log(np.array(edges_ms) / horizon)
    medians = np.linspace(-9.0, 1.0, 51)
    sigmas = SIGMA * np.exp(np.linspace(-2.5, 2.5, 16) * SIGMA_SD)
    median, sigma = (grid.ravel()[:, None] for grid in np.meshgrid(medians, sigmas))
    # A Weibull law whose log age has the same sd as the log-normal's: pi / (sqrt 6 shape).
    shape = np.pi / (np.sqrt(6.0) * sigma)
    lognormal = ndtr((ages - median) / sigma)
    weibull = -np.expm1(-log(2.0) * np.exp(shape * (ages - median)))
    arrived = np.maximum(np.concatenate((lognormal, weibull)), 1e-12)
    q = np.clip(np.diff(arrived, axis=1, prepend=0.0) / arrived, 1e-9, 1.0 - 1e-9)
    apart = (median - log(MEDIAN_SHARE)) / MEDIAN_SD, np.log(sigma / SIGMA) / SIGMA_SD
    prior = -0.5 * (apart[0] ** 2 + apart[1] ** 2)[:, 0]
    return _Laws(q, np.log(q), np.log1p(-q), np.concatenate((prior, prior)))
