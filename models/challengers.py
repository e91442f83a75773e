"""Always-on challengers: simpler models that the pooled retention model must keep beating.

Each says before an appeal how many responses it will draw, as a negative binomial with a dispersion
of its own, is scored by the log of the probability it gave to what came, and only then learns. Such
prequential scores may be compared at any time (Dawid 1984, "Present position and potential
developments: some personal views: statistical theory: the prequential approach", Journal of the
Royal Statistical Society A 147(2)).
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from math import isfinite
from typing import Any, Protocol

import numpy as np
from river import linear_model, optim, utils

from models.baseline import LinearDesign, LogRateRegression
from models.counts import Dispersion, require_count, require_exposure
from models.forecast import Features
from models.stock import HALF_LIVES_DAYS

__all__ = ["AlwaysAsNew", "Challengers", "PoissonDescent"]


class Challenger(Protocol):
    """What `Challengers` asks of each."""

    def log_score_one(self, x: Features, y: float) -> float: ...

    def score_then_learn(self, x: Features, y: float) -> float: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class AlwaysAsNew:
    """Retention is 1: an appealer draws what the appealer's earlier appeals drew, per person
    reached.

    The rate of an appealer has a gamma law around that of all, learned by shrinkage (Gamma-Poisson:
    Greenwood & Yule 1920, "An inquiry into the nature of frequency distributions", Journal of the
    Royal Statistical Society 83(2)). An appeal counts for at most `phi` responses, its dispersion.

    Parameters
    ----------
    appealers_max
        How many appealers are kept, the latest; 150 bytes each.
    kinds_max
        How many kinds have a factor of their own, first come.
    forgetting
        Weight that the rate of all, and of a kind, keeps when another appeal is learned.

    Examples
    --------
    >>> model = AlwaysAsNew()
    >>> x = Features(time_days=0.0, appealer="a", kind="k", exposure=1000.0)
    >>> for _ in range(50):
    ...     model.learn_one(x, 20)
    >>> round(model.predict_one(x))
    20
    """

    KIND_RESPONSES = 20.0  # that a kind is as good as any other counts for
    APPEALER_SHAPE = 2.0  # of the gamma law: appealers' rates have an sd of .7 of their mean

    def __init__(
        self, appealers_max: int = 100_000, kinds_max: int = 1_000, forgetting: float = 0.999
    ) -> None:
        self.appealers_max = appealers_max
        self.kinds_max = kinds_max
        self.forgetting = forgetting
        self.dispersion = Dispersion()
        self._all = (0.0, 0.0)
        self._kinds: dict[str, tuple[float, float]] = {}
        self._appealers: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def learn_one(self, x: Features, y: float) -> None:
        """Learn that the appeal `x` drew `y` responses."""
        self.score_then_learn(x, y)

    def score_then_learn(self, x: Features, y: float) -> float:
        """Return the log of the probability given to `y` responses, then learn them."""
        mean, log_variance = self._belief(x)
        factor = self._kind_factor(x["kind"])
        log_score = self.dispersion.learn_one(mean, require_count(y), log_variance)
        # Responses beyond what dispersion lets them say are scaled away, and reach with them.
        weight = 1.0 / (1.0 + mean * self.dispersion.inverse)
        responses, exposure = self._all
        self._learn_kind(x["kind"], weight * y, weight * mean / factor)
        keep, seen, reached = self.forgetting, weight * y, weight * x["exposure"] * factor
        self._all = (keep * responses + seen, keep * exposure + reached)
        responses, exposure = self._appealers.pop(x["appealer"], (0.0, 0.0))
        self._appealers[x["appealer"]] = (responses + seen, exposure + reached)
        if len(self._appealers) > self.appealers_max:
            self._appealers.popitem(last=False)
        return log_score

    def predict_one(self, x: Features) -> float:
        """Return the expected responses."""
        return self._belief(x)[0]

    def log_score_one(self, x: Features, y: float) -> float:
        """Return the log of the predictive probability of `y` responses."""
        mean, log_variance = self._belief(x)
        return self.dispersion.log_score_one(mean, require_count(y), log_variance)

    def _belief(self, x: Features) -> tuple[float, float]:
        """Return the expected responses, and the variance of their log."""
        exposure = require_exposure(x)
        all_responses, all_exposure = self._all
        rate = (all_responses + 0.5) / (all_exposure + 0.5)
        responses, reached = self._appealers.get(x["appealer"], (0.0, 0.0))
        shape = self.APPEALER_SHAPE + responses
        mean = exposure * shape / (self.APPEALER_SHAPE / rate + reached)
        return mean * self._kind_factor(x["kind"]), 1.0 / shape

    def _kind_factor(self, kind: str) -> float:
        seen, expected = self._kinds.get(kind, (0.0, 0.0))
        return (seen + self.KIND_RESPONSES) / (expected + self.KIND_RESPONSES)

    def _learn_kind(self, kind: str, seen: float, expected: float) -> None:
        if kind in self._kinds or len(self._kinds) < self.kinds_max:
            before = self._kinds.get(kind, (0.0, 0.0))
            keep = self.forgetting
            self._kinds[kind] = (keep * before[0] + seen, keep * before[1] + expected)

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {
            "all": list(self._all),
            "kinds": [[name, *sums] for name, sums in self._kinds.items()],
            "appealers": [[name, *rate] for name, rate in self._appealers.items()],
            "dispersion": self.dispersion.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        responses, exposure = state["all"]
        self._all = (responses, exposure)
        self._kinds = {name: (seen, expected) for name, seen, expected in state["kinds"]}
        self._appealers = OrderedDict((name, (seen, of)) for name, seen, of in state["appealers"])
        self.dispersion.restore(state["dispersion"])


class PoissonDescent:
    """Poisson regression by stochastic gradient descent: river's `LinearRegression` with its loss.

    river knows no offset. A rate y / m with the weight m has the very gradient of a count y with
    the offset log m, for m (e^p - y / m) = m e^p - y; m is what the base rate alone leads one to
    expect. The step is that gradient over the variance it would have at the count expected, and
    over 1 + |x|^2 (normalised least mean squares: Nagumo & Noda 1967, "A learning method for system
    identification", IEEE Transactions on Automatic Control 12(3)): so one learning rate does for
    small and for huge appeals, for rested and for tired ones. Appealers are one-hot, while there is
    room.

    Parameters
    ----------
    learning_rate
        Of the coefficients and of the intercept.
    appealers_max
        How many appealers get a coefficient, first come; 100 bytes each.
    """

    BASE_APPEALS = 30  # that the base rate is taken from, and then left alone
    GRADIENT_MAX = 3.0
    RATIO_MAX = 1e9  # of a prediction to the base rate

    def __init__(self, learning_rate: float = 0.2, appealers_max: int = 10_000) -> None:
        self.appealers_max = appealers_max
        self.dispersion = Dispersion()
        self._design = LinearDesign((4.0, 16.0, 64.0), kinds_max=24, attributes_max=8)
        self._regression: Any = linear_model.LinearRegression(
            optimizer=optim.SGD(learning_rate),
            loss=optim.losses.Poisson(),
            l2=0.0,
            l1=0.0,
            intercept_init=0.0,
            intercept_lr=learning_rate,
            clip_gradient=self.GRADIENT_MAX,
            initializer=optim.initializers.Zeros(),
        )
        self._base = (0.0, 0.0, 0)
        self._appealers: dict[str, str] = {}

    def learn_one(self, x: Features, y: float) -> None:
        """Learn that the appeal `x` drew `y` responses."""
        self.score_then_learn(x, y)

    def score_then_learn(self, x: Features, y: float) -> float:
        """Return the log of the probability given to `y` responses, then learn them."""
        self._name(x)
        features, expected = self._features(x), self._expected(x)
        mean = self._mean(features, expected)
        log_score = self.dispersion.learn_one(mean, require_count(y))
        squares = sum(value * value for value in features.values())
        variance = mean + 1.0 / self.dispersion.inverse
        # A step too far and the exponential overflows; river would stop the program there.
        with suppress(OverflowError):
            weight = expected / variance / (1.0 + squares)
            self._regression.learn_one(features, y / expected, w=weight)
        responses, exposure, appeals = self._base
        if appeals < self.BASE_APPEALS:
            self._base = (responses + y, exposure + x["exposure"], appeals + 1)
        return log_score

    def predict_one(self, x: Features) -> float:
        """Return the expected responses."""
        return self._mean(self._features(x), self._expected(x))

    def log_score_one(self, x: Features, y: float) -> float:
        """Return the log of the predictive probability of `y` responses."""
        return self.dispersion.log_score_one(self.predict_one(x), require_count(y))

    def _mean(self, features: dict[str, float], expected: float) -> float:
        try:
            ratio = min(float(self._regression.predict_one(features)), self.RATIO_MAX)
        except OverflowError:
            ratio = self.RATIO_MAX
        return max(expected * ratio, 1e-9)

    def _name(self, x: Features) -> None:
        """Give what was not met before a coefficient, zero to begin with."""
        self._design.name(x)
        if x["appealer"] not in self._appealers and len(self._appealers) < self.appealers_max:
            self._appealers[x["appealer"]] = f"appealer={x['appealer']}"

    def _expected(self, x: Features) -> float:
        responses, exposure, _ = self._base
        return require_exposure(x) * (responses + 0.5) / (exposure + 0.5)

    def _features(self, x: Features) -> dict[str, float]:
        features = self._design.features(x)
        if (appealer := self._appealers.get(x["appealer"])) is not None:
            features[appealer] = 1.0
        return features

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        regression = self._regression
        return {
            "base": list(self._base),
            "design": self._design.state(),
            "appealers": list(self._appealers),
            "weights": [[name, float(weight)] for name, weight in regression.weights.items()],
            "intercept": float(regression.intercept),
            "iterations": int(regression.optimizer.n_iterations),
            "dispersion": self.dispersion.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        responses, exposure, appeals = state["base"]
        self._base = (responses, exposure, appeals)
        self._design.restore(state["design"])
        self._appealers = {name: f"appealer={name}" for name in state["appealers"]}
        regression = self._regression
        regression._weights = utils.VectorDict(dict(state["weights"]))
        regression.intercept = state["intercept"]
        regression.optimizer.n_iterations = state["iterations"]
        self.dispersion.restore(state["dispersion"])


class Challengers:
    """All challengers side by side, with the running sums of their log scores.

    Attributes
    ----------
    models
        The challengers by name.
    log_scores
        Sum of the log scores of each so far, natural logs; 0 before the first appeal.
    appeals
        How many appeals were scored.
    """

    def __init__(self) -> None:
        self.models: dict[str, Challenger] = {
            "always_as_new": AlwaysAsNew(),
            "poisson_descent": PoissonDescent(),
            "log_rate": LogRateRegression(),
        }
        self.log_scores = dict.fromkeys(self.models, 0.0)
        self.appeals = 0

    def score_then_learn(self, x: Features, y: float) -> dict[str, float]:
        """Score each challenger on the appeal `x` with `y` responses, then let it learn.

        Returns the running sums of log scores by name.
        """
        _require(x, y)
        for name, model in self.models.items():
            self.log_scores[name] += model.score_then_learn(x, y)
        self.appeals += 1
        return dict(self.log_scores)

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {
            "schema": 1,
            "appeals": self.appeals,
            "log_scores": dict(self.log_scores),
            "models": {name: model.state() for name, model in self.models.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        if state["schema"] != 1:
            raise ValueError(f"challengers: expected schema 1, got {state['schema']!r}")
        self.appeals = state["appeals"]
        self.log_scores = {name: state["log_scores"][name] for name in self.models}
        for name, model in self.models.items():
            model.restore(state["models"][name])


_ONES = np.ones(len(HALF_LIVES_DAYS))


def _require(x: Features, y: float) -> None:
    """Refuse, before the first of them has learned it, what any of the challengers would refuse."""
    require_count(y)
    require_exposure(x)
    stocks = float(_ONES @ x["own"] + _ONES @ x["kind_stock"] + _ONES @ x["crowd"])
    if not isfinite(stocks + x.get("reciprocity", 0.0)):
        raise ValueError(f"stocks and reciprocity: expected finite numbers, got {x}")
