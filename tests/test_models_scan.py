"""Plain lines are read as the JSON library reads them, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from zlib import crc32

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.ages import AgeGrid
from models.runs import plain_grid, slot_of
from models.scan import (
    COUNT,
    END,
    GROUP,
    HASH,
    LINE_MAX,
    NONE,
    START,
    TIME,
    VALUE,
    WHO,
    WHO_END,
    YEAR_MAX,
    YEAR_MIN,
    scan,
)
from streams.codec import EPOCH, EVENT_BYTES_MAX, TIME_MS_MAX, TIME_MS_MIN, decode_event
from streams.events import Response

PLAIN = (
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z"}',
    b'{"type": "response", "appeal_id": "a1", "time": "2009-01-06T21:04:00.5Z", "count": 3}',
    b'{"time":"2096-02-29T23:59:59.999999Z","appeal_id":"a2","responder":"x","type":"response"}',
    b'{"type":"response","appeal_id":"7","time":"1900-01-01T00:00:00.001Z","value":0.250000}',
    b'{"type":"response","appeal_id":"a1","time":"1969-12-31T23:59:59.9994Z","value":999999999}',
    b'{ "value":0 , "type":"response","appeal_id":"a1","time":"2000-02-29T00:00:00Z" }',
)
DEFERRED = (
    b"",
    b" ",
    b"{}",
    b"[]",
    b'{"type":"tick","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z"}\r',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z"} x',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z",}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","count":0}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","count":1.0}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","count":1234567890}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","value":-1}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","value":01}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","value":1.}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","value":1e3}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","value":1.0000001}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","exit":true}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z","type":"response"}',
    b'{"type":"response","appeal_id":"","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","appeal_id":"a\\u0031","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","appeal_id":"\xc3\xa4","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","appeal_id":"%s","time":"2009-01-06T21:04:00Z"}' % (b"a" * 257),
    b'{"type":"response","appeal_id":7,"time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","appeal_id":"a1","time":1231275840}',
    b'{"type":"response","appeal_id":"a1","time":"2009-02-29T21:04:00Z"}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T24:00:00Z"}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:60Z"}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00.Z"}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00+01:00"}',
    b'{"type":"response","appeal_id":"a1","time":"1899-12-31T21:04:00Z"}',
    b'{"type":"response","appeal_id":"a1","time":"2100-01-01T00:00:00Z"}',
    b'{"type":"responses","appeal_id":"a1","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"xesponse","appeal_id":"a1","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","bppeal_id":"a1","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","time":"2009-01-06T21:04:00Z"}',
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z"' + b" " * 65_536 + b"}",
)


def agree(lines: list[bytes]) -> list[bool]:
    """Check what is plain against the JSON library; return which lines are."""
    text = b"".join(line + b"\n" for line in lines)
    rows, appeals = scan(np.frombuffer(text, np.uint8))
    assert len(rows) == len(lines)
    for line, row in zip(lines, rows.tolist(), strict=True):
        assert text[row[START] : row[END]] == line
        if row[GROUP] == NONE:
            continue
        event = decode_event(line)
        assert isinstance(event, Response)
        start, end = appeals[row[GROUP]].tolist()
        who = text[row[WHO] : row[WHO_END]].decode()
        micros = NONE if event.value is None else round(event.value * 1e6)
        assert (event.response_id, event.exit) == (None, False)
        assert (event.appeal_id, event.time_ms) == (text[start:end].decode(), row[TIME])
        assert (event.count, event.responder or "", micros) == (row[COUNT], who, row[VALUE])
        assert row[HASH] == (crc32(who.encode()) if event.responder else NONE)
        assert event.value is None or event.value == row[VALUE] / 1e6
    return [row[GROUP] != NONE for row in rows.tolist()]


def test_plain_lines_are_read() -> None:
    assert agree(list(PLAIN)) == [True] * len(PLAIN)


@pytest.mark.parametrize("line", DEFERRED, ids=lambda line: line[-60:].decode("utf-8", "replace"))
def test_others_are_left_to_the_library(line: bytes) -> None:
    assert agree([PLAIN[0], line, PLAIN[0]]) == [True, False, True]


@given(st.lists(st.sampled_from(PLAIN + DEFERRED[:-1]), max_size=30), st.randoms())
def test_what_is_damaged_anywhere_is_read_as_the_library_reads_it(
    lines: list[bytes], rng: Random
) -> None:
    damaged = []
    for line in lines:
        at, how = rng.randrange(len(line) + 1), rng.randrange(4)
        byte = bytes([rng.choice(b'{}[]",:\\ 0123456789.-+eZTabtruefalsn\x00\x7f\x80\xff')])
        damaged.append(
            (line, line[:at], line[:at] + byte + line[at:], line[:at] + byte + line[at + 1 :])[how]
        )
    agree([line.replace(b"\n", b"") for line in damaged])


NAMES = ("type", "appeal_id", "time", "responder", "count", "value", "exit", "response_id", "x")
VALUES = st.one_of(
    st.sampled_from(['"response"', '"2009-01-06T21:04:00Z"', "true", "null", "-0", "1e5", '"\\n"']),
    st.integers(-1, 10**10).map(str),
    st.decimals(0, 10**10, places=7).map(lambda d: f"{d:f}"),
    st.text(max_size=5).map(lambda text: f'"{text}"'.replace("\n", "")),
    st.datetimes().map(lambda time: f'"{time.isoformat()}Z"'),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=7), st.sampled_from(["", " "]))
@example([("type", '"response"'), ("appeal_id", '"a"'), ("time", '"0001-01-01T00:00:00Z"')], "")
def test_any_object_is_read_as_the_library_reads_it(
    members: list[tuple[str, str]], space: str
) -> None:
    line = f",{space}".join(f'"{name}":{space}{value}' for name, value in members)
    agree([f"{{{line}}}".encode("utf-8", "surrogatepass")])


def test_many_appeals_are_told_apart() -> None:
    line = b'{"type":"response","appeal_id":"%d","time":"2009-01-06T21:04:00Z"}'
    assert all(agree([line % (n * n % 997) for n in range(3000)]))


def test_limits_are_the_codecs() -> None:
    assert LINE_MAX <= EVENT_BYTES_MAX
    days = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    assert [(day - EPOCH).total_seconds() * 1000 for day in days] == [TIME_MS_MIN, TIME_MS_MAX]
    assert (YEAR_MIN, YEAR_MAX) == (1900, 2099)
    fits = PLAIN[0][:-1] + b" " * (LINE_MAX - len(PLAIN[0])) + b"}"
    assert agree([fits, fits.replace(b"  ", b"   ", 1)]) == [True, False]


@pytest.mark.parametrize("horizon_ms", [60_000, 61_007, 3_600_000, 7 * 86_400_000, 63_244_800_000])
def test_slots_are_the_age_grids(horizon_ms: int) -> None:
    grid = AgeGrid(horizon_ms)
    plain, bins = plain_grid(grid), grid.bins_by_slot()
    assert len(bins) == grid.slots and bins == sorted(bins) and bins[-1] == grid.bins - 1
    for slot in range(grid.slots):
        start_ms, end_ms = grid.start_ms(slot), grid.start_ms(slot + 1)
        assert [slot_of(age_ms, plain) for age_ms in (start_ms, end_ms - 1)] == [slot, slot]
    assert all(grid.edges_slot[bins[slot]] > slot for slot in range(grid.slots))
