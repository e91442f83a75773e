"""Where a unit's records wait, and the check that none is missed on the way from Kafka."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum

from streams.kafka_collecting import CollectorUnit
from streams.kafka_learning import LearnerUnit
from streams.kafka_wire import Record

__all__ = ["Arrival", "Station"]

# What may wait for a unit: some seconds of work, in single events or in arrays.
WAITING_MAX = 5_000
WAITING_BYTES_MAX = 32_000_000
# What is applied at a time, during which nothing else happens: 0.1 s or so.
PASS_MAX = 500
PASS_BYTES_MAX = 2_000_000


class Arrival(Enum):
    """What becomes of a record that arrives."""

    TAKEN = "taken"
    KNOWN = "known"
    GAP = "gap"


class Station:
    """A unit, what waits for it, and which offset must come next.

    A consumer that is moved about in rebalances may leave records out. So a gap in the offsets is
    not believed at once: the log is read again from where it began, and only if the same record
    comes first once more was there nothing in between (compaction, transaction markers).

    Parameters
    ----------
    unit
        A collector or a learner.
    slot
        Where its snapshots are kept.
    """

    def __init__(self, unit: CollectorUnit | LearnerUnit, slot: int) -> None:
        self.unit = unit
        self.slot = slot
        self.lock = asyncio.Lock()
        self.changed = False
        self.told_all_s = 0.0
        self.saved_s = 0.0
        self.saving_cost_s = 0.0
        self.written: dict[str, int] = {}
        self._waiting: deque[Record] = deque()
        self._waiting_bytes = 0
        self._next: dict[str, int] = {}
        self._gaps: dict[str, int] = {}

    def rewind(self, starts: dict[str, int]) -> None:
        """Forget what waits, and expect what has not been applied, but nothing before `starts`
        (the beginning of each topic's log).
        """
        self._waiting.clear()
        self._waiting_bytes = 0
        self._gaps.clear()
        self._next = {topic: max(self._applied(topic), start) for topic, start in starts.items()}

    def _applied(self, topic: str) -> int:
        if isinstance(self.unit, CollectorUnit):
            return self.unit.next_offset(topic)
        return self.unit.offset

    def next_offset(self, topic: str) -> int:
        """Return the offset that must come next."""
        return self._next[topic]

    def arrive(self, record: Record) -> Arrival:
        """Put a record with those that wait, if it is the next."""
        expected = self._next[record.topic]
        if record.offset < expected:
            return Arrival.KNOWN
        if record.offset > expected and self._gaps.get(record.topic) != record.offset:
            # A later one, while the log is being read again, is neither believed nor asked for.
            first = record.topic not in self._gaps
            self._gaps.setdefault(record.topic, record.offset)
            return Arrival.GAP if first else Arrival.KNOWN
        self._gaps.pop(record.topic, None)
        self._next[record.topic] = record.offset + 1
        self._waiting.append(record)
        self._waiting_bytes += len(record.value)
        return Arrival.TAKEN

    def waiting(self) -> int:
        """Return how many records wait."""
        return len(self._waiting)

    def has_room(self) -> bool:
        """Say whether more may wait."""
        return len(self._waiting) < WAITING_MAX and self._waiting_bytes < WAITING_BYTES_MAX

    def take(self) -> list[Record]:
        """Return the records that waited longest, as many as are worth a pass."""
        taken: list[Record] = []
        size = 0
        while self._waiting and len(taken) < PASS_MAX and size < PASS_BYTES_MAX:
            record = self._waiting.popleft()
            size += len(record.value)
            taken.append(record)
        self._waiting_bytes -= size
        return taken
