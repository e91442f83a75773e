"""What became of every event: they add up, or the program is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from streams.codec import REASONS
from streams.collector import Collector

__all__ = ["Counts", "counts_of", "fates_of"]


class Counts(msgspec.Struct, frozen=True):
    """What collectors have come to: events by fate, those that still wait, open appeals."""

    fates: dict[str, int]
    waiting: int
    opened: int


def counts_of(collectors: Iterable[Collector]) -> Counts:
    """Return what several collectors have come to together."""
    states = [collector.state for collector in collectors]
    total: dict[str, int] = {}
    for state in states:
        for fate, number in state.fates.items():
            total[fate] = total.get(fate, 0) + number
    waiting = sum(state.held_count + state.pending_count for state in states)
    return Counts(total, waiting, sum(len(state.opened) for state in states))


def fates_of(counts: Counts, events: int) -> dict[str, Any]:
    """Return every event's fate, of so many `events`."""
    total = dict(counts.fates)
    counted = {name: total.pop(name, 0) for name in ("appeals", "responses", "exits", "ticks")}
    redelivered = total.pop("redelivered", 0)
    rejects = {reason: total.pop(reason) for reason in REASONS if reason in total}
    assert not total, f"fates nobody knows: {total}"
    assert sum(counted.values()) + redelivered + sum(rejects.values()) + counts.waiting == events
    return {
        "read": events,
        **counted,
        "redelivered": redelivered,
        "waiting": counts.waiting,
        "rejected": sum(rejects.values()),
        "rejected_by_reason": rejects,
    }
