"""What a collector takes and knows, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from models.ages import NEVER_MS
from streams.codec import Arrived
from streams.events import Appeal, Rejected, Response, Tick
from streams.open_appeal import Held, OpenAppeal

__all__ = ["NEVER_MS", "Block", "CollectorState", "Pending", "Source"]


class Block(msgspec.Struct, frozen=True):
    """Events of one source in the order they come, each with its line or offset (ascending).

    Where a source is sorted out of several tables, `sources` and `rows` say where each event stood.
    `times` are those of the events, if said; they must be for responses that are as they arrived.
    """

    source: str
    lines: Sequence[int]
    events: Sequence[Appeal | Response | Arrived | Tick | Rejected]
    sources: Sequence[str] = ()
    rows: Sequence[int] = ()
    times: Sequence[int] = ()

    def plain(self) -> Block:
        """Return the same with every response made up, for who looks into each."""
        events = [self.made_up(index) for index in range(len(self.events))]
        return Block(self.source, self.lines, events, self.sources, self.rows)

    def made_up(self, index: int) -> Appeal | Response | Tick | Rejected:
        """Return an event as it is beyond the codec."""
        event = self.events[index]
        return event.at(self.times[index]) if isinstance(event, Arrived) else event

    def times_ms(self) -> Sequence[int]:
        """Return the time of each event; of a reject, anything."""
        return self.times or [getattr(event, "time_ms", NEVER_MS) for event in self.events]

    def newest_ms(self) -> int:
        """Return the time of the last event that is none of the rejects."""
        for index in reversed(range(len(self.events))):
            if not isinstance(self.events[index], Rejected):
                return self.times_ms()[index]
        return NEVER_MS

    def held(self, index: int, time_ms: int) -> Held:
        """Return a response as it is beyond the codec, with its place."""
        event: Any = self.events[index]
        response = event.at(time_ms) if type(event) is Arrived else event
        if self.sources or self.rows:
            return Held(*self.place(index), response)
        return Held(self.source, self.lines[index], response)

    def place(self, index: int) -> tuple[str, int]:
        """Return the source and line of an event, as a reject names it."""
        source = self.sources[index] if self.sources else self.source
        return source, (self.rows or self.lines)[index]


class Source(msgspec.Struct):
    """What has been read of a source: redelivery of anything before `next_line` changes nothing."""

    next_line: int = 0
    newest_ms: int = NEVER_MS
    finished: bool = False


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """An appeal that waits for the watermark to pass it."""

    source: str
    line: int
    appeal: Appeal

    def key(self) -> tuple[int, bytes]:
        """Order appeals with one id: the least counts, whichever came first."""
        return self.appeal.time_ms, msgspec.json.encode(self.appeal, order="sorted")


class CollectorState(msgspec.Struct):
    """Everything a collector knows, as plain data."""

    sources: dict[str, Source] = {}
    # By (moment it opens, appeal id); more than one where appeals share an id.
    pending: dict[tuple[int, str], list[Pending]] = {}
    pending_count: int = 0
    opened: dict[str, OpenAppeal] = {}
    closed: dict[str, int] = {}
    # By appeal id, then by the moment they expire.
    held: dict[str, dict[int, list[Held]]] = {}
    held_count: int = 0
    response_ids: int = 0
    ended_ms: int = NEVER_MS
    fates: dict[str, int] = {}

    def watermark_ms(self, lateness_ms: int) -> int:
        """Return the time before which every event has come."""
        least_ms = -NEVER_MS
        for source in self.sources.values():
            if not source.finished and source.newest_ms < least_ms:
                least_ms = source.newest_ms
        if least_ms < -NEVER_MS:
            return least_ms - lateness_ms
        newest_ms = max((one.newest_ms for one in self.sources.values()), default=NEVER_MS)
        return max(newest_ms + 1, self.ended_ms)

    def others_ms(self, name: str) -> int:
        """Return how far the slowest source beside `name` is. While a block is applied only its own
        moves, and the watermark is the lesser of the two without the lateness.
        """
        sources = self.sources.items()
        others = [one.newest_ms for other, one in sources if other != name and not one.finished]
        return min(others, default=-NEVER_MS)

    def known_since_ms(self, appeal_id: str) -> int | None:
        """Return the time of an appeal that is open, or closed and not yet forgotten."""
        opened = self.opened.get(appeal_id)
        return opened.time_ms if opened is not None else self.closed.get(appeal_id)
