"""What there is to see in a community, as rows of numbers under the names of metrics/catalog.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from itertools import islice
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from metrics.exporter import series_id
from models.forecast import Features
from streams.community import Community
from streams.events import Verdict
from streams.ledger import Ledger

__all__ = [
    "Outlook",
    "Rows",
    "Sums",
    "current_verdicts",
    "learned_rows",
    "put",
    "series_rows",
    "stream_totals",
    "under_way",
]

Labels = tuple[str, ...]
Rows = dict[str, dict[Labels, float]]

DAY_MS = 86_400_000
DAY_S = 86_400.0
# A share costs 10 us: of more appeals than this, the latest speak for all.
UNDER_WAY_MAX = 5_000
# Below so many responses expected by now, a ratio would be noise.
EXPECTED_MIN = 5.0
# A series that nobody has gone on with for a quarter is of the past, unless it was told to rest.
CURRENT_MS = 91 * DAY_MS
DOWN = ("tiring", "worn_out")
# How models.verdict begins the reason of what wore a series out.
REASON_AXES = {
    "own repetition": "own",
    "the kind's repetition": "kind",
    "the kind's overuse by others": "crowd",
}


class Outlook(msgspec.Struct):
    """What was said of an appeal before any of its responses; `low`: what is in denies it."""

    expected: float
    expected_low: float
    as_new: float
    low: bool = False
    series: str | None = None


class Sums(msgspec.Struct):
    """Over a series' closed appeals: responses, those expected, those of nobody tired."""

    responses: float = 0.0
    expected: float = 0.0
    as_new: float = 0.0


def stream_totals(community: Community, ledger: Ledger) -> dict[tuple[str, str], float]:
    """Return totals since the beginning by (counter, kind): closed appeals and those under way."""
    totals: dict[tuple[str, str], float] = {}

    def count(name: str, kind: str, number: float) -> None:
        totals[name, kind] = totals.get((name, kind), 0.0) + number

    for kind, cells in community.tally.kinds.items():
        for cell in cells:
            count("askagain_appeals_total", kind, cell.appeals)
            count("askagain_responses_total", kind, cell.responses)
            count("askagain_exits_total", kind, cell.exits)
            count("askagain_response_value_total", kind, cell.value_micros / 1e6)
    for ask in ledger.asks.values():
        count("askagain_appeals_total", ask.appeal.kind, 1)
        count("askagain_responses_total", ask.appeal.kind, ask.responses)
    return totals


def under_way(rows: Rows, ledger: Ledger, outlooks: Mapping[str, Outlook]) -> None:
    """Add rows on the appeals that still draw responses, by kind."""
    seen: dict[str, float] = {}
    expected: dict[str, float] = {}
    for ask in islice(reversed(ledger.asks.values()), UNDER_WAY_MAX):
        outlook = outlooks.get(ask.appeal.appeal_id)
        bins = len(ask.bins) if ask.bins_cut is None else min(len(ask.bins), ask.bins_cut)
        if outlook is not None and bins:
            kind = ask.appeal.kind
            share = ledger.completion.share(kind, ask.appeal.time_ms, bins)
            seen[kind] = seen.get(kind, 0.0) + ask.responses
            expected[kind] = expected.get(kind, 0.0) + outlook.expected * share
    for kind, number in expected.items():
        if number >= EXPECTED_MIN:
            put(rows, "under_way_response_ratio", seen[kind] / number, ledger.name, kind)
    for ask in ledger.asks.values():
        outlook = outlooks.get(ask.appeal.appeal_id)
        labels = (ledger.name, ask.appeal.kind)
        _count(rows, "under_way_appeals", 1, *labels)
        _count(rows, "under_way_low_appeals", outlook is not None and outlook.low, *labels)


def learned_rows(
    rows: Rows, community: Community, ledger: Ledger, now_ms: int, kinds: Iterable[str]
) -> None:
    """Add rows on what was learned by event time `now_ms`; retention of some `kinds` only."""
    name = community.name
    summary = community.model.summary()
    for wear_out in summary["wear_out"]:
        if wear_out["kind"] in kinds:
            for at in wear_out["retention_by_repeat"]:
                labels = (name, wear_out["kind"], wear_out["axis"], str(at["repeat"]))
                _put_interval(rows, "kind_retention", "ratio", at, 1.0, *labels)
    for axis, interval in summary["half_life_days"].items():
        _put_interval(rows, "axis_half_life", "seconds", interval, DAY_S, name, axis)
    for kind, cells in community.tally.kinds.items():
        if cells and cells[0].reach:
            put(rows, "first_response_ratio", cells[0].responses / cells[0].reach, name, kind)
    estimate, low, high = community.model.level_now(now_ms / DAY_MS)
    level = {"estimate": estimate, "low": low, "high": high}
    _put_interval(rows, "level", "ratio", level, 1.0, name)
    for kind in ledger.surge.kinds:
        if (ratio := ledger.surge.ratio(kind)) is not None:
            surge = dict(zip(("estimate", "low", "high"), ratio, strict=True))
            _put_interval(rows, "surge", "ratio", surge, 1.0, name, kind)
    _crowd_rows(rows, community, ledger)
    curve = ledger.completion.curve(None)
    for bins in ledger.grid.checkpoints:
        age_ms, share = curve[bins - 1][:2]
        put(rows, "completion_ratio", share, name, f"{age_ms / 1000:g}")


def _crowd_rows(rows: Rows, community: Community, ledger: Ledger) -> None:
    """Add what a first appeal of a kind gets where others made the latest: by the crowd alone."""
    latest = {ask.appeal.kind: ask for ask in ledger.asks.values()}
    for kind, ask in latest.items():
        x = ask.features(1.0)
        nothing = np.zeros_like(x["own"])
        alone = Features(**{**x, "own": nothing, "kind_stock": nothing, "repeat": 1})
        forecast = community.model.forecast_one(alone)
        interval = {"estimate": forecast.retention, "low": forecast.low, "high": forecast.high}
        _put_interval(rows, "crowd_retention", "ratio", interval, 1.0, community.name, kind)


def current_verdicts(community: Community, now_ms: int) -> list[Verdict]:
    """Return the verdicts on series that somebody goes on with, or has been told to let rest."""
    current = []
    for verdict in community.series.verdicts():
        series = community.series.find(verdict.appealer, verdict.kind)
        asked_ms = series.times_ms[-1] if series is not None and series.times_ms else 0
        if now_ms < max(asked_ms + CURRENT_MS, verdict.ask_again_at_ms or 0):
            current.append(verdict)
    return current


def series_rows(
    rows: Rows,
    verdicts: list[Verdict],
    sums: Callable[[str], Sums | None],
    now_ms: int,
    series_max: int,
) -> None:
    """Add rows on all series together, and on the `series_max` that matter most."""
    shown = nsmallest(series_max, verdicts, key=_urgency)
    for verdict in shown:
        _series_row(rows, verdict, sums, now_ms)
    for verdict in verdicts:
        kind = (verdict.community, verdict.kind)
        _count(rows, "series", 1, *kind, verdict.state, verdict.basis)
        axis = REASON_AXES.get(verdict.reason.partition(":")[0])
        if axis is not None and verdict.state in DOWN:
            _count(rows, "worn_series", 1, *kind, axis)
        _count(rows, "series_unlabelled", 1, verdict.community)
    for verdict in shown:
        _count(rows, "series_unlabelled", -1, verdict.community)


def _urgency(verdict: Verdict) -> tuple[bool, bool, float, str, str, str]:
    """Order series: worn ones that are confirmed, then expected, then the rest; the worst first."""
    down = verdict.state in DOWN
    names = (verdict.community, verdict.appealer, verdict.kind)
    return not down, verdict.basis != "confirmed", verdict.retention, *names


def _series_row(
    rows: Rows, verdict: Verdict, sums: Callable[[str], Sums | None], now_ms: int
) -> None:
    series = series_id(verdict.community, verdict.appealer, verdict.kind)
    labels = (series, verdict.community, verdict.appealer, verdict.kind)
    interval = {"estimate": verdict.retention, "low": verdict.low, "high": verdict.high}
    _put_interval(rows, "series_retention", "ratio", interval, 1.0, *labels)
    put(rows, "series_evidence", verdict.e_value, *labels)
    put(rows, "series_repeat", verdict.repeat, *labels)
    if verdict.ask_again_at_ms is not None:
        wait_s = max(0, verdict.ask_again_at_ms - now_ms) / 1000.0
        put(rows, "series_wait_seconds", wait_s, *labels)
    came = sums(series) or Sums()
    put(rows, "series_responses_total", came.responses, *labels)
    put(rows, "series_expected_responses_total", came.expected, *labels)
    put(rows, "series_as_new_responses_total", came.as_new, *labels)
    words = (verdict.state, verdict.basis, verdict.action, verdict.reason)
    put(rows, "series_info", 1.0, *labels, *words)


def put(rows: Rows, name: str, value: float, *labels: str) -> None:
    """Set a row; `name` without the prefix. What is not finite (nothing known) is not shown."""
    if isfinite(value):
        rows.setdefault("askagain_" + name, {})[labels] = value


def _count(rows: Rows, name: str, number: float, *labels: str) -> None:
    row = rows.setdefault("askagain_" + name, {})
    row[labels] = row.get(labels, 0.0) + number


def _put_interval(
    rows: Rows, name: str, unit: str, interval: Mapping[str, Any], factor: float, *labels: str
) -> None:
    put(rows, f"{name}_{unit}", interval["estimate"] * factor, *labels)
    put(rows, f"{name}_low_{unit}", interval["low"] * factor, *labels)
    put(rows, f"{name}_high_{unit}", interval["high"] * factor, *labels)
