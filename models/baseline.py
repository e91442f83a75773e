"""A retention model made of river's own parts: Bayesian linear regression of the log response rate.

It was the first retention model and stays as a challenger: the better one must keep beating it.
What a straight line cannot hold is fitted beside it by backfitting (Buja, Hastie & Tibshirani 1989,
"Linear smoothers and additive models", Annals of Statistics 17(2)), one residual at a time: a level
of each appealer and a level of the week. Their uncertainty is left out of that of the stocks, so
its intervals for retention are too narrow, the more so the more it has learned.
"""

from __future__ import annotations

from collections import OrderedDict
from math import copysign, exp, exp2, fsum, isfinite, log, log1p, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base, linear_model

from models.counts import Dispersion, require_count, require_exposure
from models.forecast import Features, Forecast
from models.stock import HALF_LIVES_DAYS

__all__ = ["LinearDesign", "LogRateRegression"]

Floats = NDArray[np.float64]

NORMAL_95 = 1.6448536269514722  # 95 % point of the standard normal: both tails of a 90 % interval
AXES = ("own", "kind_stock", "crowd")


class LinearDesign:
    """Turns an appeal into the features of a linear model, in number bounded.

    Parameters
    ----------
    half_lives_days
        At which half-lives the stocks are read, each one of `stock.HALF_LIVES_DAYS`.
    kinds_max, attributes_max
        How many get a coefficient of their own, first come.
    """

    STOCK_SD = 0.3  # prior sd of a coefficient of a stock; those of the rest have sd 1

    def __init__(
        self, half_lives_days: tuple[float, ...], kinds_max: int, attributes_max: int
    ) -> None:
        self.kinds_max = kinds_max
        self.attributes_max = attributes_max
        self._read = [int(np.abs(HALF_LIVES_DAYS - h).argmin()) for h in half_lives_days]
        self.stock_names = [f"{axis}.{h:g}" for axis in AXES for h in half_lives_days]
        self._kinds: dict[str, str] = {}
        self._attributes: dict[str, str] = {}

    def features(self, x: Features) -> dict[str, float]:
        """Return the features, stocks first, scaled so that every coefficient has prior sd 1."""
        axes = x["own"], x["kind_stock"], x["crowd"]
        stocks = [float(axis[i]) * self.STOCK_SD for axis in axes for i in self._read]
        features = dict(zip(self.stock_names, stocks, strict=True))
        features["reciprocity"] = x.get("reciprocity", 0.0)
        if (kind := self._kinds.get(x["kind"])) is not None:
            features[kind] = 1.0
        for name, value in x.get("attributes", {}).items():
            if (attribute := self._attributes.get(name)) is not None:
                features[attribute] = copysign(log1p(abs(value)), value)
        if not isfinite(sum(features.values())):
            raise ValueError(f"features: expected finite numbers, got {features}")
        return features

    def name(self, x: Features) -> bool:
        """Give kinds and attributes not met before a coefficient, while there is room; return
        whether there were any.
        """
        before = len(self._kinds) + len(self._attributes)
        if len(self._kinds) < self.kinds_max:
            self._kinds.setdefault(x["kind"], f"kind={x['kind']}")
        for name in x.get("attributes", {}):
            if len(self._attributes) < self.attributes_max:
                self._attributes.setdefault(name, f"attribute={name}")
        return len(self._kinds) + len(self._attributes) > before

    def state(self) -> dict[str, list[str]]:
        """Return the kinds and attributes that have a coefficient."""
        return {"kinds": list(self._kinds), "attributes": list(self._attributes)}

    def restore(self, state: dict[str, list[str]]) -> None:
        """Go on from `state`, as if never interrupted."""
        self._kinds = {name: f"kind={name}" for name in state["kinds"]}
        self._attributes = {name: f"attribute={name}" for name in state["attributes"]}


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

    Examples
    --------
    >>> model, stocks = LogRateRegression(), np.zeros(len(HALF_LIVES_DAYS))
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

    INTERCEPT_SD = 10.0
    APPEALER_SD = 0.7
    APPEALER_FORGETTING = 0.97  # a residual ages with the coefficients it was taken from
    LEVEL_SD = 0.15
    LEVEL_HALF_LIFE_DAYS = 7.0
    CALIBRATION_PRIOR = 20.0

    def __init__(
        self,
        half_lives_days: tuple[float, ...] = (4.0, 16.0, 64.0),
        kinds_max: int = 24,
        attributes_max: int = 8,
        appealers_max: int = 100_000,
    ) -> None:
        self.half_lives_days = half_lives_days
        self.kinds_max = kinds_max
        self.attributes_max = attributes_max
        self.appealers_max = appealers_max
        self.design = LinearDesign(half_lives_days, kinds_max, attributes_max)
        self._regression: Any = linear_model.BayesianLinearRegression(
            alpha=1, beta=1, smoothing=None
        )
        self._appealers: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._level = (0.0, 0.0, 0.0)  # sum of weighted residuals, of weights, and when, in days
        self._calibration = (0.0, 0.0)
        self.dispersion = Dispersion()

    def features(self, x: Features) -> dict[str, float]:
        """Return the regression's features, scaled so that every coefficient has prior sd 1."""
        features = self.design.features(x)
        features["intercept"] = self.INTERCEPT_SD
        return features

    def learn_one(self, x: Features, y: float) -> None:  # type: ignore[override]
        """Learn that the appeal `x` drew `y` responses."""
        self.score_then_learn(x, y)

    def score_then_learn(self, x: Features, y: float) -> float:
        """Return the log of the probability given to `y` responses, then learn them."""
        require_count(y)
        exposure, time_days = require_exposure(x), x["time_days"]
        features = self.features(x)
        eta, variance = self._log_rate(x, features)
        if self.design.name(x):
            features = self.features(x)
        mean = self._mean(exposure, eta)
        level, (appealer, appealer_variance) = self._level_at(time_days), self._appealer(x)
        line = eta - level - appealer
        noise = self.dispersion.inverse + 1.0 / (mean + 0.5)
        log_score = self.dispersion.learn_one(mean, y, variance)
        rest = log((y + 0.5) / exposure) - level - appealer
        self._regression.beta = 1.0 / (noise + appealer_variance)
        self._regression.learn_one(features, rest)
        # What the line still leaves over once it has learned this (Kalman's gain, in reverse).
        residual = (rest - line) * (noise + appealer_variance) / (noise + variance)
        self._learn_appealer(x["appealer"], residual + appealer, 1.0 / noise)
        self._learn_level(time_days, residual + level, 1.0 / noise)
        self._calibrate(mean, y)
        return log_score

    def predict_one(self, x: Features) -> float:  # type: ignore[override]
        """Return the expected responses."""
        return self._mean(require_exposure(x), self._log_rate(x, self.features(x))[0])

    def forecast_one(self, x: Features) -> Forecast:
        """Return retention and expected responses with 90 % intervals."""
        exposure = require_exposure(x)
        features = self.features(x)
        eta, eta_variance = self._log_rate(x, features)
        log_retention, variance = self._log_retention(features)
        # Nobody knows retention better than to 2 % and to a twentieth of the effect.
        sd = sqrt(variance + (0.05 * log_retention) ** 2 + 0.02**2)
        low, high = log_retention - NORMAL_95 * sd, log_retention + NORMAL_95 * sd
        mean = self._mean(exposure, eta)
        counts = self.dispersion.interval(mean, eta_variance)
        return Forecast(exp(log_retention), exp(low), exp(high), mean, *counts, sd)

    def log_score_one(self, x: Features, y: float) -> float:
        """Return the log of the predictive probability of `y` responses (negative binomial)."""
        require_count(y)
        eta, variance = self._log_rate(x, self.features(x))
        return self.dispersion.log_score_one(self._mean(require_exposure(x), eta), y, variance)

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
        regression.beta = state["beta"]
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
        """Return mean and variance of the log rate.

        Read from the posterior itself: river's predictive distribution would seed a random
        generator at every call, which takes as long as all the rest.
        """
        appealer, variance = self._appealer(x)
        eta = appealer + self._level_at(x["time_days"])
        vector, means, covariance = self._posterior(features)
        if not len(vector):
            return eta, self.INTERCEPT_SD**2
        return eta + float(vector @ means), variance + _quadratic(covariance, vector)

    def _log_retention(self, features: dict[str, float]) -> tuple[float, float]:
        """Return mean and variance of the part of the log rate that the stocks make."""
        stocks = len(self.design.stock_names)  # they come first in every design
        vector, means, covariance = self._posterior(features)
        if not len(vector):
            return 0.0, fsum(features[name] ** 2 for name in self.design.stock_names)
        vector[stocks:] = 0.0
        return float(vector @ means), _quadratic(covariance, vector)

    def _posterior(self, features: dict[str, float]) -> tuple[Floats, Floats, Floats]:
        """Return the features as river orders them, and its means and covariance of coefficients;
        all are empty before the first appeal.
        """
        regression = self._regression
        index, vector = regression._idx, np.zeros(regression._cap)
        regression._ensure_m()
        for name, value in features.items():
            if name in index:
                vector[index[name]] = value
        return vector, regression._m_arr, regression._ss_inv_arr

    def _mean(self, exposure: float, eta: float) -> float:
        factor = self._calibration_factor()
        return factor * exp(min(max(eta + log(exposure), -30.0), 30.0))

    def _appealer(self, x: Features) -> tuple[float, float]:
        """Return the log level of an appealer and its variance."""
        total, weight = self._appealers.get(x["appealer"], (0.0, 0.0))
        precision = weight + self.APPEALER_SD**-2
        return total / precision, 1.0 / precision

    def _level_at(self, time_days: float) -> float:
        total, weight, then_days = self._level
        decay = exp2(-max(0.0, time_days - then_days) / self.LEVEL_HALF_LIFE_DAYS)
        return total * decay / (weight * decay + self.LEVEL_SD**-2)

    def _learn_appealer(self, appealer: str, log_level: float, weight: float) -> None:
        """Learn a log level seen of an appealer, kept last; the one not heard of longest may go."""
        total, weights = self._appealers.pop(appealer, (0.0, 0.0))
        keep = self.APPEALER_FORGETTING
        self._appealers[appealer] = (keep * total + weight * log_level, keep * weights + weight)
        if len(self._appealers) > self.appealers_max:
            self._appealers.popitem(last=False)

    def _learn_level(self, time_days: float, log_level: float, weight: float) -> None:
        total, weights, then_days = self._level
        now_days = max(then_days, time_days)
        keep = exp2((then_days - now_days) / self.LEVEL_HALF_LIFE_DAYS)
        self._level = (keep * total + weight * log_level, keep * weights + weight, now_days)

    def _calibration_factor(self) -> float:
        observed, expected = self._calibration
        return (observed + self.CALIBRATION_PRIOR) / (expected + self.CALIBRATION_PRIOR)

    def _calibrate(self, mean: float, y: float) -> None:
        """Learn by what factor exp(E log) falls short of the mean, each count by its precision."""
        observed, expected = self._calibration
        weight = 1.0 / (1.0 + mean * self.dispersion.inverse)
        keep, expected_now = self.dispersion.forgetting, mean / self._calibration_factor()
        self._calibration = (keep * observed + weight * y, keep * expected + weight * expected_now)


def _quadratic(covariance: Floats, vector: Floats) -> float:
    return max(0.0, float(vector @ (covariance @ vector)))


def _to_bytes(array: Floats) -> bytes:
    return np.ascontiguousarray(array, dtype="<f8").tobytes()
