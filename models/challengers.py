"""Always-on challengers: simpler models that the pooled retention model must keep beating.

Each says before an appeal how many responses it will draw, as a negative binomial with a dispersion
of its own, is scored by the log of the probability it gave to what came, and only then learns. Such
prequential scores may be compared at any time (Dawid 1984, "Present position and potential
developments: some personal views: statistical theory: the prequential approach", Journal of the
Royal Statistical Society A 147(2)).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import isfinite
from operator import mul
from typing import Any, Protocol

from river import linear_model, optim, utils

from models.baseline import LogRateRegression
from models.counts import Dispersion, require_count, require_exposure
from models.forecast import Features
from models.linear import LinearDesign, stocks_of

__all__ = ["AlwaysAsNew", "Challengers", "PoissonDescent"]


class Challenger(Protocol):
    """What `Challengers` asks of each."""

    def log_score_one(self, x: Features, y: float) -> float: ...

    def score_then_learn_known(self, x: Features, y: float, known: dict[str, float]) -> float: ...

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
        require_exposure(x), require_count(y)
        return self.score_then_learn_known(x, y, {})

    def score_then_learn_known(self, x: Features, y: float, known: dict[str, float]) -> float:
        """Do so for an appeal found fit for use; what a design says of it is not asked."""
        factor = self._kind_factor(x["kind"])
        mean, log_variance = self._belief(x, factor)
        log_score = self.dispersion.learn_one(mean, y, log_variance)
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
        require_exposure(x)
        return self._belief(x, self._kind_factor(x["kind"]))[0]

    def log_score_one(self, x: Features, y: float) -> float:
        """Return the log of the predictive probability of `y` responses."""
        require_exposure(x)
        mean, log_variance = self._belief(x, self._kind_factor(x["kind"]))
        return self.dispersion.log_score_one(mean, require_count(y), log_variance)

    def _belief(self, x: Features, factor: float) -> tuple[float, float]:
        """Return the expected responses, and the variance of their log."""
        all_responses, all_exposure = self._all
        rate = (all_responses + 0.5) / (all_exposure + 0.5)
        responses, reached = self._appealers.get(x["appealer"], (0.0, 0.0))
        shape = self.APPEALER_SHAPE + responses
        mean = x["exposure"] * shape / (self.APPEALER_SHAPE / rate + reached)
        return mean * factor, 1.0 / shape

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
    design
        Shared with other models; one of its own if none is given.
    """

    BASE_APPEALS = 30  # that the base rate is taken from, and then left alone
    GRADIENT_MAX = 3.0
    RATIO_MAX = 1e9  # of a prediction to the base rate

    def __init__(
        self,
        learning_rate: float = 0.2,
        appealers_max: int = 10_000,
        design: LinearDesign | None = None,
    ) -> None:
        self.appealers_max = appealers_max
        self.dispersion = Dispersion()
        self._design = design or LinearDesign()
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
        require_exposure(x), require_count(y)
        self._design.features(x)  # refuses what is not finite before anything gets a name
        self._design.name(x)
        return self.score_then_learn_known(x, y, self._design.features(x))

    def score_then_learn_known(self, x: Features, y: float, known: dict[str, float]) -> float:
        """Do so for an appeal found fit for use, and named, whose design says `known`."""
        self._name(x["appealer"])
        features, expected = self._with_appealer(x, known), self._expected(x)
        mean = self._mean(features, expected)
        log_score = self.dispersion.learn_one(mean, y)
        values = features.values()
        squares = sum(map(mul, values, values))
        variance = mean + 1.0 / self.dispersion.inverse
        self._descend(features, y / expected, expected / variance / (1.0 + squares))
        responses, exposure, appeals = self._base
        if appeals < self.BASE_APPEALS:
            self._base = (responses + y, exposure + x["exposure"], appeals + 1)
        return log_score

    def predict_one(self, x: Features) -> float:
        """Return the expected responses."""
        require_exposure(x)
        return self._mean(self._with_appealer(x, self._design.features(x)), self._expected(x))

    def log_score_one(self, x: Features, y: float) -> float:
        """Return the log of the predictive probability of `y` responses."""
        return self.dispersion.log_score_one(self.predict_one(x), require_count(y))

    def _mean(self, features: dict[str, float], expected: float) -> float:
        try:
            ratio = min(float(self._regression.predict_one(features)), self.RATIO_MAX)
        except OverflowError:
            ratio = self.RATIO_MAX
        return max(expected * ratio, 1e-9)

    def _descend(self, features: dict[str, float], ratio: float, weight: float) -> None:
        try:
            self._regression.learn_one(features, ratio, w=weight)
        except OverflowError:  # a step too far; river would stop the program there
            return

    def _name(self, appealer: str) -> None:
        """Give an appealer not met before a coefficient, zero to begin with."""
        if appealer not in self._appealers and len(self._appealers) < self.appealers_max:
            self._appealers[appealer] = f"appealer={appealer}"

    def _expected(self, x: Features) -> float:
        responses, exposure, _ = self._base
        return x["exposure"] * (responses + 0.5) / (exposure + 0.5)

    def _with_appealer(self, x: Features, known: dict[str, float]) -> dict[str, float]:
        appealer = self._appealers.get(x["appealer"])
        return known if appealer is None else {**known, appealer: 1.0}

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
        self._design = LinearDesign()
        self.models: dict[str, Challenger] = {
            "always_as_new": AlwaysAsNew(),
            "poisson_descent": PoissonDescent(design=self._design),
            "log_rate": LogRateRegression(design=self._design),
        }
        self.log_scores = dict.fromkeys(self.models, 0.0)
        self.appeals = 0

    def score_then_learn(self, x: Features, y: float) -> dict[str, float]:
        """Score each challenger on the appeal `x` with `y` responses, then let it learn.

        Returns the running sums of log scores by name.
        """
        self.score_then_learn_many([(x, y)])
        return dict(self.log_scores)

    def score_then_learn_many(
        self, appeals: Sequence[tuple[Features, float]]
    ) -> dict[str, list[float]]:
        """Do what `score_then_learn` does for one appeal after the other.

        Returns
        -------
        The log scores of each appeal, by challenger.

        Raises
        ------
        ValueError
            If one of them is not fit for use; none of them is learned then.
        """
        stocks = stocks_of(x for x, _ in appeals)
        _require(appeals, float(stocks.sum()))
        known, scores = [], {}
        for (x, _), scaled in zip(appeals, self._design.scaled(stocks), strict=True):
            self._design.name(x)
            known.append(self._design.with_stocks(x, scaled))
        # One model after the other: its code and data stay in the processor's cache.
        for name, model in self.models.items():
            learn, total = model.score_then_learn_known, self.log_scores[name]
            scores[name] = [learn(x, y, of) for (x, y), of in zip(appeals, known, strict=True)]
            for score in scores[name]:  # not by `sum`, which from Python 3.12 on mends its rounding
                total += score
            self.log_scores[name] = total
        self.appeals += len(appeals)
        return scores

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


def _require(appeals: Sequence[tuple[Features, float]], stocks: float) -> None:
    """Refuse, before the first of them is learned, what any of the challengers would refuse.

    stocks : the sum of all of theirs. A sum is finite only if all that was added up is.
    """
    total, positive = stocks, True
    for x, y in appeals:
        exposure = x["exposure"]
        positive = positive and y >= 0.0 < exposure
        total += y + exposure + x["time_days"] + x.get("reciprocity", 0.0)
        total += sum(x.get("attributes", {}).values())
    if isfinite(total) and positive:
        return
    for x, y in appeals:
        require_count(y), require_exposure(x)
        numbers = float(stocks_of((x,)).sum()) + x.get("reciprocity", 0.0)
        if not isfinite(numbers):
            raise ValueError(f"stocks and reciprocity: expected finite numbers, got {x}")
