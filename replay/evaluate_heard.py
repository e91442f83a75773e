"""What an evaluation hears of a replay: the appeals that went in and the facts that came out.

The replay is the real one; this listens, and puts what it has heard into columns, a row an appeal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.collector import Block
from streams.events import Appeal, Estimate, Verdict
from streams.learner import Fact

__all__ = ["STAGES", "Heard", "Key", "Ledger", "Said", "build_ledger"]

STAGES = ("prior", "early", "final")

Key = tuple[str, str, str]  # community, appealer, kind: a series
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Said(NamedTuple):
    """Columns of estimates of one stage, NaN where an appeal has none."""

    retention: Floats
    low: Floats
    high: Floats
    expected_low: Floats
    expected_high: Floats


class Ledger(NamedTuple):
    """Appeals by time and id: shape (appeals,), whatever is said of each at each stage.

    repeat : on the own axis; appeals put to one audience at one moment have the same.
    number : within the series, 1 for the first. series : index into `keys`.
    appealer : index, to tell clusters. responses : at the horizon, NaN while there are none.
    """

    appeal_ids: list[str]
    time_ms: Ints
    reach: Floats
    appealer: Ints
    series: Ints
    repeat: Ints
    number: Ints
    responses: Floats
    said: dict[str, Said]
    keys: list[Key]


class Heard:
    """Listens to a replay.

    Attributes
    ----------
    verdicts
        With the time of the newest fact when each was said: a verdict may bear the time of its
        appeal and rest on responses that came later.

    Examples
    --------
    >>> heard = Heard()
    >>> sources = {"events": heard.tap(iter([]))}
    """

    def __init__(self) -> None:
        self.appeals: dict[str, Appeal] = {}
        self.estimates: dict[str, dict[str, Estimate]] = {stage: {} for stage in STAGES}
        self.verdicts: list[tuple[int, Verdict]] = []
        self._newest_ms = -(1 << 62)

    def tap(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Pass blocks on, and note their appeals."""
        for block in (one.plain() for one in blocks):
            for event in block.events:
                if isinstance(event, Appeal):
                    self.appeals.setdefault(event.appeal_id, event)
            yield block

    def hear(self, facts: Iterable[Fact]) -> None:
        """Note facts."""
        for fact in facts:
            self._newest_ms = max(self._newest_ms, fact.time_ms)
            if isinstance(fact, Estimate):
                self.estimates[fact.stage][fact.appeal_id] = fact
            elif isinstance(fact, Verdict):
                self.verdicts.append((self._newest_ms, fact))


def build_ledger(heard: Heard) -> Ledger:
    """Put into columns the appeals of which something was said."""
    opened = [heard.appeals[appeal_id] for appeal_id in heard.estimates["prior"]]
    opened.sort(key=lambda appeal: (appeal.time_ms, appeal.appeal_id))
    keys: dict[Key, int] = {}
    appealers: dict[tuple[str, str], int] = {}
    series = [keys.setdefault((a.community, a.appealer, a.kind), len(keys)) for a in opened]
    who = [appealers.setdefault((a.community, a.appealer), len(appealers)) for a in opened]
    final = heard.estimates["final"]
    nothing = float("nan")
    drawn = [final[a.appeal_id].responses if a.appeal_id in final else nothing for a in opened]
    return Ledger(
        appeal_ids=[appeal.appeal_id for appeal in opened],
        time_ms=np.array([appeal.time_ms for appeal in opened], dtype=np.int64),
        reach=np.array([appeal.reach for appeal in opened], dtype=np.float64),
        appealer=np.array(who, dtype=np.int64),
        series=np.array(series, dtype=np.int64),
        repeat=np.array(_repeats(opened), dtype=np.int64),
        number=np.array(_numbers(series), dtype=np.int64),
        responses=np.array(drawn, dtype=np.float64),
        said={stage: _said(opened, heard.estimates[stage]) for stage in STAGES},
        keys=list(keys),
    )


def _numbers(keys: Iterable[int]) -> list[int]:
    """Return 1 for the first appearance of a key, 2 for the second, ..."""
    seen: dict[int, int] = {}
    numbers = []
    for key in keys:
        seen[key] = seen.get(key, 0) + 1
        numbers.append(seen[key])
    return numbers


def _repeats(appeals: list[Appeal]) -> list[int]:
    """Return 1 + how many strictly earlier appeals the appealer put to the audience."""
    put: dict[tuple[str, str, str], tuple[int, int, int]] = {}  # when last, before then, then
    repeats = []
    for appeal in appeals:
        key = (appeal.community, appeal.appealer, appeal.audience)
        last_ms, before, then = put.get(key, (appeal.time_ms, 0, 0))
        if appeal.time_ms > last_ms:
            before, then = before + then, 0
        put[key] = (appeal.time_ms, before, then + 1)
        repeats.append(before + 1)
    return repeats


def _said(appeals: list[Appeal], estimates: dict[str, Estimate]) -> Said:
    columns = np.full((len(Said._fields), len(appeals)), np.nan)
    for row, appeal in enumerate(appeals):
        estimate = estimates.get(appeal.appeal_id)
        if estimate is not None:
            columns[:, row] = [getattr(estimate, name) for name in Said._fields]
    return Said(*columns)
