"""An appeal that is counted from plain lines: what the compiled loops of models.runs say of many
responses at once is added to it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.hashed_sums import least
from streams.open_appeal import OpenAppeal
from streams.packing import HASH_BYTES, SLOT, SLOT_BYTES, unpacked

__all__ = ["LinesAppeal"]

_RUNS_MAX = 4096 * SLOT_BYTES  # beyond so many numbers, most slots have been met before


class LinesAppeal(OpenAppeal):
    """An appeal that draws responses, most of them in plain lines. It adds no field, so that what
    is kept of it is an appeal like others.
    """

    def count_runs(
        self,
        slots: bytes,
        bins: Iterable[tuple[int, int]],
        value: int,
        hashes: bytes,
        sampled: int,
    ) -> None:
        """Count ordinary responses, as models.runs has them."""
        self.runs += slots
        if len(self.runs) > _RUNS_MAX:
            self._join_runs()
        by_bin = self.bins
        for index, number in bins:
            by_bin[index] += number
        if value:
            self.add_value(value)
        self.responders += hashes
        if len(self.responders) > 2 * HASH_BYTES * sampled:
            self.forget_responders(sampled)

    def _join_runs(self) -> None:
        counts, runs = self.slots, unpacked(self.runs, SLOT)
        for slot, number in zip(runs[::2], runs[1::2], strict=True):
            counts[slot] = counts.get(slot, 0) + number
        self.runs = b""

    def least_responders(self, sampled: int) -> bytearray:
        """Return the `sampled` least hashes, ascending: the same, compiled."""
        return least(self.responders, sampled)
