"""Responses of many appeals, as they come, counted by appeal: what falls into one slot or bin one
after the other is one *run*, so that who keeps the counts adds a few numbers, not each response.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ages import NEVER_MS, AgeGrid
from models.hashed_sums import Hashes
from models.kernels import compiled
from models.scan import COUNT, END, GROUP, HASH, NONE, START, TIME, VALUE, Bytes, Whole

__all__ = [
    "Mask",
    "PlainGrid",
    "Runs",
    "are_counted",
    "copied",
    "count_by_appeal",
    "newest_before",
    "plain_grid",
]

Mask = NDArray[np.bool_]


class PlainGrid(NamedTuple):
    """An age grid as compiled loops take it."""

    horizon_ms: int
    fine_ms: int
    coarse_from_ms: int
    fine_slots: int
    coarse_ms: int
    bin_of_slot: Whole


class Runs(NamedTuple):
    """Counts by appeal. `slots`, `bins`: which, and responses, shape (runs, 2); `values`: in
    millionths, shape (appeals,); `hashes`: of responders that may be among the least, 32 bits each;
    `lines`: which were counted. Of appeal k those from `ends[k]` up to `ends[k + 1]`, which have a
    column for slots, bins, hashes and lines each.
    """

    slots: Whole
    bins: Whole
    values: Whole
    hashes: Hashes
    lines: Whole
    ends: Whole


def plain_grid(grid: AgeGrid) -> PlainGrid:
    """Return the grid for compiled loops."""
    return PlainGrid(
        grid.horizon_ms,
        grid.fine_ms,
        grid.coarse_from_ms,
        grid.fine_slots,
        grid.coarse_ms,
        np.array(grid.bins_by_slot(), np.int64),
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
def are_counted(
    rows: Whole,
    newest_ms: Whole,
    others_ms: int,
    lateness_ms: int,
    since_ms: Whole,
    grid: PlainGrid,
) -> Mask:
    """Say of each line whether it holds a response that need only be counted: plain, not late, and
    within the time of an appeal that is open.

    newest_ms : see `newest_before`.
    others_ms : the newest time of the slowest other source.
    since_ms : the time of each appeal, or NEVER_MS if it is not open.
    """
    counted = np.zeros(rows.shape[0], np.bool_)
    for i in range(rows.shape[0]):
        time_ms, group = rows[i, TIME], rows[i, GROUP]
        if group == NONE or since_ms[group] == NEVER_MS:
            continue
        late = time_ms + lateness_ms < min(newest_ms[i], others_ms)
        counted[i] = not late and 0 <= time_ms - since_ms[group] < grid.horizon_ms
    return counted


@compiled
def count_by_appeal(
    rows: Whole, counted: Mask, since_ms: Whole, below: Whole, grid: PlainGrid
) -> Runs:
    """Count the responses that are to be counted.

    below : of each appeal, what a responder's hash must be less than to be of interest.
    """
    order, starts = sorted_by_appeal(rows, counted, since_ms.shape[0])
    slots, bins = np.empty((len(order), 2), np.int64), np.empty((len(order), 2), np.int64)
    hashes, ends = np.empty(len(order), np.uint32), np.zeros((len(starts), 4), np.int64)
    values = np.zeros(len(starts) - 1, np.int64)  # those of a block are far from 63 bits
    n_slots = n_bins = n_hashes = 0
    for group in range(len(starts) - 1):
        slot_before = bin_before = NONE
        for i in order[starts[group] : starts[group + 1]]:
            slot = slot_of(rows[i, TIME] - since_ms[group], grid)
            index = grid.bin_of_slot[slot]
            if slot != slot_before:
                slots[n_slots, 0], slots[n_slots, 1] = slot, 0
                n_slots += 1
            if index != bin_before:
                bins[n_bins, 0], bins[n_bins, 1] = index, 0
                n_bins += 1
            slot_before, bin_before = slot, index
            slots[n_slots - 1, 1] += rows[i, COUNT]
            bins[n_bins - 1, 1] += rows[i, COUNT]
            values[group] += max(rows[i, VALUE], 0)
            if rows[i, HASH] != NONE and rows[i, HASH] < below[group]:
                hashes[n_hashes] = rows[i, HASH]
                n_hashes += 1
        ends[group + 1] = n_slots, n_bins, n_hashes, starts[group + 1]
    return Runs(slots[:n_slots], bins[:n_bins], values, hashes[:n_hashes], order, ends)


@compiled
def sorted_by_appeal(rows: Whole, counted: Mask, groups: int) -> tuple[Whole, Whole]:
    """Return which lines are counted, by appeal and then as they come, and where each begins."""
    starts = np.zeros(groups + 1, np.int64)
    for i in range(rows.shape[0]):
        if counted[i]:
            starts[rows[i, GROUP] + 1] += 1
    for group in range(groups):
        starts[group + 1] += starts[group]
    order, at = np.empty(starts[groups], np.int64), starts.copy()
    for i in range(rows.shape[0]):
        if counted[i]:
            order[at[rows[i, GROUP]]] = i
            at[rows[i, GROUP]] += 1
    return order, starts


@compiled
def copied(text: Bytes, rows: Whole, lines: Whole, parts: Whole) -> tuple[Bytes, Whole]:
    """Copy lines, each with its end, one after the other.

    lines : numbers of lines. parts : shape (parts, 2), from where in them to where.

    Returns
    -------
    The copy, and where in it each part ends.
    """
    size, ends = 0, np.empty(parts.shape[0], np.int64)
    for part in range(parts.shape[0]):
        for i in lines[parts[part, 0] : parts[part, 1]]:
            size += rows[i, END] + 1 - rows[i, START]
        ends[part] = size
    copy, at = np.empty(size, np.uint8), 0
    for part in range(parts.shape[0]):
        for i in lines[parts[part, 0] : parts[part, 1]]:
            start, end = rows[i, START], rows[i, END] + 1
            copy[at : at + end - start] = text[start:end]
            at += end - start
    return copy, ends


@compiled
def slot_of(age_ms: int, grid: PlainGrid) -> int:
    """See models.ages.AgeGrid.slot."""
    if age_ms < grid.coarse_from_ms:
        return age_ms // grid.fine_ms
    return grid.fine_slots + (age_ms - grid.coarse_from_ms) // grid.coarse_ms
