"""What every retention model takes and gives: the seam between the learner and the models.

A model is a river regressor. Its `x` is a dict with the entries of `Features`; its `y` is the
number of responses.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypedDict

from numpy.typing import NDArray

__all__ = ["Features", "Forecast", "RetentionModel"]


class Features(TypedDict, total=False):
    """One appeal as a model sees it. Strings name groups; the stocks are those of *earlier*
    appeals.

    exposure: reach times completion, > 0: people reached times the share of their responses that
    had time to arrive. own, kind_stock, crowd: shape (len(stock.HALF_LIVES_DAYS),), in appeals; own
    = same appealer and audience (any kind), kind_stock = same appealer, kind and audience, crowd =
    others' appeals of the same kind in the community. repeat: 1 for the first appeal of this
    appealer to this audience, 2 for the second, ... attributes: moderators, numbers (booleans as 0
    and 1). reciprocity: log(1 + answers this appealer gave to others' appeals lately).
    """

    time_days: float
    appealer: str
    kind: str
    audience: str
    exposure: float
    own: NDArray[Any]
    kind_stock: NDArray[Any]
    crowd: NDArray[Any]
    repeat: int
    reciprocity: float
    attributes: dict[str, float]


class Forecast(NamedTuple):
    """Said of one appeal. Retention as a ratio with its 90 % interval; the count with its 90 %
    predictive interval.

    `log_retention_sd` is the sd on the log scale (with its floor), for limits of 99 %: that of the
    interval is less (see models.outlook). `mean` are the expected responses at the exposure given.
    """

    retention: float
    low: float
    high: float
    mean: float
    mean_low: float
    mean_high: float
    log_retention_sd: float


class RetentionModel(Protocol):
    """A retention model: river's verbs, plus a forecast and plain-data state."""

    def learn_one(self, x: Features, y: float) -> None: ...

    def predict_one(self, x: Features) -> float:
        """Return the expected responses."""
        ...

    def forecast_one(self, x: Features) -> Forecast: ...

    def log_score_one(self, x: Features, y: float) -> float:
        """Return the log of the predictive probability of `y` responses, before learning them
        (natural log).
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data (numbers, strings, bytes, lists, dicts): msgpack
        takes it as it is.
        """
        ...

    def restore(self, state: dict[str, Any]) -> None: ...
