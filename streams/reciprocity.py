"""Who answers others: responses that appealers gave to others' appeals, from the stream itself."""

from __future__ import annotations

from math import exp2, log1p
from zlib import crc32

import msgspec
import numpy as np

from models.hashed_sums import HASHES, HashedSums

__all__ = ["Reciprocity", "ReciprocityState"]

# Answers of the last month or so are what a network remembers of somebody; the shape of the effect
# is learned.
HALF_LIFE_MS = 30 * 86_400_000
# Sums are kept in units that grow as old answers fade; before they overflow, all are written anew.
GROWTH_MAX = 500.0


class ReciprocityState(msgspec.Struct):
    """Answers by responder's hash, ascending, in units of 2^((since - now) / half-life)."""

    since_ms: int | None = None
    given: list[tuple[int, float]] = []
    forgotten: int = 0


class Reciprocity:
    """Counts answers, fading, by a 32-bit hash of the name.

    With 10^5 appealers and as many responders, some two names clash.

    Parameters
    ----------
    responders_max
        How many responders are remembered; beyond, those who gave least lately are forgotten.
    state
        A state to go on from.
    """

    def __init__(self, responders_max: int, state: ReciprocityState | None = None) -> None:
        state = state or ReciprocityState()
        self._responders_max = responders_max
        self._since_ms = state.since_ms
        self._given = HashedSums(state.given)
        self.forgotten = state.forgotten

    def of(self, appealer: str, time_ms: int) -> float:
        """Return log(1 + answers given lately)."""
        growth = self._growth(time_ms)  # which may write all sums anew
        return log1p(self._given.of(crc32(appealer.encode())) / growth)

    def learn(self, appealer: str, time_ms: int, responders: bytes, responses: int) -> None:
        """Count the answers to an appeal; a sample of the responders (their hashes, packed as
        `HASHES`) stands for all of them.
        """
        if not responders:
            return
        hashes = np.frombuffer(responders, HASHES)
        weight = max(1.0, responses / len(hashes)) * self._growth(time_ms)
        self._given.add(hashes, weight, but=crc32(appealer.encode()))
        if len(self._given) > self._responders_max:
            self._forget()

    def _forget(self) -> None:
        """Forget a quarter of the responders: those who gave least, or longest ago."""
        excess = len(self._given) - 3 * self._responders_max // 4
        self._given.drop_least(excess)
        self.forgotten += excess

    def _growth(self, time_ms: int) -> float:
        """Return what an answer now weighs against one at the beginning."""
        if self._since_ms is None:
            self._since_ms = time_ms
        halvings = (time_ms - self._since_ms) / HALF_LIFE_MS
        if halvings > GROWTH_MAX:
            self._given.scale(exp2(-halvings))
            self._since_ms, halvings = time_ms, 0.0
        return exp2(halvings)

    def state(self) -> ReciprocityState:
        """Return everything counted as plain data."""
        return ReciprocityState(self._since_ms, self._given.items(), self.forgotten)
