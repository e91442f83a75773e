"""Events that come in, messages of collectors to the register, and facts that go out: frozen,
plain, timeless.

Times are integer milliseconds since 1970-01-01 UTC, event time, and say so in their names. Strings
that come from users (appealer, kind, audience, community, responder) are at most 256 characters;
the codec has seen to that.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "Appeal",
    "Checkpoint",
    "Estimate",
    "Level",
    "Opened",
    "Rejected",
    "Response",
    "Tick",
    "Verdict",
]


class Appeal(msgspec.Struct, frozen=True, gc=False):
    """One ask, put before an audience at a time."""

    appeal_id: str
    time_ms: int
    appealer: str
    kind: str
    audience: str
    community: str
    reach: float
    community_size: float | None
    attributes: dict[str, float]


class Response(msgspec.Struct, frozen=True, gc=False):
    """What somebody did because of an appeal; `count` of them in one event, `exit` where it costs
    instead of brings.
    """

    appeal_id: str
    time_ms: int
    response_id: str | None = None
    responder: str | None = None
    value: float | None = None
    count: int = 1
    exit: bool = False


class Tick(msgspec.Struct, frozen=True, gc=False):
    """The wall clock as recorded in the log: the only way in which it may move a watermark."""

    time_ms: int


class Rejected(msgspec.Struct, frozen=True):
    """An event that does not count, why, and where it stood. `event` is its beginning, as text."""

    source: str
    line: int
    reason: str
    field: str | None
    event: str


class Opened(msgspec.Struct, frozen=True, tag="opened", gc=False):
    """Collector to learner: an appeal has begun, and no earlier one can come any more."""

    time_ms: int
    appeal: Appeal


class Checkpoint(msgspec.Struct, frozen=True, tag="checkpoint", gc=False):
    """Collector to learner: an open appeal has reached an age, and every response younger than that
    is in.

    `bin_start` is the first age bin reported, `counts` the responses by bin from there on (exits
    apart), `responses` their total so far. At the horizon (`final`) it carries what is only worth
    sending once: the exits and the value of all; the responses by age slot (slot, count, slot,
    count: as models.surge takes them, eight bytes each); and the sampled responders' hashes (for
    reciprocity, four bytes each, ascending). Both little-endian: as numbers, each an object, they
    cost as much as all else that is said of an appeal.
    """

    time_ms: int
    appeal_id: str
    community: str
    bin_start: int
    counts: list[int]
    responses: int
    exits: int = 0
    value_micros: int = 0
    final: bool = False
    slots: bytes = b""
    responders: bytes = b""


class Estimate(msgspec.Struct, frozen=True):
    """A fact: what an appeal still gets of a first appeal's response, said at a stage. `expected*`
    in responses.
    """

    community: str
    appeal_id: str
    stage: str
    time_ms: int
    retention: float
    low: float
    high: float
    expected: float
    expected_low: float
    expected_high: float
    responses: int


class Verdict(msgspec.Struct, frozen=True):
    """A fact: what a series has come to (PRODUCT's words for `state`, `basis` and `action`)."""

    time_ms: int
    community: str
    appealer: str
    kind: str
    repeat: int
    state: str
    basis: str
    retention: float
    low: float
    high: float
    e_value: float
    reason: str
    action: str
    ask_again_at_ms: int | None = None
    ask_again_low_ms: int | None = None
    ask_again_high_ms: int | None = None


class Level(msgspec.Struct, frozen=True):
    """A fact: the level of a community relative to normal, with a 90 % interval."""

    time_ms: int
    community: str
    factor: float
    low: float
    high: float
