"""The exposure stocks of a community on all three axes, kept up as appeals are put."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.stock import Stock
from streams.events import Appeal
from streams.recent import Recent

__all__ = ["Exposure", "ExposureState", "Felt"]

Key = tuple[str, ...]


class Felt(NamedTuple):
    """What is felt of earlier appeals when one is put: stocks by half-life, and how many appeals
    there were.
    """

    own: NDArray[np.float64]
    kind: NDArray[np.float64]
    crowd: NDArray[np.float64]
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
        time_ms = appeal.time_ms
        return Felt(
            _NONE if own is None else own.at(time_ms),
            _NONE if kind is None else kind.at(time_ms),
            _others(crowd, series, time_ms),
            1 if own is None else own.appeals + 1,
            1 if kind is None else kind.appeals + 1,
        )

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


_NONE = Stock().values
_NONE.flags.writeable = False


def _keys(appeal: Appeal) -> tuple[tuple[str, Key], ...]:
    return (
        ("own", (appeal.appealer, appeal.audience)),
        ("kind", (appeal.appealer, appeal.kind, appeal.audience)),
        ("series", (appeal.appealer, appeal.kind)),
        ("crowd", (appeal.kind,)),
    )


def _others(crowd: Stock | None, series: Stock | None, time_ms: int) -> NDArray[np.float64]:
    """Everybody's stock of a kind less one's own; clipped, for the difference of equal sums is only
    nearly zero.
    """
    if crowd is None or (series is not None and series.appeals == crowd.appeals):
        return _NONE
    everybody = crowd.at(time_ms)
    return everybody if series is None else np.maximum(everybody - series.at(time_ms), 0.0)


def _kept(key: Key, stock: Stock) -> StockState:
    return StockState(key, stock.time_ms, stock.appeals, stock.values.astype("<f8").tobytes())


def _stock(kept: StockState) -> Stock:
    stock = Stock()
    stock.time_ms, stock.appeals = kept.time_ms, kept.appeals
    stock.values = np.frombuffer(kept.values, dtype="<f8").copy()
    return stock
