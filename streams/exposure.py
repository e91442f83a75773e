"""The exposure stocks of a community on all three axes, kept up as appeals are put."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.stock import HALF_LIVES_DAYS, Stock
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
        self._axes: dict[str, Recent[Key, Stock]] = {
            "own": Recent(audiences_max, Stock),
            "kind": Recent(audiences_max, Stock),
            "series": Recent(appealers_max, Stock),
            "crowd": Recent(appealers_max, Stock),
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
        own = self._axes["own"].get((appeal.appealer, appeal.audience))
        kind = self._axes["kind"].get((appeal.appealer, appeal.kind, appeal.audience))
        series = self._axes["series"].get((appeal.appealer, appeal.kind))
        crowd = self._axes["crowd"].get((appeal.kind,))
        stocks, time_ms = np.zeros((3, len(HALF_LIVES_DAYS))), appeal.time_ms
        if own is not None:
            stocks[0] = own.at(time_ms)
        if kind is not None:
            stocks[1] = kind.at(time_ms)
        if crowd is not None and (series is None or series.appeals < crowd.appeals):
            stocks[2] = crowd.at(time_ms)
            if series is not None:
                stocks[2] -= series.at(time_ms)
                # The difference of sums that are all but equal is only nearly zero.
                np.maximum(stocks[2], 0.0, out=stocks[2])
        repeat = 1 if own is None else own.appeals + 1
        return Felt(stocks, repeat, 1 if kind is None else kind.appeals + 1)

    def forgotten(self) -> dict[str, int]:
        """Return how many stocks were forgotten, by axis."""
        return {name: axis.forgotten for name, axis in self._axes.items()}

    def _settle(self) -> None:
        for appeal in self._unfelt:
            for name, key in _keys(appeal):
                self._axes[name].touch(key).add(appeal.time_ms)
        self._unfelt.clear()

    def state(self) -> ExposureState:
        """Return all stocks as plain data."""
        axes = {
            name: [_kept(key, stock) for key, stock in axis.items()]
            for name, axis in self._axes.items()
        }
        return ExposureState(**axes, unfelt=list(self._unfelt), forgotten=self.forgotten())


def _keys(appeal: Appeal) -> tuple[tuple[str, Key], ...]:
    return (
        ("own", (appeal.appealer, appeal.audience)),
        ("kind", (appeal.appealer, appeal.kind, appeal.audience)),
        ("series", (appeal.appealer, appeal.kind)),
        ("crowd", (appeal.kind,)),
    )


def _kept(key: Key, stock: Stock) -> StockState:
    return StockState(key, stock.time_ms, stock.appeals, stock.values.astype("<f8").tobytes())


def _stock(kept: StockState) -> Stock:
    stock = Stock()
    stock.time_ms, stock.appeals = kept.time_ms, kept.appeals
    stock.values = np.frombuffer(kept.values, dtype="<f8").copy()
    return stock
