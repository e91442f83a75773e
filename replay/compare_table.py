"""The appeals a replay learned from, as a table: what was known of each, what came, and how well
each model had foretold it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.forecast import Features
from models.stock import HALF_LIVES_DAYS
from streams.ask import Ask
from streams.community import Community
from streams.contest import Scores

__all__ = ["LearnedTable", "Listener"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_MS = 86_400_000
# Fewer groups than this are too few to say how figures would vary with other ones.
CLUSTERS_MIN = 20
# The stocks are read at one half-life, the middle of what is plausible (STATISTICS, section 7.2).
STOCK_HALF_LIFE_DAYS = 16.0
_STOCK_INDEX = int(np.abs(np.asarray(HALF_LIVES_DAYS) - STOCK_HALF_LIFE_DAYS).argmin())


class LearnedTable(NamedTuple):
    """Columns, shape (appeals,), in the order of learning; `names` say what codes stand for.

    exposure : people reached, times the share of their responses that had time to come.
    repeat, kind_repeat : on the own axis, and of the kind to the audience; 1 for the first.
    stocks : shape (appeals, 3), own, kind and crowd, in appeals. attributes : shape (appeals, n).
    cluster : whose appeals vary together; see `clustered_by`. unit : appealer and audience.
    log_scores : by model, the log of the probability it gave to the responses beforehand.
    """

    time_days: Floats
    exposure: Floats
    responses: Floats
    repeat: Ints
    kind_repeat: Ints
    kind: Ints
    appealer: Ints
    unit: Ints
    cluster: Ints
    stocks: Floats
    attributes: Floats
    attribute_names: list[str]
    clustered_by: str
    log_scores: dict[str, Floats]

    @property
    def appeals(self) -> int:
        """How many."""
        return len(self.time_days)


class Listener:
    """Hears of every appeal right before it is learned from (`Learner.before_learning`).

    Attributes
    ----------
    asks
        Community, appeal and the share of its responses that had time to come, in the order of
        learning. An appeal takes about 1 kB.
    """

    def __init__(self) -> None:
        self.asks: list[tuple[Community, Ask, float]] = []
        self._totals: dict[str, float] = {}
        self._scores: dict[str, Scores] = {}

    def __call__(self, community: Community, ask: Ask, x: Features) -> None:
        """Note an appeal; the scores of the community's last one are known by now."""
        self._settle(community)
        lean = msgspec.structs.replace(ask, bins=[])
        self.asks.append((community, lean, x["exposure"] / ask.appeal.reach))

    def table(self) -> LearnedTable:
        """Return what was heard as columns; to be asked when the replay has ended."""
        for community in {id(community): community for community, _, _ in self.asks}.values():
            self._settle(community)
        appeals = [ask.appeal for _, ask, _ in self.asks]
        communities = [community.name for community, _, _ in self.asks]
        names = sorted({name for appeal in appeals for name in appeal.attributes})
        who = _codes(list(zip(communities, (a.appealer for a in appeals), strict=True)))
        unit = _codes([(w, a.audience) for w, a in zip(who.tolist(), appeals, strict=True)])
        time_days = np.array([appeal.time_ms / DAY_MS for appeal in appeals])
        cluster, clustered_by = _clusters(who, unit, time_days)
        return LearnedTable(
            time_days=time_days,
            exposure=np.array([ask.appeal.reach * share for _, ask, share in self.asks]),
            responses=np.array([float(ask.responses) for _, ask, _ in self.asks]),
            repeat=np.array([ask.repeat for _, ask, _ in self.asks], dtype=np.int64),
            kind_repeat=np.array([ask.kind_repeat for _, ask, _ in self.asks], dtype=np.int64),
            kind=_codes([appeal.kind for appeal in appeals]),
            appealer=who,
            unit=unit,
            cluster=cluster,
            stocks=np.array([_stocks(ask) for _, ask, _ in self.asks]).reshape(-1, 3),
            attributes=np.array(
                [[appeal.attributes.get(name, 0.0) for name in names] for appeal in appeals]
            ).reshape(len(appeals), len(names)),
            attribute_names=names,
            clustered_by=clustered_by,
            log_scores=self._columns(),
        )

    def note_scores(self, community: str, scores: Scores) -> None:
        """Note what models scored on the next appeals of a community."""
        noted = self._scores.setdefault(community, {})
        for name, some in scores.items():
            noted.setdefault(name, []).extend(some)

    def _settle(self, community: Community) -> None:
        """Note what the last appeal added to the model's own log score."""
        total = community.fit.log_score()
        if community.name in self._totals:
            added = total - self._totals[community.name]
            self.note_scores(community.name, {"askagain": [added]})
        self._totals[community.name] = total

    def _columns(self) -> dict[str, Floats]:
        columns: dict[str, Floats] = {}
        for community, scores in self._scores.items():
            rows = [row for row, (one, _, _) in enumerate(self.asks) if one.name == community]
            for name in ("askagain", *(other for other in scores if other != "askagain")):
                column = columns.setdefault(name, np.empty(len(self.asks)))
                column[rows] = scores[name]
        return columns


def _stocks(ask: Ask) -> list[float]:
    x = ask.features(1.0)
    return [float(axis[_STOCK_INDEX]) for axis in (x["own"], x["kind_stock"], x["crowd"])]


def _codes(names: list[str] | list[tuple[str, str]] | list[tuple[int, str]]) -> Ints:
    """Number names in the order of their first appearance."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _clusters(appealer: Ints, unit: Ints, time_days: Floats) -> tuple[Ints, str]:
    """Return the widest grouping of which there are enough groups."""
    weeks = (time_days // 7.0).astype(np.int64)
    choices = ((appealer, "appealer"), (unit, "appealer and audience"), (weeks, "week"))
    for codes, name in choices:
        if len(np.unique(codes)) >= CLUSTERS_MIN:
            return codes, name
    return np.arange(len(unit)), "appeal"
