"""A retention model made of river's own parts: Bayesian linear regression of the log response rate.

It was the first retention model and stays as a challenger: the better one must keep beating it.
What a straight line cannot hold is fitted beside it by backfitting (Buja, Hastie & Tibshirani 1989,
"Linear smoothers and additive models", Annals of Statistics 17(2)), one residual at a time: a level
of each appealer and a level of the week. Their uncertainty is left out of that of the stocks, so
its intervals for retention are too narrow, the more so the more it has learned.
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp, exp2, fsum, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base, linear_model

from models.counts import Dispersion, learned, require_count, require_exposure
from models.forecast import Features, Forecast
from models.kernels import compiled
from models.linear import LinearDesign

__all__ = ["LogRateRegression"]

Floats = NDArray[np.float64]

NORMAL_95 = 1.6448536269514722  # 95 % point of the standard normal: both tails of a 90 % interval
INTERCEPT_SD = 10.0
APPEALER_SD = 0.7
APPEALER_FORGETTING = 0.97  # a residual ages with the coefficients it was taken from
LEVEL_SD = 0.15
LEVEL_HALF_LIFE_DAYS = 7.0
CALIBRATION_PRIOR = 20.0
SHAPES_MAX = 1_000  # sets of features whose places among river's coefficients are kept


class LogRateRegression(base.Regressor):
    """Retention by Bayesian linear regression of log((responses + 1/2) / exposure).

    The log rate is linear in the stocks of the three axes at a few half-lives, in reciprocity, the
    attributes and the kind (Bishop 2006, "Pattern Recognition and Machine Learning", eq. 3.49-3.51
    and 3.57-3.59, which is river's `BayesianLinearRegression`). An observation weighs the inverse
    of its variance: 1 / phi beyond Poisson, and 1 / (expected + 1/2) of Poisson.

    Parameters
    ----------
    half_lives_days
        At which half-lives the stocks are read, each one of `stock.HALF_LIVES_DAYS`.
    kinds_max, attributes_max
        How many get a coefficient of their own, first come; the covariance takes 8 d^2 bytes.
    appealers_max
        How many levels of appealers are kept, the latest; 100 bytes each.
    design
        Shared with other models, instead of one made of the first three.

    Examples
    --------
    >>> model, stocks = LogRateRegression(), np.zeros(22)  # as stock.HALF_LIVES_DAYS
    >>> x = Features(time_days=0.0, appealer="a", kind="k", audience="a", exposure=1000.0,
    ...     own=stocks, kind_stock=stocks, crowd=stocks, repeat=1, reciprocity=0.0, attributes={})
    >>> for _ in range(30):
    ...     model.learn_one(x, 20)
    >>> tired = Features(**{**x, "kind_stock": stocks + 2.0})
    >>> for _ in range(30):
    ...     model.learn_one(tired, 5)
    >>> forecast = model.forecast_one(tired)
    >>> 0.2 < forecast.retention < 0.4
    True
    """

    def __init__(
        self,
        half_lives_days: tuple[float, ...] = (4.0, 16.0, 64.0),
        kinds_max: int = 24,
        attributes_max: int = 8,
        appealers_max: int = 100_000,
        design: LinearDesign | None = None,
    ) -> None:
        self.half_lives_days = half_lives_days
        self.kinds_max = kinds_max
        self.attributes_max = attributes_max
        self.appealers_max = appealers_max
        self.design = design or LinearDesign(half_lives_days, kinds_max, attributes_max)
        self._regression: Any = linear_model.BayesianLinearRegression(
            alpha=1, beta=1, smoothing=None
        )
        self._places: dict[tuple[str, ...], NDArray[np.intp]] = {}
        self._appealers: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._level = (0.0, 0.0, 0.0)  # sum of weighted residuals, of weights, and when, in days
        self._calibration = (0.0, 0.0)
        self.dispersion = Dispersion()

    def features(self, x: Features) -> dict[str, float]:
        """Return the regression's features, scaled so that every coefficient has prior sd 1."""
        return {**self.design.features(x), "intercept": INTERCEPT_SD}

    def learn_one(self, x: Features, y: float) -> None:  # type: ignore[override]
        """Learn that the appeal `x` drew `y` responses."""
        self.score_then_learn(x, y)

    def score_then_learn(self, x: Features, y: float) -> float:
        """Return the log of the probability given to `y` responses, then learn them."""
        require_count(y), require_exposure(x)
        self.design.features(x)  # refuses what is not finite before anything gets a name
        self.design.name(x)
        return self.score_then_learn_known(x, y, self.design.features(x))

    def score_then_learn_known(self, x: Features, y: float, known: dict[str, float]) -> float:
        """Do what `score_then_learn` does for an appeal found fit for use, and named, whose design
        says `known`.
        """
        features = {**known, "intercept": INTERCEPT_SD}
        regression, dispersion, appealer = self._regression, self.dispersion, x["appealer"]
        line, spread = self._line(features)
        log_score, dispersion.inverse, beta, rest, level, calibration, own = _learned_beside(
            line,
            spread,
            x["exposure"],
            x["time_days"],
            float(y),
            self._appealers.pop(appealer, (0.0, 0.0)),
            self._level,
            self._calibration,
            dispersion.log_weights,
            dispersion.forgetting,
            dispersion.inverse,
        )
        self._level, self._calibration, self._appealers[appealer] = level, calibration, own
        if len(self._appealers) > self.appealers_max:  # the one not heard of longest
            self._appealers.popitem(last=False)
        regression.beta = beta
        regression.learn_one(features, rest)
        return float(log_score)

    def predict_one(self, x: Features) -> float:  # type: ignore[override]
        """Return the expected responses."""
        eta, _ = self._log_rate(x, self.features(x))
        return _mean(require_exposure(x), eta, self._calibration)

    def forecast_one(self, x: Features) -> Forecast:
        """Return retention and expected responses with 90 % intervals."""
        exposure = require_exposure(x)
        features = self.features(x)
        eta, eta_variance = self._log_rate(x, features)
        log_retention, variance = self._log_retention(features)
        # Nobody knows retention better than to 2 % and to a twentieth of the effect.
        sd = sqrt(variance + (0.05 * log_retention) ** 2 + 0.02**2)
        low, high = log_retention - NORMAL_95 * sd, log_retention + NORMAL_95 * sd
        mean = _mean(exposure, eta, self._calibration)
        counts = self.dispersion.interval(mean, eta_variance)
        return Forecast(exp(log_retention), exp(low), exp(high), mean, *counts, sd)

    def log_score_one(self, x: Features, y: float) -> float:
        """Return the log of the predictive probability of `y` responses (negative binomial)."""
        require_count(y)
        eta, variance = self._log_rate(x, self.features(x))
        mean = _mean(require_exposure(x), eta, self._calibration)
        return self.dispersion.log_score_one(mean, y, variance)

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data; matrices are rows of little-endian doubles."""
        regression = self._regression
        return {
            "schema": 1,
            "design": self.design.state(),
            "coefficients": list(regression._idx),
            "precision": _to_bytes(regression._ss_arr),
            "covariance": _to_bytes(regression._ss_inv_arr),
            "natural_mean": _to_bytes(regression._eta_arr),
            "beta": float(regression.beta),
            "appealers": [[name, *level] for name, level in self._appealers.items()],
            "level": list(self._level),
            "calibration": list(self._calibration),
            "dispersion": self.dispersion.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        if state["schema"] != 1:
            raise ValueError(f"log rate regression: expected schema 1, got {state['schema']!r}")
        regression = self._regression
        natural_mean = np.frombuffer(state["natural_mean"], dtype="<f8").copy()
        d = len(natural_mean)
        regression._idx = {name: i for i, name in enumerate(state["coefficients"])}
        regression._ss_arr = np.frombuffer(state["precision"], dtype="<f8").reshape(d, d).copy()
        covariance = np.frombuffer(state["covariance"], dtype="<f8").reshape(d, d)
        regression._ss_inv_arr = np.array(covariance, order="F")
        regression._eta_arr, regression._cap, regression._m_dirty = natural_mean, d, True
        regression.beta, self._places = state["beta"], {}
        self.design.restore(state["design"])
        self._appealers = OrderedDict(
            (name, (total, weight)) for name, total, weight in state["appealers"]
        )
        total, weight, time_days = state["level"]
        self._level = (total, weight, time_days)
        observed, expected = state["calibration"]
        self._calibration = (observed, expected)
        self.dispersion.restore(state["dispersion"])

    def _log_rate(self, x: Features, features: dict[str, float]) -> tuple[float, float]:
        """Return mean and variance of the log rate."""
        own, own_variance = _appealer(self._appealers.get(x["appealer"], (0.0, 0.0)))
        line, variance = self._line(features)
        return line + own + _level_at(self._level, x["time_days"]), variance + own_variance

    def _log_retention(self, features: dict[str, float]) -> tuple[float, float]:
        """Return mean and variance of the part of the log rate that the stocks make."""
        stocks = {name: features[name] for name in self.design.stock_names}
        if not self._regression._idx:
            return 0.0, fsum(value**2 for value in stocks.values())
        return self._line(stocks)

    def _line(self, features: dict[str, float]) -> tuple[float, float]:
        """Return mean and variance of what the line says.

        Read from the posterior itself: river's predictive distribution would seed a random
        generator at every call, which takes as long as all the rest.
        """
        regression = self._regression
        names = tuple(features)
        places = self._places.get(names)
        if places is None:
            if not regression._idx:
                return 0.0, INTERCEPT_SD**2 - APPEALER_SD**2  # the appealer's comes on top
            places, features = self._find(names), self._found(features)
        values = np.fromiter(features.values(), np.float64, len(features))
        return _read(regression._ss_inv_arr, regression._eta_arr, places, values)

    def _found(self, features: dict[str, float]) -> dict[str, float]:
        """Return the features that have a coefficient."""
        index = self._regression._idx
        return {name: value for name, value in features.items() if name in index}

    def _find(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        """Return the places of the coefficients that there are, kept once all of them are there."""
        index = self._regression._idx
        places = np.array([index[name] for name in names if name in index], dtype=np.intp)
        if len(places) == len(names):
            if len(self._places) >= SHAPES_MAX:
                self._places.clear()
            self._places[names] = places
        return places


@compiled
def _read(
    covariance: Floats, natural_mean: Floats, places: NDArray[np.intp], values: Floats
) -> tuple[float, float]:
    """Return mean and variance of the sum of `values` times the coefficients at `places`."""
    along = np.zeros(natural_mean.shape[0])  # covariance with each coefficient
    for j in range(places.shape[0]):
        for i in range(along.shape[0]):
            along[i] += covariance[i, places[j]] * values[j]
    mean = variance = 0.0
    for i in range(along.shape[0]):
        mean += along[i] * natural_mean[i]
    for j in range(places.shape[0]):
        variance += along[places[j]] * values[j]
    return mean, max(0.0, variance)


@compiled
def _appealer(seen: tuple[float, float]) -> tuple[float, float]:
    """Return the log level of an appealer and its variance."""
    precision = seen[1] + APPEALER_SD**-2
    return seen[0] / precision, 1.0 / precision


@compiled
def _level_at(level: tuple[float, float, float], time_days: float) -> float:
    total, weight, then_days = level
    decay = exp2(-max(0.0, time_days - then_days) / LEVEL_HALF_LIFE_DAYS)
    return total * decay / (weight * decay + LEVEL_SD**-2)


@compiled
def _calibration_factor(calibration: tuple[float, float]) -> float:
    return (calibration[0] + CALIBRATION_PRIOR) / (calibration[1] + CALIBRATION_PRIOR)


@compiled
def _mean(exposure: float, eta: float, calibration: tuple[float, float]) -> float:
    """Return the expected responses."""
    return _calibration_factor(calibration) * exp(min(max(eta + log(exposure), -30.0), 30.0))


@compiled
def _learned_beside(
    line: float,
    spread: float,
    exposure: float,
    time_days: float,
    y: float,
    own: tuple[float, float],
    level: tuple[float, float, float],
    calibration: tuple[float, float],
    log_weights: Floats,
    forgetting: float,
    inverse: float,
) -> tuple[
    float,
    float,
    float,
    float,
    tuple[float, float, float],
    tuple[float, float],
    tuple[float, float],
]:
    """Score a count and learn all that is fitted beside the line.

    Parameters
    ----------
    line, spread : mean and variance of what the line says. own : sums of the appealer's residuals,
        weighted, and of their weights. level : the same of all, and when, in days. calibration :
        sums of what came and was expected. log_weights, forgetting, inverse : of the dispersion,
        the first brought up to date.

    Returns
    -------
    The log score, the new mean of 1 / phi, the precision and the log rate that the line is to learn
    with, and level, calibration and the appealer's sums.
    """
    then, (own_level, own_variance) = _level_at(level, time_days), _appealer(own)
    eta, variance = line + own_level + then, spread + own_variance
    mean = _mean(exposure, eta, calibration)
    noise = inverse + 1.0 / (mean + 0.5)
    log_score, inverse = learned(log_weights, forgetting, mean, y, variance)
    rest = log((y + 0.5) / exposure) - then - own_level
    # What the line still leaves over once it has learned this (Kalman's gain, in reverse).
    residual = (rest - line) * (noise + own_variance) / (noise + variance)
    weight, keep = 1.0 / noise, APPEALER_FORGETTING
    own = (keep * own[0] + weight * (residual + own_level), keep * own[1] + weight)
    now_days = max(level[2], time_days)
    keep = exp2((level[2] - now_days) / LEVEL_HALF_LIFE_DAYS)
    level = (keep * level[0] + weight * (residual + then), keep * level[1] + weight, now_days)
    # By what factor exp(E log) falls short of the mean, each count by its precision.
    weight, keep = 1.0 / (1.0 + mean * inverse), forgetting
    expected = mean / _calibration_factor(calibration)
    calibration = (keep * calibration[0] + weight * y, keep * calibration[1] + weight * expected)
    return log_score, inverse, 1.0 / (noise + own_variance), rest, level, calibration, own


def _to_bytes(array: Floats) -> bytes:
    return np.ascontiguousarray(array, dtype="<f8").tobytes()
