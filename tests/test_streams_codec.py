"""Bytes to events: what is taken, what is refused and why."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec import (
    REASONS,
    TIME_MS_MAX,
    TIME_MS_MIN,
    BadEvent,
    decode_event,
    decode_message,
    rejected,
    rfc3339,
)
from streams.events import Appeal, Response, Tick

times_ms = st.integers(TIME_MS_MIN, TIME_MS_MAX - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
finite = st.floats(allow_nan=False, allow_infinity=False)


def wire(**fields: Any) -> bytes:
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


@given(
    names,
    times_ms,
    st.none() | names,
    st.none() | names,
    st.none() | st.floats(0, 1e12),
    st.integers(1, 10**9),
    st.booleans(),
)
def test_a_response_comes_back_as_it_was(
    appeal_id: str,
    time_ms: int,
    response_id: str | None,
    responder: str | None,
    value: float | None,
    count: int,
    leaves: bool,
) -> None:
    fields = {"response_id": response_id, "responder": responder, "value": value, "count": count}
    data = wire(type="response", appeal_id=appeal_id, time=rfc3339(time_ms), exit=leaves, **fields)
    expected = Response(appeal_id, time_ms, response_id, responder, value, count, leaves)
    assert decode_event(data) == expected


@given(names, times_ms, names, st.none() | names, st.floats(0, 1e12, exclude_min=True))
def test_an_appeal_comes_back_as_it_was(
    appeal_id: str, time_ms: int, appealer: str, audience: str | None, reach: float
) -> None:
    data = wire(
        type="appeal",
        appeal_id=appeal_id,
        time=rfc3339(time_ms),
        appealer=appealer,
        audience=audience,
        reach=reach,
    )
    own = appealer if audience is None else audience
    expected = Appeal(appeal_id, time_ms, appealer, "default", own, "default", reach, None, {})
    assert decode_event(data) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_reason(data: bytes) -> None:
    try:
        decode_event(data)
    except BadEvent as error:
        assert error.reason in REASONS


_scalars = st.none() | st.booleans() | st.integers() | finite | st.text(max_size=9)
_json = _scalars | st.lists(_scalars, max_size=2) | st.dictionaries(st.text(max_size=9), _scalars)
_FIELDS = ("appeal_id", "time", "appealer", "kind", "audience", "community", "reach", "attributes")
_FIELDS += ("community_size", "response_id", "responder", "value", "count", "exit")


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["appeal", "response", "tick"])},
        optional=dict.fromkeys(_FIELDS, _json | st.just("a") | st.just(1)),
    )
)
def test_any_object_is_an_event_or_a_reason(fields: dict[str, Any]) -> None:
    try:
        event = decode_event(msgspec.json.encode(fields))
    except BadEvent as error:
        assert error.reason in REASONS
        assert error.reason != "not_json"
        assert error.field is None or error.field.split("[")[0] in (*_FIELDS, "type")
    else:
        assert TIME_MS_MIN <= event.time_ms < TIME_MS_MAX


@pytest.mark.parametrize(
    ("time", "time_ms"),
    [
        (0, 0),
        (1.5, 1500),
        (-1.25, -1250),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1970-01-01t01:00:00.5+01:00", 500),
        ("1900-01-01T00:00:00Z", TIME_MS_MIN),
        ("2099-12-31T23:59:59.999Z", TIME_MS_MAX - 1),
    ],
)
def test_times(time: Any, time_ms: int) -> None:
    assert decode_event(wire(type="tick", time=time)) == Tick(time_ms)


def test_attributes_become_numbers_in_the_order_of_their_names() -> None:
    attributes = {"years": 2, "brand": True, "age": 2.5, "city": "Wien", "bot": False}
    event = decode_event(
        wire(type="appeal", appeal_id=1, time=0, appealer="x", attributes=attributes)
    )
    assert isinstance(event, Appeal)
    assert list(event.attributes.items()) == [
        ("age", 2.5),
        ("bot", 0.0),
        ("brand", 1.0),
        ("city=Wien", 1.0),
        ("years", 2.0),
    ]
    assert {type(value) for value in event.attributes.values()} == {float}


@pytest.mark.parametrize("text", ["missing required field `x`", "$.time", "of length <= 3", "> 2"])
def test_a_senders_text_is_not_taken_for_the_decoders(text: str) -> None:
    with pytest.raises(BadEvent, match=r"^unknown_type: type$"):
        decode_event(wire(type=text))


def test_a_message_is_an_event_or_an_array_of_them() -> None:
    tick, bad = b'{"type":"tick","time":1}', b'{"type":"tock"}'
    assert decode_message(tick) == [Tick(1000)]
    assert decode_message(b" [] ") == []
    first, (error, data), last = decode_message(b" [%b, %b ,%b]" % (tick, bad, tick))
    assert (first, last) == (Tick(1000), Tick(1000))
    assert (error.reason, data) == ("unknown_type", bad)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b'[{"type":"tick","time":1},', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[\xff]", "not_json"),
        (b" " * 1_048_577, "too_long"),
    ],
)
def test_a_message_that_is_none_is_one_reject(data: bytes, reason: str) -> None:
    ((error, kept),) = decode_message(data)
    assert (error.reason, kept) == (reason, data)


@given(st.binary(max_size=3000))
def test_a_reject_keeps_a_beginning_that_can_be_written(data: bytes) -> None:
    reject = rejected("s", 1, BadEvent("not_json", None), data)
    assert len(reject.event) <= 500
    assert msgspec.json.decode(msgspec.json.encode(reject))["event"] == reject.event


@given(times_ms)
def test_times_are_written_as_they_are_read(time_ms: int) -> None:
    assert decode_event(wire(type="tick", time=rfc3339(time_ms))) == Tick(time_ms)
