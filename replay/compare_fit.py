"""A batch regression by scikit-learn on what the online models know: a yardstick on real events.

The mean of the responses is exposure times exp(linear). scikit-learn knows no offset, but a rate
y / m with the weight m has the likelihood of a Poisson count with the offset log m; the weights are
then lessened to m / (1 + m / phi), which makes the score equations those of a negative binomial of
dispersion phi (McCullagh and Nelder 1989, "Generalized linear models", 2nd ed., section 9.2, on
quasi-likelihood).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import PoissonRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from replay.compare_table import LearnedTable

__all__ = ["BatchFit", "batch_log_scores", "dispersion_of", "log_probability"]

DAYS_A_MONTH = 365.25 / 12.0
REPEAT_MAX = 10
PHI_MIN, PHI_MAX = 0.02, 1e5
# What may stand for the calendar: the month of the year, that and a spline over all time, or each
# month by itself, the last known one standing for all that come.
CALENDARS = ("season", "season and spline", "months")
# How strongly coefficients are drawn to the mean: as if of responses of so much information.
RIDGES = (1.0, 30.0)
VALIDATION_SHARE = 0.25
TIME, MONTH, SEASON, KIND, REPEAT, KIND_REPEAT, APPEALER, NUMBERS = range(8)

Floats = NDArray[np.float64]
Rows = NDArray[Any]


class BatchFit(NamedTuple):
    """A fitted regression: the regressor, the base rate its target is divided by, dispersion, and
    the last month it knows, which stands for later ones.
    """

    regressor: Pipeline
    base: float
    phi: float
    last_month: float

    def mean(self, columns: Floats, exposure: Floats) -> Floats:
        """Return the expected responses."""
        known = columns.copy()
        known[:, MONTH] = np.minimum(known[:, MONTH], self.last_month)
        predicted: Floats = self.regressor.predict(known)
        return np.clip(exposure * self.base * predicted, 1e-9, 1e12)


def batch_log_scores(
    table: LearnedTable,
    first: int,
    refits: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """Fit on the appeals before the one numbered `first`, and score those from there on.

    Parameters
    ----------
    refits
        Into how many stretches the later part is cut. Before each, the regression is fitted anew to
        all that came before it: that is what a batch model run every so often would know.

    Returns
    -------
    Log scores of the appeals from `first` on, shape (appeals - first,).
    """
    columns = columns_of(table)
    cuts = np.linspace(first, table.appeals, refits + 1).astype(np.int64)
    scores = []
    for step, (start, end) in enumerate(zip(cuts, cuts[1:], strict=False)):
        known, unknown = slice(0, int(start)), slice(int(start), int(end))
        chosen = _choose(columns, table, int(start))
        fit = _fit(columns[known], table.responses[known], table.exposure[known], *chosen)
        mean = fit.mean(columns[unknown], table.exposure[unknown])
        scores.append(log_probability(table.responses[unknown], mean, fit.phi))
        on_progress(step + 1, refits)
    return np.concatenate(scores)


def columns_of(table: LearnedTable) -> Floats:
    """Return the regression's columns: time, codes of categories, then numbers."""
    # What is felt of many repeats grows slowly; logs keep a stock of hundreds within reach.
    numbers = [np.log1p(table.stocks), table.attributes]
    return np.column_stack(
        [
            table.time_days,
            table.time_days // DAYS_A_MONTH,
            table.time_days % 365.25 // DAYS_A_MONTH,
            table.kind,
            np.minimum(table.repeat, REPEAT_MAX),
            np.minimum(table.kind_repeat, REPEAT_MAX),
            table.appealer,
            *numbers,
        ]
    ).astype(np.float64)


def log_probability(responses: Floats, mean: Floats, phi: float) -> Floats:
    """Return log probabilities of a negative binomial with this mean and dispersion phi."""
    scores: Floats = stats.nbinom.logpmf(responses, phi, phi / (phi + mean))
    return scores


def dispersion_of(responses: Floats, mean: Floats) -> float:
    """Return the phi that makes the responses most likely, given their means."""

    def loss(log_phi: float) -> float:
        return -float(log_probability(responses, mean, float(np.exp(log_phi))).sum())

    bounds = (float(np.log(PHI_MIN)), float(np.log(PHI_MAX)))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def _choose(columns: Floats, table: LearnedTable, first: int) -> tuple[str, float]:
    """Choose calendar and ridge by how well they foretell the last quarter of the first part."""
    cut = int(first * (1.0 - VALIDATION_SHARE))
    known, held = slice(0, cut), slice(cut, first)
    best: tuple[float, tuple[str, float]] | None = None
    for calendar, ridge in product(CALENDARS, RIDGES):
        fit = _fit(columns[known], table.responses[known], table.exposure[known], calendar, ridge)
        mean = fit.mean(columns[held], table.exposure[held])
        score = float(log_probability(table.responses[held], mean, fit.phi).sum())
        if best is None or score > best[0]:
            best = (score, (calendar, ridge))
    assert best is not None
    return best[1]


def _fit(
    columns: Floats, responses: Floats, exposure: Floats, calendar: str, ridge: float
) -> BatchFit:
    """Fit with Poisson's weights, learn the dispersion, fit again with weights that know it."""
    base = (responses.sum() + 0.5) / exposure.sum()
    expected, phi = base * exposure, PHI_MAX
    fit = None
    for _ in range(2):
        mean = expected if fit is None else fit.mean(columns, exposure)
        weights = expected / (1.0 + mean / phi)
        regressor = _regressor(columns.shape[1], calendar, ridge / float(weights.sum()))
        regressor.fit(columns, responses / expected, poissonregressor__sample_weight=weights)
        fit = BatchFit(regressor, base, phi, float(columns[:, MONTH].max()))
        phi = dispersion_of(responses, fit.mean(columns, exposure))
        fit = fit._replace(phi=phi)
    assert fit is not None
    return fit


def _regressor(columns: int, calendar: str, alpha: float) -> Pipeline:
    """Return the pipeline; categories seen once, or only later, count as the average one."""
    categories = OneHotEncoder(handle_unknown="ignore", min_frequency=2, max_categories=500)
    month = MONTH if calendar == "months" else SEASON
    parts: list[tuple[str, Any, list[int]]] = [
        ("categories", categories, [month, KIND, REPEAT, KIND_REPEAT, APPEALER]),
        ("numbers", StandardScaler(), list(range(NUMBERS, columns))),
    ]
    if calendar == "season and spline":
        knots = SplineTransformer(n_knots=6, degree=3, knots="quantile", extrapolation="constant")
        parts.append(("time", knots, [TIME]))
    regressor = PoissonRegressor(alpha=alpha, fit_intercept=True, solver="lbfgs", max_iter=500)
    return make_pipeline(ColumnTransformer(parts), regressor)
