"""Retention by repeat from real events: naive, adjusted by batch regression, within audiences, and
as the model has it.

None of them is the truth. Naive compares rates as they are, calendar and all. Adjusted takes out
month, kind and attributes, and compares whoever was asked often with whoever was not. Within
compares each audience with itself, and cannot be had where an answer ends the asking.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import PoissonRegressor
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from replay.compare_fit import DAYS_A_MONTH, PHI_MAX, REPEAT_MAX, dispersion_of
from replay.compare_table import LearnedTable, Listener
from replay.evaluate_figures import NORMAL_95, Figure

__all__ = ["curves_of", "why_not_within"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Fewer appeals at a repeat than this, and nothing is said of it.
APPEALS_MIN = 5
KINDS_MAX = 30
UNITS_MIN = 20  # that say anything about themselves
ENDS_WITH_ANSWER = 0.9
FORECASTS_MAX = 2000  # a repeat; more would take long and change no digit
NEWTON_STEPS = 50
REPEATS = range(2, REPEAT_MAX + 1)


class Regression(NamedTuple):
    """Coefficients of log retention by repeat (from 2 on) with their standard deviations."""

    coefficients: Floats
    sds: Floats


def curves_of(table: LearnedTable, listener: Listener, axis: str) -> list[dict[str, Any]]:
    """Return a row a repeat from 2 to 10: retention relative to the first appeal.

    Parameters
    ----------
    axis
        "own": how often the audience was asked by the appealer; "kind": for that kind of thing.
    """
    repeat = table.repeat if axis == "own" else table.kind_repeat
    dummies = np.minimum(repeat, REPEAT_MAX + 1)[:, None] == np.arange(2, REPEAT_MAX + 2)
    found = {
        "naive": poisson_regression(table, dummies.astype(np.float64), overdispersed=False),
        "adjusted": poisson_regression(table, np.hstack([dummies, _confounders(table)])),
    }
    if why_not_within(table) is None:
        found["within"] = within_units(table, np.hstack([dummies, _months(table)]))
    model = _model_curve(listener, repeat)
    rows: list[dict[str, Any]] = []
    for index, number in enumerate(REPEATS):
        n = int((repeat == number).sum())
        row: dict[str, Any] = {"repeat": number, "appeals": n}
        for name, regression in found.items():
            row[name] = _ratio(regression, index, n)
        row["model"] = model[number]
        rows.append(row)
    return rows


def poisson_regression(
    table: LearnedTable, design: Floats, overdispersed: bool = True
) -> Regression:
    """Regress responses on a design of which the first columns are the repeats 2, 3, ...

    Standard deviations are those of the sandwich of Liang and Zeger (1986), "Longitudinal data
    analysis using generalized linear models", Biometrika 73(1), 13-22, with the table's clusters
    and an independent working correlation.
    """
    responses, exposure = table.responses, table.exposure
    expected = exposure * (responses.sum() + 0.5) / exposure.sum()
    mean, phi = expected, PHI_MAX
    for _ in range(3 if overdispersed else 1):
        weights = expected / (1.0 + mean / phi)
        # A ridge too weak to matter, for columns that say the same.
        regressor = PoissonRegressor(
            alpha=1e-6 / float(weights.sum()), solver="newton-cholesky", max_iter=200, tol=1e-8
        )
        regressor.fit(design, responses / expected, sample_weight=weights)
        mean = np.maximum(expected * regressor.predict(design), 1e-12)
        phi = dispersion_of(responses, mean) if overdispersed else PHI_MAX
    full = np.column_stack([design, np.ones(len(design))])
    shrunk = 1.0 + mean / phi if overdispersed else np.ones_like(mean)
    covariance = _sandwich(full, mean / shrunk, (responses - mean) / shrunk, table.cluster)
    return _first_repeats(regressor.coef_, covariance)


def within_units(table: LearnedTable, design: Floats) -> Regression:
    """Compare each unit (appealer and audience) with itself, whatever its own level is.

    Poisson with a level of each unit's own, these conditioned out: given a unit's sum, its counts
    are multinomial (Hausman, Hall and Griliches 1984, "Econometric models for count data with an
    application to the patents-R&D relationship", Econometrica 52(4), 909-938). Fitted by Newton's
    method; deviations by the sandwich over units.
    """
    _, unit = np.unique(table.unit, return_inverse=True)
    design = design - design.mean(axis=0)
    totals: Floats = np.bincount(unit, weights=table.responses).astype(np.float64)
    beta = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        mean, centred = _given_totals(table, design, unit, totals, beta)
        information = centred.T @ (centred * mean[:, None]) + 1e-6 * np.eye(len(beta))
        step = np.linalg.solve(information, design.T @ (table.responses - mean))
        beta += step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-8:
            break
    mean, centred = _given_totals(table, design, unit, totals, beta)
    covariance = _sandwich(centred, mean, table.responses - mean, unit)
    return _first_repeats(beta, covariance)


def why_not_within(table: LearnedTable) -> str | None:
    """Return why audiences cannot be compared with themselves, or None."""
    _, unit = np.unique(table.unit, return_inverse=True)
    asked, answered = np.bincount(unit), np.bincount(unit, weights=table.responses)
    telling = (asked > 1) & (answered > 0)
    if int(telling.sum()) < UNITS_MIN:
        return f"fewer than {UNITS_MIN} audiences were asked again and ever answered"
    last = np.zeros(len(asked), dtype=np.int64)
    np.maximum.at(last, unit, np.arange(len(unit)))
    only_last = table.responses[last] == answered
    if float(only_last[telling].mean()) > ENDS_WITH_ANSWER:
        return "an audience that has answered is not asked again"
    return None


def _given_totals(
    table: LearnedTable, design: Floats, unit: Ints, totals: Floats, beta: Floats
) -> tuple[Floats, Floats]:
    """Return expected responses given each unit's sum, and the design less its mean in the unit."""
    rate = table.exposure * np.exp(np.clip(design @ beta, -30.0, 30.0))
    share = rate / np.bincount(unit, weights=rate)[unit]
    middle = np.zeros((len(totals), design.shape[1]))
    np.add.at(middle, unit, design * share[:, None])
    return totals[unit] * share, design - middle[unit]


def _sandwich(design: Floats, weights: Floats, residuals: Floats, cluster: Ints) -> Floats:
    """Return the covariance of coefficients: bread, meat by cluster, bread."""
    bread = np.linalg.pinv(design.T @ (design * weights[:, None]))
    _, index = np.unique(cluster, return_inverse=True)
    groups = int(index.max()) + 1
    scores = np.zeros((groups, design.shape[1]))
    np.add.at(scores, index, design * residuals[:, None])
    meat = scores.T @ scores * (groups / max(groups - 1, 1))
    covariance: Floats = bread @ meat @ bread
    return covariance


def _first_repeats(coefficients: Floats, covariance: Floats) -> Regression:
    n = len(REPEATS)
    return Regression(coefficients[:n], np.sqrt(np.maximum(np.diag(covariance)[:n], 0.0)))


def _ratio(regression: Regression, index: int, n: int) -> Figure:
    mean, sd = float(regression.coefficients[index]), float(regression.sds[index])
    # Where nobody answered the likelihood runs away; no figure is better than exp(-20).
    if n < APPEALS_MIN or abs(mean) > 10.0:
        return Figure(None, None, None, n)
    reach = min(NORMAL_95 * sd, 20.0)
    value, low, high = (float(np.exp(mean + part)) for part in (0.0, -reach, reach))
    return Figure(value, low, high, n)


def _months(table: LearnedTable) -> Floats:
    return _one_hot((table.time_days // DAYS_A_MONTH).astype(np.int64), 200)


def _confounders(table: LearnedTable) -> Floats:
    """Return what is taken out: months of the calendar, kinds, attributes."""
    parts = [_months(table), _one_hot(table.kind, KINDS_MAX)]
    if table.attribute_names:
        parts.append(StandardScaler().fit_transform(table.attributes))
    return np.hstack(parts)


def _one_hot(codes: Ints, most: int) -> Floats:
    encoder = OneHotEncoder(drop="first", max_categories=most, sparse_output=False)
    encoded: Floats = encoder.fit_transform(codes[:, None])
    return encoded


def _model_curve(listener: Listener, repeat: Ints) -> dict[int, Figure]:
    """Average what the model, having seen everything, says of each appeal's retention.

    An appeal weighs what a first appeal in its place would draw. Limits are averages of limits:
    right if all appeals of a repeat err together, as they nearly do, and too wide otherwise.
    """
    curve = {}
    for number in REPEATS:
        rows = np.flatnonzero(repeat == number)
        chosen = rows[:: len(rows) // FORECASTS_MAX + 1].tolist()
        asked = [listener.asks[row] for row in chosen]
        forecasts = [
            community.model.hindsight_one(ask.features(share)) for community, ask, share in asked
        ]
        if len(rows) < APPEALS_MIN:
            curve[number] = Figure(None, None, None, len(rows))
            continue
        first = np.array([forecast.mean / forecast.retention for forecast in forecasts])
        said = np.array([forecast[:3] for forecast in forecasts])
        value, low, high = (first @ said / first.sum()).tolist()
        curve[number] = Figure(value, low, high, len(rows))
    return curve
