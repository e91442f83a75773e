"""Files into blocks: however packed and wherever cut, the same events on the same lines."""

from __future__ import annotations

import gzip
import io
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import replay.reader as reader
from replay.reader import merge_sources, raw_lines, read_lines, source_names
from streams.collector import Block
from streams.events import Rejected, Response, Tick
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
    got = [event for block in read_lines(write(tmp_path, line)) for event in block.events]
    assert got == [Response("7", 1_231_276_152_500, "8", "u", 2.5, 3, True)]
