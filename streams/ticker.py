"""The only reader of the wall clock. What it reads enters the log as a Tick, and a replay finds it
there.

A partition in which events are written needs no ticks: they say what time it is. One that has been
silent for a while gets the wall clock's time, so that it does not hold up what crosses partitions.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

__all__ = ["Ticker", "now_ms"]


def now_ms() -> int:
    """Return the wall clock's time."""
    return time.time_ns() // 1_000_000


class Ticker:
    """Knows which of a worker's logs have been silent for too long.

    Parameters
    ----------
    after_ms
        For how long; 0: none ever is.
    """

    def __init__(self, after_ms: int) -> None:
        self._after_s = after_ms / 1000.0
        self._heard_s: dict[tuple[str, int], float] = {}

    def own(self, logs: Iterable[tuple[str, int]]) -> None:
        """Watch these logs (topic and partition) and no others."""
        now_s = time.monotonic()
        self._heard_s = {log: self._heard_s.get(log, now_s) for log in sorted(logs)}

    def heard(self, topic: str, partition: int) -> None:
        """Say that something came from a log."""
        if (topic, partition) in self._heard_s:
            self._heard_s[topic, partition] = time.monotonic()

    def due(self) -> list[tuple[str, int]]:
        """Return the logs that want a tick, each once in a while."""
        if not self._after_s:
            return []
        now_s = time.monotonic()
        due = [log for log, heard_s in self._heard_s.items() if now_s - heard_s >= self._after_s]
        for log in due:
            self._heard_s[log] = now_s
        return due
