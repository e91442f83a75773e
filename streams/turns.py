"""What a ledger says of an appeal, in event-time order: when to judge it, and by how much of the
response. A community hears nothing else.
"""

from __future__ import annotations

import msgspec

from streams.ask import Ask

__all__ = ["Closed", "Halfway", "Put", "Ripe", "Turn"]


class Put(msgspec.Struct, frozen=True, tag="put", gc=False):
    """An appeal has been put."""

    community: str
    ask: Ask


class Halfway(msgspec.Struct, frozen=True, tag="halfway", gc=False):
    """About half of an appeal's responses should be in: a share `share` of them."""

    community: str
    appeal_id: str
    time_ms: int
    responses: int
    share: float


class Ripe(msgspec.Struct, frozen=True, tag="ripe", gc=False):
    """Of an appeal enough is in to learn from it: a share `share`, 0 if it was cut off at once."""

    community: str
    appeal_id: str
    time_ms: int
    responses: int
    share: float


class Closed(msgspec.Struct, frozen=True, tag="closed", gc=False):
    """An appeal has reached the horizon. `value_micros`: millionths of its value."""

    community: str
    appeal_id: str
    time_ms: int
    responses: int
    exits: int
    value_micros: int


Turn = Put | Halfway | Ripe | Closed
