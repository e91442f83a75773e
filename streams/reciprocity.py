"""Who answers others: responses that appealers gave to others' appeals, taken from the stream
itself.
"""

from __future__ import annotations

from math import exp2, log1p
from zlib import crc32

import msgspec

from streams.recent import Recent

__all__ = ["Reciprocity", "ReciprocityState"]

# Answers of the last month or so are what a network remembers of somebody; the shape of the effect
# is learned.
HALF_LIFE_MS = 30 * 86_400_000


class Given(msgspec.Struct, array_like=True):
    """Answers somebody gave, fading, as they stood at a time."""

    answers: float = 0.0
    time_ms: int = 0

    def at(self, time_ms: int) -> float:
        """Return the answers still remembered at `time_ms`."""
        return self.answers * exp2((self.time_ms - time_ms) / HALF_LIFE_MS)


class ReciprocityState(msgspec.Struct):
    """Plain data of a `Reciprocity`."""

    given: list[tuple[int, Given]] = []
    forgotten: int = 0


class Reciprocity:
    """Counts answers by a 32-bit hash of the name: with 10^5 appealers and as many responders, some
    two clash.

    Parameters
    ----------
    responders_max
        How many responders are remembered, the latest.
    """

    def __init__(self, responders_max: int, state: ReciprocityState | None = None) -> None:
        state = state or ReciprocityState()
        self._given: Recent[int, Given] = Recent(responders_max, Given)
        self._given.forgotten = state.forgotten
        for hashed, given in state.given:
            self._given[hashed] = given

    def of(self, appealer: str, time_ms: int) -> float:
        """Return log(1 + answers given lately)."""
        given = self._given.get(crc32(appealer.encode()))
        return 0.0 if given is None else log1p(given.at(time_ms))

    def learn(self, appealer: str, time_ms: int, responders: list[int], responses: int) -> None:
        """Count the answers to an appeal; a sample of the responders stands for all of them."""
        own = crc32(appealer.encode())
        weight = max(1.0, responses / len(responders)) if responders else 0.0
        for hashed in responders:
            if hashed != own:
                given = self._given.touch(hashed)
                given.answers = given.at(time_ms) + weight
                given.time_ms = time_ms

    def state(self) -> ReciprocityState:
        """Return everything counted as plain data."""
        return ReciprocityState(list(self._given.items()), self._given.forgotten)
