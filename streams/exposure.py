"""The exposure stocks of a community on all three axes, kept up as appeals are put."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.stock import NO_STOCK, Stock, add_to_all, felt_on_axes
from streams.events import Appeal
from streams.recent import Recent

__all__ = ["Exposure", "ExposureState", "Felt"]

Key = tuple[str, ...]


class Felt(NamedTuple):
    """What is felt of earlier appeals when one is put: stocks by half-life, and how many appeals
    there were.

    stocks : shape (3, half-lives): own, kind, crowd.
    """

    stocks: NDArray[np.float64]
    repeat: int
    kind_repeat: int


class StockState(msgspec.Struct, frozen=True, array_like=True):
    """One stock as plain data; values as little-endian doubles."""

    key: tuple[str, ...]
    time_ms: int
    appeals: int
    values: bytes


class ExposureState(msgspec.Struct):
    """All stocks of a community, least recently felt first."""

    own: list[StockState] = []
    kind: list[StockState] = []
    series: list[StockState] = []
    crowd: list[StockState] = []
    unfelt: list[Appeal] = []
    forgotten: dict[str, int] = {}


class Exposure:
    """Stocks of *strictly earlier* appeals: those put at the same moment do not feel each other.

    Parameters
    ----------
    audiences_max, appealers_max
        How many (appealer, audience) pairs and series are remembered; those longest without an
        appeal are forgotten, and count as new when they come back.
    """

    def __init__(
        self, audiences_max: int, appealers_max: int, state: ExposureState | None = None
    ) -> None:
        state = state or ExposureState()
        self._own: Recent[Key, Stock] = Recent(audiences_max, Stock)
        self._kind: Recent[Key, Stock] = Recent(audiences_max, Stock)
        self._series: Recent[Key, Stock] = Recent(appealers_max, Stock)
        self._crowd: Recent[Key, Stock] = Recent(appealers_max, Stock)
        self._axes = {
            "own": self._own,
            "kind": self._kind,
            "series": self._series,
            "crowd": self._crowd,
        }
        for name, axis in self._axes.items():
            axis.forgotten = state.forgotten.get(name, 0)
            for kept in getattr(state, name):
                axis[tuple(kept.key)] = _stock(kept)
        self._unfelt = list(state.unfelt)

    def feel(self, appeal: Appeal) -> Felt:
        """Return what an appeal meets, and remember it for those that come later."""
        felt = self.felt(appeal)
        self._unfelt.append(appeal)
        return felt

    def felt(self, appeal: Appeal) -> Felt:
        """Return what an appeal would meet, if it were put."""
        if self._unfelt and self._unfelt[0].time_ms < appeal.time_ms:
            self._settle()
        appealer, kind_name, audience = appeal.appealer, appeal.kind, appeal.audience
        own = self._own.get((appealer, audience), NO_STOCK)
        kind = self._kind.get((appealer, kind_name, audience), NO_STOCK)
        series = self._series.get((appealer, kind_name), NO_STOCK)
        crowd = self._crowd.get((kind_name,), NO_STOCK)
        if series.appeals >= crowd.appeals:  # there is nobody else
            series = crowd = NO_STOCK
        stocks = felt_on_axes(own, kind, crowd, series, appeal.time_ms)
        return Felt(stocks, own.appeals + 1, kind.appeals + 1)

    def forgotten(self) -> dict[str, int]:
        """Return how many stocks were forgotten, by axis."""
        return {name: axis.forgotten for name, axis in self._axes.items()}

    def _settle(self) -> None:
        for appeal in self._unfelt:
            appealer, kind, audience = appeal.appealer, appeal.kind, appeal.audience
            add_to_all(
                self._own.touch((appealer, audience)),
                self._kind.touch((appealer, kind, audience)),
                self._crowd.touch((kind,)),
                self._series.touch((appealer, kind)),
                appeal.time_ms,
            )
        self._unfelt.clear()

    def state(self) -> ExposureState:
        """Return all stocks as plain data."""
        axes = {
            name: [_kept(key, stock) for key, stock in axis.items()]
            for name, axis in self._axes.items()
        }
        return ExposureState(**axes, unfelt=list(self._unfelt), forgotten=self.forgotten())


def _kept(key: Key, stock: Stock) -> StockState:
    return StockState(key, stock.time_ms, stock.appeals, stock.values.astype("<f8").tobytes())


def _stock(kept: StockState) -> Stock:
    stock = Stock()
    stock.time_ms, stock.appeals = kept.time_ms, kept.appeals
    stock.values = np.frombuffer(kept.values, dtype="<f8").copy()
    return stock
