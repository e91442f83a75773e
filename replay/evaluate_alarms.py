"""How alarms fare against the truth: false alarms, power, delay, discoveries.

A series' alarm is the first verdict `tiring` or `worn_out`, or the first cry of a baseline. Its
number is that of the latest appeal of the series put before it was said; for a baseline, that of
the appeal whose final count made it cry, though that was known only later: a gift to the baselines.

A series is **fresh** if its true retention never was at or below 0.85, which is what an alarm
claims; it is **as new** if it never was below 0.98. Its **onset** is the first appeal with a true
retention of 0.7 or less. What lies between is neither counted as false nor as missed.

An alarm is a false discovery if, up to the appeal after it, true retention never was at or below
0.85: too early is false too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replay.alarms import Rule
from replay.evaluate_figures import Figure, median, share
from replay.evaluate_heard import Key, Ledger
from replay.evaluate_truth import Truth
from streams.events import Verdict

__all__ = ["Case", "baseline_alarms", "build_cases", "score_alarms", "verdict_alarms"]

ALARM_STATES = ("tiring", "worn_out")
FRESH_ABOVE = 0.85
AS_NEW_FROM = 0.98
ONSET_RETENTION = 0.7
WITHIN = (0, 2, 5, 10)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Alarms = dict[Key, int | None]


class Case(NamedTuple):
    """One series and what is true of it. `least`, shape (appeals,): the least retention so far."""

    time_ms: Ints
    responses: Floats
    reach: Floats
    least: Floats
    onset: int | None

    @property
    def appeals(self) -> int:
        """How many appeals."""
        return len(self.time_ms)


def build_cases(ledger: Ledger, retention: Floats, truth: Truth) -> dict[Key, Case]:
    """Return every series with its truth; `least` is NaN where retention was not told."""
    order = np.argsort(ledger.series, kind="stable")
    starts = np.searchsorted(ledger.series[order], np.arange(1, len(ledger.keys)))
    told = _told_onsets(ledger, truth)
    cases = {}
    for key, rows in zip(ledger.keys, np.split(order, starts), strict=True):
        least = np.minimum.accumulate(retention[rows])
        onset = _first(least <= ONSET_RETENTION) if told is None else told.get(key[1:])
        cases[key] = Case(
            ledger.time_ms[rows], ledger.responses[rows], ledger.reach[rows], least, onset
        )
    return cases


def _told_onsets(ledger: Ledger, truth: Truth) -> dict[tuple[str, str], int] | None:
    """Return the onsets the truth names, by appealer and kind, as numbers within the series."""
    if truth.series is None:
        return None
    rows = {appeal_id: row for row, appeal_id in enumerate(ledger.appeal_ids)}
    times: dict[tuple[str, str], list[int]] = {}
    for index, time_ms in zip(ledger.series.tolist(), ledger.time_ms.tolist(), strict=True):
        times.setdefault(ledger.keys[index][1:], []).append(time_ms)
    onsets = {}
    for series in truth.series:
        key = (series.appealer, series.kind)
        row = rows.get(str(series.onset_appeal_id))
        if row is not None:
            onsets[key] = int(ledger.number[row])
        elif series.onset_time is not None:
            onset_ms = round(series.onset_time.timestamp() * 1000)
            onsets[key] = int(np.searchsorted(times.get(key, []), onset_ms)) + 1
    return onsets


def verdict_alarms(
    verdicts: list[tuple[int, Verdict]], cases: Mapping[Key, Case], bases: tuple[str, ...]
) -> Alarms:
    """Return the number at which each series was first said to be tiring or worn out."""
    alarms: Alarms = {}
    for said_ms, verdict in verdicts:
        key = (verdict.community, verdict.appealer, verdict.kind)
        alarming = verdict.state in ALARM_STATES and verdict.basis in bases
        if alarming and key in cases and key not in alarms:
            put = np.searchsorted(cases[key].time_ms, said_ms, side="right")
            alarms[key] = max(1, int(put))
    return alarms


def baseline_alarms(rule: Rule, cases: Mapping[Key, Case]) -> Alarms:
    """Return the number at which a rule first cries over each series' final counts."""
    alarms: Alarms = {}
    for key, case in cases.items():
        closed = np.isfinite(case.responses)
        at = rule(case.responses[closed], case.reach[closed]) if closed.any() else None
        alarms[key] = None if at is None else int(np.flatnonzero(closed)[at - 1]) + 1
    return alarms


def score_alarms(alarms: Alarms, cases: Mapping[Key, Case]) -> dict[str, Figure]:
    """Return what a detector's alarms are worth; see the module."""
    figures = _false_alarms(alarms, cases)
    for within in WITHIN:
        figures[f"power_{within}"] = _power(alarms, cases, within)
    figures["delay"] = _delay(alarms, cases)
    figures["false_discoveries"] = _false_discoveries(alarms, cases)
    figures["too_early"] = _too_early(alarms, cases)
    return figures


def _false_alarms(alarms: Alarms, cases: Mapping[Key, Case]) -> dict[str, Figure]:
    """Return the share of series with two appeals or more that were alarmed with nothing to say."""
    bounds = {"fresh": FRESH_ABOVE, "as_new": AS_NEW_FROM}
    figures = {}
    for name, bound in bounds.items():
        series = [
            key for key, case in cases.items() if case.appeals >= 2 and case.least[-1] > bound
        ]
        figures[f"false_alarms_{name}"] = share(_cried(alarms, series), len(series))
    return figures


def _cried(alarms: Alarms, series: list[Key]) -> int:
    return sum(alarms.get(key) is not None for key in series)


def _power(alarms: Alarms, cases: Mapping[Key, Case], within: int) -> Figure:
    """Return the share alarmed, of series that had an onset and so many appeals after it."""
    hits = observed = 0
    for key, case in cases.items():
        if case.onset is None or case.appeals < case.onset + within:
            continue
        observed += 1
        number = alarms.get(key)
        hits += number is not None and number <= case.onset + within
    return share(hits, observed)


def _delay(alarms: Alarms, cases: Mapping[Key, Case]) -> Figure:
    """Return the median number of appeals from onset to alarm, of those alarmed; < 0: before."""
    delays = [
        float(number - onset)
        for key, number in alarms.items()
        if number is not None and (onset := cases[key].onset) is not None
    ]
    return median(np.array(delays))


def _false_discoveries(alarms: Alarms, cases: Mapping[Key, Case]) -> Figure:
    cried = [(cases[key], number) for key, number in alarms.items() if number is not None]
    known = [(case, number) for case, number in cried if np.isfinite(case.least[-1])]
    return share(sum(_is_false(case, number) for case, number in known), len(known))


def _too_early(alarms: Alarms, cases: Mapping[Key, Case]) -> Figure:
    """Return the share of series with an onset that were alarmed while nothing was to be seen."""
    tired = [
        (case, alarms.get(key))
        for key, case in cases.items()
        if case.onset is not None and np.isfinite(case.least[-1])
    ]
    early = sum(number is not None and _is_false(case, number) for case, number in tired)
    return share(early, len(tired))


def _is_false(case: Case, number: int) -> bool:
    next_one = min(number, case.appeals - 1)  # an alarm speaks of asking again
    return float(case.least[next_one]) > FRESH_ABOVE


def _first(flags: NDArray[np.bool_]) -> int | None:
    found = np.flatnonzero(flags)
    return int(found[0]) + 1 if found.size else None
