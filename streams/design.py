"""Whether a community's appeals are laid out so that wear-out can be told from anything else.

Irregular rests identify wear-out, and so do concurrent first appeals; where nobody is ever rested,
or every rest is like the last, level and wear-out are one.
"""

from __future__ import annotations

from math import log

import msgspec

__all__ = ["Design", "DesignState"]

# What is remembered fades over the last hundred appeals or so.
MEMORY = 0.99
APPEALS_MIN = 40
# Without appeals that meet a rested audience there is nothing to compare the tired ones with.
RESTED_STOCK = 1.0
RESTED_MIN = 0.01
# Mean change of a rest against the last one of the same series, natural log.
REST_CHANGE_MIN = 0.05
TIMES_MIN = 0.2
CONCURRENT_MIN = 10
CONCURRENT_MS = 28 * 86_400_000
CONCURRENT_SEEN = 64


class DesignState(msgspec.Struct):
    """Fading sums over appeals, and the latest of them as (time, series and audience)."""

    appeals: float = 0.0
    times: float = 0.0
    rested: float = 0.0
    own_rested: float = 0.0
    rests: float = 0.0
    rest_changes: float = 0.0
    seen: int = 0
    latest: list[tuple[int, str]] = []


class Design:
    """Keeps watch over who asks when.

    Parameters
    ----------
    state
        Taken over, not copied.
    """

    def __init__(self, state: DesignState | None = None) -> None:
        self.state = state or DesignState()

    def learn(
        self,
        time_ms: int,
        key: str,
        stock: float,
        own_stock: float,
        rests_ms: tuple[int, int] | None,
    ) -> None:
        """Count an appeal of the series and audience `key`.

        Parameters
        ----------
        stock
            What the audience still felt of the series, in appeals.
        own_stock
            What it still felt of all that the appealer had asked of it.
        rests_ms
            Its last two rests, if known.
        """
        s = self.state
        new_time = not s.latest or s.latest[-1][0] != time_ms
        s.appeals = MEMORY * s.appeals + 1.0
        s.rested = MEMORY * s.rested + (stock < RESTED_STOCK)
        s.own_rested = MEMORY * s.own_rested + (own_stock < RESTED_STOCK)
        s.times = MEMORY * s.times + new_time
        s.seen += 1
        if rests_ms is not None and min(rests_ms) > 0:
            s.rests = MEMORY * s.rests + 1.0
            change = abs(log(rests_ms[1] / rests_ms[0]))
            s.rest_changes = MEMORY * s.rest_changes + change
        s.latest.append((time_ms, key))
        if len(s.latest) > CONCURRENT_SEEN:
            del s.latest[0]

    def cannot_tell(self, time_ms: int, key: str) -> str | None:
        """Return why wear-out cannot be told here, as a key of verdict.CANNOT_TELL, or None."""
        if (anywhere := self.cannot_tell_anywhere()) is not None:
            return anywhere
        return None if self._are_concurrent(time_ms - CONCURRENT_MS, key) else "few_concurrent"

    def cannot_tell_anywhere(self) -> str | None:
        """Return why wear-out cannot be told of any series, as a key of verdict.CANNOT_TELL."""
        s = self.state
        if s.seen >= APPEALS_MIN and s.rested < RESTED_MIN * s.appeals:
            return "synchronised" if s.times < TIMES_MIN * s.appeals else "same_rests"
        if s.rests >= APPEALS_MIN and s.rest_changes < REST_CHANGE_MIN * s.rests:
            return "same_rests"
        return None

    def nobody_is_new(self) -> bool:
        """Return whether every appealer has been asking all along, or too few appeals have been
        seen to say. What a first appeal would draw is then an extrapolation: that repeats do better
        is not said of it.
        """
        s = self.state
        return s.seen < APPEALS_MIN or s.own_rested < RESTED_MIN * s.appeals

    def _are_concurrent(self, since_ms: int, key: str) -> bool:
        """Return whether enough others asked since then, looking from the latest backwards."""
        others = 0
        for when_ms, of in reversed(self.state.latest):
            if when_ms < since_ms:
                return False
            others += of != key
            if others >= CONCURRENT_MIN:
                return True
        return False
