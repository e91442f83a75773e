"""An appeal while it draws responses: what it met when it was put, and what has come since."""

from __future__ import annotations

from functools import cached_property
from math import log

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.design import AXES, moderators, unit_of
from models.design import Appeal as Seen
from models.evidence import HALF_LIFE_NODES
from models.forecast import Features
from models.stock import HALF_LIVES_DAYS
from streams.events import Appeal

__all__ = ["DOUBLE", "Ask"]

DOUBLE = np.dtype("<f8")  # little-endian, wherever it is written
DAY_MS = 86_400_000
KIND = AXES.index("kind")
EVIDENCE_NODES: list[int] = HALF_LIFE_NODES.tolist()


class Ask(msgspec.Struct, dict=True):
    """An appeal while it draws responses. `stocks`: own, kind, crowd, as little-endian doubles.

    What the model sees of it follows from the fields, is worked out once, and not written down.
    """

    appeal: Appeal
    stocks: bytes
    repeat: int
    kind_repeat: int
    reciprocity: float
    bins: list[int] = []
    responses: int = 0
    bins_cut: int | None = None
    bins_learned: int = 0
    early: bool = False
    learned: bool = False

    @property
    def key(self) -> str:
        """The name of its series."""
        return f"{self.appeal.appealer}\x1f{self.appeal.kind}"

    @cached_property
    def seen(self) -> Seen:
        """What the retention model sees when all of the responses have had time to come: what it
        would read off the features.
        """
        appeal = self.appeal
        names, values = moderators(appeal.attributes, self.reciprocity)
        return Seen(
            appeal.time_ms / DAY_MS,
            unit_of(appeal.appealer, appeal.audience),
            appeal.appealer,
            appeal.kind,
            log(appeal.reach),
            self._grid().copy(),  # what is read only would have all loops compiled a second time
            names,
            values,
        )

    @property
    def kind_stocks(self) -> tuple[float, float, float]:
        """The stocks of the kind's axis at the half-lives that evidence is weighed by."""
        item = self.seen.stocks.item  # faster than a selection, for so few
        first, second, third = EVIDENCE_NODES
        return item(KIND, first), item(KIND, second), item(KIND, third)

    def seen_at(self, completion: float) -> Seen:
        """Return what it sees when a share `completion` has had time to come."""
        seen = self.seen
        return Seen(*seen[:4], seen.log_exposure + log(completion), *seen[5:])

    def _grid(self) -> NDArray[np.float64]:
        """Return the stocks by axis and half-life, shape (3, half-lives), read only."""
        return np.frombuffer(self.stocks, dtype=DOUBLE).reshape(3, len(HALF_LIVES_DAYS))

    def features(self, completion: float) -> Features:
        """Return what any model sees when a share `completion` of the responses has had time to
        come.
        """
        appeal = self.appeal
        own, kind, crowd = self._grid()  # not those of `seen`: who keeps appeals keeps no arrays
        return Features(
            time_days=appeal.time_ms / DAY_MS,
            appealer=appeal.appealer,
            kind=appeal.kind,
            audience=appeal.audience,
            exposure=appeal.reach * completion,
            own=own,
            kind_stock=kind,
            crowd=crowd,
            repeat=self.repeat,
            reciprocity=self.reciprocity,
            attributes=appeal.attributes,
        )
