"""Responses of many appeals, as they come, counted by appeal: what falls into one slot or bin one
after the other is one *run*, so that who keeps the counts adds a few numbers, not each response.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ages import AgeGrid
from models.kernels import compiled
from models.scan import COUNT, END, GROUP, HASH, MICROS, NONE, START, TIME, Bytes, Whole

__all__ = [
    "APART",
    "COUNTED",
    "UNOPENED",
    "Cuts",
    "Fates",
    "Runs",
    "copied",
    "count_by_appeal",
    "cuts_of",
    "fates_of",
    "newest_before",
]

Fates = NDArray[np.int8]

# In place of the time of an appeal that has not opened.
UNOPENED = -(1 << 62)
# What is to become of a line.
COUNTED, APART = range(2)
MICROS_MAX = (1 << 63) - 1


class Cuts(NamedTuple):
    """An age grid as compiled loops take it."""

    horizon_ms: int
    fine_ms: int
    coarse_from_ms: int
    fine_slots: int
    coarse_ms: int
    bin_of_slot: Whole


class Runs(NamedTuple):
    """Counts by appeal. `slots`: which, and responses, shape (runs, 2); `bins`: which, responses,
    value in millionths or -1, shape (3, runs); `hashes`: of responders that may be among the least;
    `lines`: which were counted. Of appeal k those from `ends[k]` up to `ends[k + 1]`, which have a
    column for each of the four.
    """

    slots: Whole
    bins: Whole
    hashes: Whole
    lines: Whole
    ends: Whole


def cuts_of(grid: AgeGrid, bin_of_slot: list[int]) -> Cuts:
    """Return the grid for compiled loops."""
    return Cuts(
        grid.horizon_ms,
        grid.fine_ms,
        grid.coarse_from_ms,
        grid.fine_slots,
        grid.coarse_ms,
        np.array(bin_of_slot, np.int64),
    )


@compiled
def newest_before(rows: Whole, newest_ms: int) -> Whole:
    """Return, before each line and after the last, the newest time so far."""
    newest = np.empty(rows.shape[0] + 1, np.int64)
    newest[0] = newest_ms
    for i in range(rows.shape[0]):
        newest[i + 1] = max(newest[i], rows[i, TIME])
    return newest


@compiled
def fates_of(
    rows: Whole, newest_ms: Whole, others_ms: int, lateness_ms: int, since_ms: Whole, cuts: Cuts
) -> Fates:
    """Say of each line whether its response is counted, or to be looked at by itself.

    newest_ms : see `newest_before`.
    others_ms : the newest time of the slowest other source.
    since_ms : the time of each appeal, or UNOPENED.
    """
    fates = np.full(rows.shape[0], APART, np.int8)
    for i in range(rows.shape[0]):
        time_ms, group = rows[i, TIME], rows[i, GROUP]
        if group == NONE or time_ms + lateness_ms < min(newest_ms[i], others_ms):
            continue
        if since_ms[group] != UNOPENED and 0 <= time_ms - since_ms[group] < cuts.horizon_ms:
            fates[i] = COUNTED
    return fates


@compiled
def count_by_appeal(rows: Whole, fates: Fates, since_ms: Whole, below: Whole, cuts: Cuts) -> Runs:
    """Count the responses that are to be counted.

    below : of each appeal, what a responder's hash must be less than to be of interest.
    """
    order, starts = sorted_by_appeal(rows, fates, since_ms.shape[0])
    slots, bins = np.empty((len(order), 2), np.int64), np.empty((3, len(order)), np.int64)
    hashes, ends = np.empty(len(order), np.int64), np.zeros((len(starts), 4), np.int64)
    n_slots = n_bins = n_hashes = 0
    for group in range(len(starts) - 1):
        slot_before = bin_before = NONE
        for i in order[starts[group] : starts[group + 1]]:
            slot = slot_of(rows[i, TIME] - since_ms[group], cuts)
            index = cuts.bin_of_slot[slot]
            if slot != slot_before:
                slots[n_slots, 0], slots[n_slots, 1] = slot, 0
                n_slots += 1
            if index != bin_before:
                bins[0, n_bins], bins[1, n_bins], bins[2, n_bins] = index, 0, NONE
                n_bins += 1
            slot_before, bin_before = slot, index
            slots[n_slots - 1, 1] += rows[i, COUNT]
            bins[1, n_bins - 1] += rows[i, COUNT]
            bins[2, n_bins - 1] = with_value(bins[2, n_bins - 1], rows[i, MICROS])
            if rows[i, HASH] != NONE and rows[i, HASH] < below[group]:
                hashes[n_hashes] = rows[i, HASH]
                n_hashes += 1
        ends[group + 1] = n_slots, n_bins, n_hashes, starts[group + 1]
    return Runs(slots[:n_slots], bins[:, :n_bins], hashes[:n_hashes], order, ends)


@compiled
def sorted_by_appeal(rows: Whole, fates: Fates, groups: int) -> tuple[Whole, Whole]:
    """Return which lines are counted, by appeal and then as they come, and where each begins."""
    starts = np.zeros(groups + 1, np.int64)
    for i in range(rows.shape[0]):
        if fates[i] == COUNTED:
            starts[rows[i, GROUP] + 1] += 1
    for group in range(groups):
        starts[group + 1] += starts[group]
    order, at = np.empty(starts[groups], np.int64), starts.copy()
    for i in range(rows.shape[0]):
        if fates[i] == COUNTED:
            order[at[rows[i, GROUP]]] = i
            at[rows[i, GROUP]] += 1
    return order, starts


@compiled
def copied(text: Bytes, rows: Whole, lines: Whole) -> Bytes:
    """Return some of the lines, each with its end, one after the other."""
    size = 0
    for i in lines:
        size += rows[i, END] + 1 - rows[i, START]
    copy, at = np.empty(size, np.uint8), 0
    for i in lines:
        start, end = rows[i, START], rows[i, END] + 1
        copy[at : at + end - start] = text[start:end]
        at += end - start
    return copy


@compiled
def slot_of(age_ms: int, cuts: Cuts) -> int:
    """See models.ages.AgeGrid.slot."""
    if age_ms < cuts.coarse_from_ms:
        return age_ms // cuts.fine_ms
    return cuts.fine_slots + (age_ms - cuts.coarse_from_ms) // cuts.coarse_ms


@compiled
def with_value(before: int, micros: int) -> int:
    """Add to a value, up to what 64 bits hold."""
    if micros == NONE:
        return before
    before = max(before, 0)
    return before + micros if before <= MICROS_MAX - micros else MICROS_MAX
