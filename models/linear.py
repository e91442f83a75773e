"""What the linear challengers see of an appeal: named numbers, as river takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import copysign, isfinite, log1p

import numpy as np
from numpy.typing import NDArray

from models.forecast import Features
from models.stock import HALF_LIVES_DAYS

__all__ = ["LinearDesign", "stocks_of"]

Floats = NDArray[np.float64]

AXES = ("own", "kind_stock", "crowd")


def stocks_of(appeals: Iterable[Features]) -> Floats:
    """Return the stocks of the appeals' axes, one beside the other, shape (appeals, 3 x grid)."""
    axes = [axis for x in appeals for axis in (x["own"], x["kind_stock"], x["crowd"])]
    return np.concatenate(axes).reshape(-1, len(AXES) * len(HALF_LIVES_DAYS))


class LinearDesign:
    """Turns appeals into the features of a linear model, in number bounded.

    Parameters
    ----------
    half_lives_days
        At which half-lives the stocks are read, each one of `stock.HALF_LIVES_DAYS`.
    kinds_max, attributes_max
        How many get a coefficient of their own, first come.
    """

    STOCK_SD = 0.3  # prior sd of a coefficient of a stock; those of the rest have sd 1

    def __init__(
        self,
        half_lives_days: Sequence[float] = (4.0, 16.0, 64.0),
        kinds_max: int = 24,
        attributes_max: int = 8,
    ) -> None:
        self.kinds_max = kinds_max
        self.attributes_max = attributes_max
        read = [int(np.abs(HALF_LIVES_DAYS - h).argmin()) for h in half_lives_days]
        grid = len(HALF_LIVES_DAYS)
        self._read = np.array([axis * grid + i for axis in range(len(AXES)) for i in read])
        self.stock_names = [f"{axis}.{h:g}" for axis in AXES for h in half_lives_days]
        self._kinds: dict[str, str] = {}
        self._attributes: dict[str, str] = {}

    def features(self, x: Features) -> dict[str, float]:
        """Return the features, stocks first, scaled so that every coefficient has prior sd 1.

        Raises
        ------
        ValueError
            If one of them is not finite.
        """
        features = self.with_stocks(x, self.scaled(stocks_of((x,)))[0])
        if not isfinite(sum(features.values())):
            raise ValueError(f"features: expected finite numbers, got {features}")
        return features

    def scaled(self, stocks: Floats) -> list[list[float]]:
        """Return, appeal by appeal, the features that are stocks; `stocks` as of `stocks_of`."""
        scaled: list[list[float]] = (stocks[:, self._read] * self.STOCK_SD).tolist()
        return scaled

    def with_stocks(self, x: Features, scaled: list[float]) -> dict[str, float]:
        """Return what `features` does, unchecked, of an appeal whose stocks have been `scaled`."""
        features = dict(zip(self.stock_names, scaled, strict=True))
        features["reciprocity"] = x.get("reciprocity", 0.0)
        if (kind := self._kinds.get(x["kind"])) is not None:
            features[kind] = 1.0
        for name, value in x.get("attributes", {}).items():
            if (attribute := self._attributes.get(name)) is not None:
                features[attribute] = copysign(log1p(abs(value)), value)
        return features

    def name(self, x: Features) -> None:
        """Give kinds and attributes not met before a coefficient, while there is room."""
        kind = x["kind"]
        if kind not in self._kinds and len(self._kinds) < self.kinds_max:
            self._kinds[kind] = f"kind={kind}"
        for name in x.get("attributes", {}):
            if name not in self._attributes and len(self._attributes) < self.attributes_max:
                self._attributes[name] = f"attribute={name}"

    def state(self) -> dict[str, list[str]]:
        """Return the kinds and attributes that have a coefficient."""
        return {"kinds": list(self._kinds), "attributes": list(self._attributes)}

    def restore(self, state: dict[str, list[str]]) -> None:
        """Go on from `state`, as if never interrupted."""
        self._kinds = {name: f"kind={name}" for name in state["kinds"]}
        self._attributes = {name: f"attribute={name}" for name in state["attributes"]}
