"""What a collector takes and knows, as plain data."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.events import Appeal, Rejected, Response, Tick
from streams.open_appeal import Held, OpenAppeal

__all__ = ["NEVER_MS", "Block", "CollectorState", "Pending", "Source"]

NEVER_MS = -(1 << 62)


class Block(msgspec.Struct, frozen=True):
    """Events of one source in the order they come, each with its line or offset (ascending).

    Where a source is sorted out of several tables, `sources` and `rows` say where each event stood.
    """

    source: str
    lines: Sequence[int]
    events: Sequence[Appeal | Response | Tick | Rejected]
    sources: Sequence[str] = ()
    rows: Sequence[int] = ()

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
