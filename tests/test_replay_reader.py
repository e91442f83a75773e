"""Files into blocks: however packed and wherever cut, the same events on the same lines."""

from __future__ import annotations

import gzip
import io
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

import replay.reader as reader
from replay.reader import merge_sources, raw_lines, read_lines, source_names
from replay.times import milliseconds
from streams.codec import EPOCH, Arrived, decode_event
from streams.collector import Block
from streams.events import Rejected, Response, Tick
from streams.lines import Lines
from streams.settings import ConfigError

LINES = [b'{"type":"response","appeal_id":"a","time":%d}' % n for n in range(1000)]
TEXT = b"\n".join(LINES) + b"\n"
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "gzip in two members": lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
    "zstd in two frames": lambda d: zstandard.compress(d[:5000]) + zstandard.compress(d[5000:]),
}


def write(folder: Path, data: bytes) -> str:
    path = folder / "events"
    path.write_bytes(data)
    return str(path)


def read(path: str) -> list[tuple[int, object]]:
    """Lines and the second (or reason) of each event."""
    found: list[tuple[int, object]] = []
    for block in read_lines(path):
        block = block.plain()
        assert len(block.lines) == len(block.events)
        for line, event in zip(block.lines, block.events, strict=True):
            said = event.reason if isinstance(event, Rejected) else event.time_ms // 1000
            found.append((line, said))
    return found


WHOLE = [(n + 1, n) for n in range(1000)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_packing_does_not_matter(packing: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, PACKINGS[packing](TEXT))) == WHOLE


@pytest.mark.parametrize("packing", PACKINGS)
def test_standard_input_reads_like_a_file(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BufferedReader(io.BytesIO(PACKINGS[packing](TEXT)))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    assert read("-") == WHOLE
    assert not data.closed


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"\n", []),
        (LINES[0], [1]),
        (LINES[0] + b"\r\n" + LINES[1] + b"\r\n", [1, 2]),
        (b"\n\r\n \t\n" + LINES[0] + b"\n\n" + LINES[1], [4, 6]),
        (b"\xef\xbb\xbf" + LINES[0] + b"\n", [1]),
        (b"  " + LINES[0] + b"  \n", [1]),
    ],
)
def test_line_ends_and_blank_lines(text: bytes, lines: list[int], tmp_path: Path) -> None:
    got = read(write(tmp_path, text))
    assert [line for line, _ in got] == lines
    assert all(isinstance(said, int) for _, said in got)


@pytest.mark.parametrize("packing", ["gzip", "zstd", "gzip in two members", "zstd in two frames"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_cut_file_gives_what_it_has_and_says_so(
    packing: str, share: float, tmp_path: Path
) -> None:
    packed = PACKINGS[packing](TEXT)
    got = read(write(tmp_path, packed[: int(share * len(packed))]))
    assert got[:-1] == WHOLE[: len(got) - 1]
    assert got[-1] == (len(got), "unreadable")
    if share == 0.99 and packing.startswith("gzip"):
        assert len(got) > 900, "what stands before the cut is not lost"


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_damaged_file_says_so(packing: str, tmp_path: Path) -> None:
    packed = bytearray(PACKINGS[packing](TEXT))
    packed[len(packed) // 2] ^= 0xFF
    assert read(write(tmp_path, bytes(packed)))[-1][1] == "unreadable"


def test_an_unreadable_path_is_a_reject_not_a_crash(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == [(1, "unreadable")]


@given(
    st.lists(st.sampled_from([LINES[5], b"", b" \t", b"x", LINES[6] + b"\r", b"{" * 50])),
    st.integers(1, 64),
    st.booleans(),
)
def test_where_chunks_end_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], chunk: int, ended: bool
) -> None:
    path = write(tmp_path_factory.mktemp("cut"), b"\n".join(lines) + (b"\n" if ended else b""))
    expected = read(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "CHUNK_BYTES", chunk)
        assert read(path) == expected
    assert [line for line, _ in expected] == [
        n for n, line in enumerate(lines, start=1) if line.strip()
    ]


def test_a_huge_line_is_one_reject_and_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path, LINES[0] + b"\n" + b"x" * 10_000_000 + b"\n" + LINES[1])
    tracemalloc.start()
    got = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == [(1, 0), (2, "too_long"), (3, 1)]
    assert peak < 3_000_000, "some chunks, not the line"


def test_a_line_as_long_as_allowed(tmp_path: Path) -> None:
    fits = LINES[0] + b" " * (reader.EVENT_BYTES_MAX - len(LINES[0]))
    assert read(write(tmp_path, fits + b"\n" + fits + b" \n")) == [(1, 0), (2, "too_long")]


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(TEXT))
    heard: list[int] = []
    assert sum(len(block.events) for block in read_lines(path, heard.append)) == len(LINES)
    assert heard == sorted(heard)
    assert heard[-1] == Path(path).stat().st_size


def test_raw_lines_are_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"\nx\n \n" + LINES[0]))
    assert list(raw_lines(path)) == [b"x", LINES[0]]


def test_source_names(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    assert source_names([path, "-"]) == [path, "stdin"]
    with pytest.raises(ConfigError, match="found none"):
        source_names([str(tmp_path / "absent")])
    with pytest.raises(ConfigError, match="every file once"):
        source_names([path, path])


def block(source: str, *seconds: int) -> Block:
    return Block(source, range(len(seconds)), [Tick(1000 * second) for second in seconds])


def test_sources_are_read_abreast() -> None:
    sources = {
        "slow": iter([block("slow", 1, 2), block("slow", 3), block("slow", 40)]),
        "fast": iter([block("fast", 10), block("fast", 20), block("fast", 30)]),
        "none": iter([Block("none", [1], [Rejected("none", 1, "not_json", None, "")])]),
    }
    got = [
        (name, part and [e.time_ms // 1000 for e in part.events if isinstance(e, Tick)])
        for name, part in merge_sources(sources)
    ]
    assert got == [
        ("fast", [10]),
        ("none", []),
        ("none", None),
        ("slow", [1, 2]),
        ("slow", [3]),
        ("slow", [40]),
        ("fast", [20]),
        ("fast", [30]),
        ("fast", None),
        ("slow", None),
    ]


def test_a_response_is_read_as_written(tmp_path: Path) -> None:
    line = (
        b'{"type":"response","appeal_id":7,"time":"2009-01-06T22:09:12.5+01:00","response_id":8,'
        b'"responder":"u","value":2.5,"count":3,"exit":true,"unknown":{}}'
    )
    got = [event for block in read_lines(write(tmp_path, line)) for event in block.plain().events]
    assert got == [Response("7", 1_231_276_152_500, "8", "u", 2.5, 3, True)]


# Many lines decoded at once are what they are one by one.

GOOD = b'{"type":"response","appeal_id":"a","time":"2009-01-06T21:04:00.25Z"}'
APPEAL = b'{"type":"appeal","appeal_id":7,"time":"1969-01-06T21:04:00+05:30","appealer":"x"}'
TICK = b'{"type":"tick","time":"2009-01-06T21:04:00Z"}'
FULL = GOOD[:-1] + b',"response_id":8,"responder":"u","value":2.5,"count":3,"exit":true}'
WHOLE_LINES = [GOOD, APPEAL, TICK, FULL, LINES[3], GOOD.replace(b'"a"', b"17")]
ODD_LINES = [
    *(
        GOOD + GOOD,
        GOOD + b" " + TICK,
        GOOD + b"\r" + GOOD,
        GOOD + b",",
        b"," + GOOD,
        b"}{",
        b"}",
        b"{",
    ),
    *(
        GOOD[:-1],
        b"}" + GOOD,
        GOOD[:-1] + b',"x":{}',
        GOOD[:-1] + b',"x":"',
        b'"}',
        GOOD[:-1] + b",",
    ),
    *(b'"exit":false}', b"[" + GOOD + b"]", GOOD[:-1] + b',"x":[{}', b"{}]}", b'{"x":1}]}', b"{}"),
    *(
        b" " + GOOD,
        GOOD + b" ",
        GOOD + b"\r",
        b"\xef\xbb\xbf" + GOOD,
        b"",
        b" ",
        b"\r",
        b"\x00",
        b"\x0c",
    ),
    *(
        GOOD[:-1] + b',"x":"}{"}',
        GOOD[:-1] + b',"x":"}\\n{"}',
        GOOD[:-1] + b',"x":"\xff"}',
        b"null",
    ),
    *(GOOD.replace(b"2009", b"2109"), GOOD.replace(b"2009", b"1809"), b"//" + GOOD, GOOD + b"\x0c"),
    GOOD + b" " * reader.EVENT_BYTES_MAX,
    GOOD[:-1] + b" " * (reader.EVENT_BYTES_MAX - len(GOOD)) + b"}",
    GOOD[:-1] + b" " * (reader.EVENT_BYTES_MAX + 1 - len(GOOD)) + b"}",
]
some_lines = st.lists(st.sampled_from(WHOLE_LINES * 4 + ODD_LINES), max_size=12)


def found(path: str) -> list[tuple[int, object]]:
    blocks = [block.plain() for block in read_lines(path)]
    return [pair for b in blocks for pair in zip(b.lines, b.events, strict=True)]


@given(some_lines, st.sampled_from([b"\n", b"\r\n"]), st.booleans())
@example([GOOD + TICK, GOOD[:-1], b"}"], b"\n", True)  # as many values as lines, not one in each
@example([GOOD + GOOD, GOOD[:-1] + b',"x":{', b"}}"], b"\n", True)
@example([GOOD + GOOD, GOOD[:-1] + b',"x":[{}', b"{}]}"], b"\n", True)
@example([GOOD + GOOD, GOOD[:-1] + b',"x":"}', b'{"}'], b"\n", True)
@example([GOOD + GOOD, b""], b"\n", True)
def test_at_once_is_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, ended: bool
) -> None:
    path = write(tmp_path_factory.mktemp("at-once"), end.join(lines) + (end if ended else b""))
    got = found(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_at_once", lambda text: None)
        assert got == found(path)


@pytest.mark.parametrize("line", WHOLE_LINES + [line for line in ODD_LINES if line[:1] == b"{"])
def test_one_odd_line_among_good_ones(line: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, b"\n".join([*[GOOD] * 30, line, *[GOOD] * 30]))
    got = found(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_at_once", lambda text: None)
        assert got == found(path)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_good_lines_are_decoded_at_once(packing: str, end: bytes, tmp_path: Path) -> None:
    """Else nothing would be gained, and no other test would know."""
    path = write(tmp_path, PACKINGS[packing](end.join([*[GOOD, APPEAL, TICK, FULL] * 99, GOOD])))
    for block in read_lines(path):
        assert len(block.times) == len(block.events) > 0
        assert any(type(event) is Arrived for event in block.events)


zones = st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(minutes=345))])
aware = st.builds(
    lambda us, zone: (EPOCH + timedelta(microseconds=us)).astimezone(zone),
    st.integers(-22 * 10**14, 42 * 10**14),
    zones,
)


def exactly(time: datetime) -> int:
    return (time - EPOCH) // timedelta(milliseconds=1)


@given(st.lists(aware | aware.map(lambda time: time.replace(microsecond=0)), min_size=1))
def test_milliseconds_are_exact(times: list[datetime]) -> None:
    assert numbers(times) == list(map(exactly, times))
    longer = times * 20  # however the layouts change
    assert numbers(sorted(longer)) == list(map(exactly, sorted(longer)))


def numbers(times: list[Any]) -> list[int]:
    got = milliseconds(times)
    assert got is not None
    return got.tolist()


@pytest.mark.parametrize("count", [1, 15, 16, 65_535, 65_536])
@pytest.mark.parametrize("first", [0, -(10**9), 2**32 - 100, 2**34])
def test_milliseconds_of_many(count: int, first: int) -> None:
    times = [EPOCH + timedelta(seconds=first + n, microseconds=999_999) for n in range(count)]
    times[count // 2] = times[0].replace(microsecond=0)
    assert numbers(times) == list(map(exactly, times))


@given(st.lists(st.floats(-2.2e9, 4.2e9) | st.integers(-(2**31), 2**32).map(float), min_size=1))
def test_milliseconds_of_unix_seconds(seconds: list[float]) -> None:
    line = b'{"type":"tick","time":%s}'
    got = milliseconds(seconds)
    assert got is not None
    for second, time_ms in zip(seconds, got.tolist(), strict=True):
        assert time_ms == round(second * 1000)
        if -2.2e9 < second < 4.1e9:
            assert decode_event(line % repr(second).encode()).time_ms == time_ms


@pytest.mark.parametrize("odd", [1e300, -1e12])
def test_absurd_times_are_left_to_the_codec(odd: float) -> None:
    assert milliseconds([1.0, odd]) is None
    assert milliseconds([EPOCH, odd]) is None


def test_dates_and_numbers_may_be_mixed() -> None:
    day = EPOCH + timedelta(days=1)
    for times in ([1.5, day], [day, 1.5], [day, *[1.5] * 99], [1.5, *[day] * 99]):
        assert numbers(times) == [1500 if time == 1.5 else 86_400_000 for time in times]


def test_lines_stay_as_they_are_while_they_are_plain(tmp_path: Path) -> None:
    plain = b'{"type":"response","appeal_id":"a","time":"2009-01-06T21:04:00Z"}\n' * 4000
    path = write(tmp_path, plain + TEXT * 8 + b"not json\n" + plain[:-1])
    pieces = list(reader.read_plain_lines(path))
    kinds = [type(piece) for piece in pieces]
    assert kinds[0] is kinds[-1] is Lines and Block in kinds
    assert sum(len(p) if isinstance(p, Lines) else len(p.events) for p in pieces) == 16_001
    first = 1
    for piece in pieces:
        lines = piece.first_line if isinstance(piece, Lines) else piece.lines[0]
        assert lines == first
        first += len(piece.rows) if isinstance(piece, Lines) else len(piece.events)
    events = [p.apart.values() if isinstance(p, Lines) else p.events for p in pieces]
    (bad,) = [one for some in events for one in some if isinstance(one, Rejected)]
    assert (bad.line, bad.reason) == (12_001, "not_json")
