"""Bytes to events. Whatever is wrong with an event is said as a reason, a field and a place, never
raised further.

The wire is the JSON of PRODUCT.md. msgspec checks types and ranges while it decodes; what it
refuses is sorted into a small vocabulary of reasons here, and nowhere else.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from streams.events import Appeal, Rejected, Response, Tick

__all__ = [
    "REASONS",
    "TIME_MS_MAX",
    "TIME_MS_MIN",
    "Arrived",
    "BadEvent",
    "decode_event",
    "decode_lines",
    "decode_message",
    "event_at",
    "rejected",
    "rfc3339",
]

REASONS = (
    "not_json",
    "unknown_type",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "not_finite",
    "too_long",
    "late",
    "unknown_appeal",
    "duplicate",
    "after_horizon",
    "over_limit",
    "unreadable",
)

# An event is some hundred bytes; Kafka's own default for a whole message is 1 MB.
EVENT_BYTES_MAX = 65_536
MESSAGE_BYTES_MAX = 1_048_576
EXCERPT_CHARACTERS = 500

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Nobody's network was asked before 1900, and a time after 2100 is a damaged one.
TIME_MS_MIN = (datetime(1900, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND
TIME_MS_MAX = (datetime(2100, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND

_Identity = Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | int
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)] | float
_Size = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
_Short = Annotated[str, msgspec.Meta(max_length=64)]
_Attributes = Annotated[
    dict[_Short, bool | float | _Short],
    msgspec.Meta(max_length=32),
]


class _AppealIn(msgspec.Struct, frozen=True, tag="appeal", gc=False):
    appeal_id: _Identity
    time: _Time
    appealer: _Name
    kind: _Name = "default"
    audience: _Name | None = None
    community: _Name = "default"
    reach: _Size = 1.0
    community_size: _Size | None = None
    attributes: _Attributes = {}


class Arrived(msgspec.Struct, frozen=True, tag="response", gc=False):
    """A response as it is decoded. Most need no more than to be counted, so whoever counts them
    takes them as they are, with their times in milliseconds beside them.
    """

    appeal_id: _Identity
    time: _Time
    response_id: _Identity | None = None
    responder: _Name | None = None
    value: Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 1
    exit: bool = False

    def at(self, time_ms: int) -> Response:
        """Return the response, at its time."""
        identity = self.response_id
        return Response(
            self.appeal_id if type(self.appeal_id) is str else str(self.appeal_id),
            time_ms,
            identity if identity is None or type(identity) is str else str(identity),
            self.responder,
            self.value,
            self.count,
            self.exit,
        )


class _TickIn(msgspec.Struct, frozen=True, tag="tick", gc=False):
    time: _Time


_Event = _AppealIn | Arrived | _TickIn
_decode = msgspec.json.Decoder(_Event).decode
_decode_lines = msgspec.json.Decoder(_Event).decode_lines
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class BadEvent(ValueError):
    """An event that cannot be one: `reason` from REASONS, and the field, where one is to blame."""

    def __init__(self, reason: str, field: str | None) -> None:
        super().__init__(f"{reason}: {field}" if field else reason)
        self.reason = reason
        self.field = field


def decode_event(data: bytes | memoryview | msgspec.Raw) -> Appeal | Response | Tick:
    """Decode one event.

    Raises
    ------
    BadEvent
        With a reason from REASONS.

    >>> decode_event(b'{"type":"response","appeal_id":7,"time":1.5}').time_ms
    1500
    """
    try:
        raw = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(error) from None
    time = raw.time
    if type(time) is datetime:
        time_ms = (time - EPOCH) // _MILLISECOND
    else:
        time_ms = _unix_ms(time)
    if not TIME_MS_MIN <= time_ms < TIME_MS_MAX:
        raise BadEvent("out_of_range", "time")
    return raw.at(time_ms) if type(raw) is Arrived else event_at(raw, time_ms)


def decode_lines(text: bytes) -> list[Any] | None:
    """Decode JSON values, line after line, all at once; None if one of them is no event.

    What comes is still to be given its time in milliseconds (`event_at`, `Arrived.at`), and that
    to be looked at; which value stood in which line is for the caller to know, for msgspec takes
    two values in a line and one over two lines.
    """
    try:
        return _decode_lines(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def event_at(raw: Any, time_ms: int) -> Appeal | Tick:
    """Return a decoded event that is no response, at its time."""
    return _appeal(raw, time_ms) if type(raw) is _AppealIn else Tick(time_ms)


def _appeal(raw: Any, time_ms: int) -> Appeal:
    return Appeal(
        str(raw.appeal_id),
        time_ms,
        raw.appealer,
        raw.kind,
        raw.appealer if raw.audience is None else raw.audience,
        raw.community,
        float(raw.reach),
        raw.community_size,
        _moderators(raw.attributes),
    )


def _moderators(attributes: dict[str, Any]) -> dict[str, float]:
    """Numbers as they are, booleans as 0 and 1, and a string as an indicator named
    `attribute=string`.
    """
    return {
        (f"{name}={value}" if isinstance(value, str) else name): (
            1.0 if isinstance(value, str) else float(value)
        )
        for name, value in sorted(attributes.items())
    }


def _unix_ms(seconds: float) -> int:
    if not math.isfinite(seconds) or abs(seconds) > 1e14:
        raise BadEvent("out_of_range", "time")
    return round(seconds * 1000)


def _refusal(error: Exception) -> BadEvent:
    text = str(error)
    field = text.rpartition("`$.")[2].rstrip("`") if "`$." in text else None
    if text.startswith("Number out of range"):
        return BadEvent("not_finite", field)
    if isinstance(error, msgspec.ValidationError):
        return BadEvent(*_validation_reason(text, field))
    return BadEvent("not_json", None)


def _validation_reason(text: str, field: str | None) -> tuple[str, str | None]:
    if text.startswith("Invalid value") and field == "type":  # what follows is the sender's text
        return "unknown_type", "type"
    if "missing required field" in text:
        named = text.split("`")[1]
        return ("unknown_type", "type") if named == "type" else ("missing_field", named)
    if "of length" in text:
        return "too_long" if "<=" in text else "out_of_range", field
    if ">=" in text or "<=" in text or "> " in text or "out of range" in text:
        return "out_of_range", field
    if text.startswith("Expected `object`") and field is None:
        return "wrong_type", None
    return "wrong_type", field


def decode_message(data: bytes) -> list[Appeal | Response | Tick | tuple[BadEvent, bytes]]:
    """Decode a message: one event, or an array of them, in which each is judged by itself."""
    if len(data) > MESSAGE_BYTES_MAX:
        return [(BadEvent("too_long", None), data)]
    if data.lstrip()[:1] != b"[":
        return [_try_event(data)]
    try:
        return [_try_event(bytes(part)) for part in _decode_array(data)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [(BadEvent("not_json", None), data)]


def _try_event(data: bytes) -> Appeal | Response | Tick | tuple[BadEvent, bytes]:
    try:
        return decode_event(data)
    except BadEvent as error:
        return error, data


def rejected(source: str, line: int, error: BadEvent, data: bytes) -> Rejected:
    """Return the reject for `data`, which stood in `line` (or at an offset) of `source`."""
    event = data[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")[:EXCERPT_CHARACTERS]
    return Rejected(source, line, error.reason, error.field, event)


def rfc3339(time_ms: int) -> str:
    """Write a time as RFC 3339 in UTC, with milliseconds only where there are any.

    >>> rfc3339(1_231_275_840_000)
    '2009-01-06T21:04:00Z'
    """
    day, ms = divmod(time_ms, 86_400_000)
    minute, ms = divmod(ms, 60_000)
    text = f"{_date(day)}T{minute // 60:02}:{minute % 60:02}:{ms // 1000:02}"
    return f"{text}.{ms % 1000:03}Z" if ms % 1000 else f"{text}Z"


@lru_cache(maxsize=4096)  # a fact's times lie on a few days
def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).date().isoformat()
