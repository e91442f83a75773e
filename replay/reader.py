"""Canonical JSON lines into blocks of events, or left as lines where they are plain: files as they
are, gzip or zstd, several at once, or standard input.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from heapq import heapify, heappop, heapreplace
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np
import zstandard

from replay.times import milliseconds
from streams.codec import (
    EVENT_BYTES_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
    Arrived,
    decode_lines,
    event_at,
)
from streams.collector import Block
from streams.events import Appeal, Rejected, Response, Tick
from streams.lines import Lines, decoded_lines
from streams.settings import ConfigError

__all__ = ["PACKED", "merge_sources", "raw_lines", "read_lines", "read_plain_lines", "source_names"]

# Small enough for the processor's cache to hold its events until they have been counted: a fifth
# faster than a megabyte.
CHUNK_BYTES = 1 << 17
# Four bytes of zstd may stand for 128 kB: so much at a time is 32 MB at worst.
ZSTD_BYTES = 1 << 10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# How a packed file begins.
PACKED = (_GZIP, _ZSTD)
_LINE_END, _RETURN, _OPEN, _CLOSE = b"\n\r{}"

# Says whether it pays to look at all lines.
SAMPLE_BYTES = 1 << 11

Taken = TypeVar("Taken", bound="Block | Lines")
Event = Appeal | Response | Arrived | Tick | Rejected
_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes of a name that are no UTF-8
        return False
    return True


def source_names(paths: Sequence[str]) -> list[str]:
    """Return what to call each input in rejects: its path, or "stdin" for "-".

    Raises
    ------
    ConfigError
        If a file is missing or named twice, or its name is no UTF-8: it could not be written down.
    """
    for path in paths:
        if not _is_text(path):
            shown = path.encode("utf-8", "backslashreplace").decode()
            raise ConfigError(f"{shown}: expected a file name in UTF-8")
        if path != "-" and not Path(path).is_file():
            raise ConfigError(f"{path}: expected a file of events, found none there")
    names = ["stdin" if path == "-" else path for path in paths]
    if len(set(names)) < len(names):
        raise ConfigError(f"events: expected every file once, got {names}")
    return names


def read_lines(path: str, on_bytes: Callable[[int], None] = lambda _: None) -> Iterator[Block]:
    """Read one file of events, or standard input for "-".

    `on_bytes` hears how many bytes of the file (compressed, if it is) have been read. A file that
    breaks off (cut gzip, read error) ends with a reject that says so.
    """
    return _read(path, _block, on_bytes)


def read_plain_lines(path: str) -> Iterator[Block | Lines]:
    """Read as `read_lines` does; where most lines are plain, those are left as they are."""
    return _read(path, _LinesIfPlain(), lambda _: None)


def _read(
    path: str, take: Callable[[str, int, bytes], Taken], on_bytes: Callable[[int], None]
) -> Iterator[Block | Taken]:
    name = "stdin" if path == "-" else path
    line = 1
    try:
        with _opened(path) as raw:
            for text in _texts(_chunks(raw)):
                for part in _cut(text, 2 * CHUNK_BYTES):
                    taken = take(name, line, part)
                    line += len(taken.rows) if type(taken) is Lines else part.count(b"\n")
                    yield taken
                on_bytes(raw.tell() if raw.seekable() else 0)
    except _UNREADABLE as error:
        yield Block(name, [line], [Rejected(name, line, "unreadable", None, str(error)[:500])])


def raw_lines(path: str) -> Iterator[bytes]:
    """Return the lines of a file, or of standard input for "-", as they are, without empty ones."""
    with _opened(path) as raw:
        for text in _texts(_chunks(raw)):
            yield from (line for line in text[:-1].split(b"\n") if line and not line.isspace())


def _opened(path: str) -> AbstractContextManager[BufferedReader]:
    if path == "-":
        return nullcontext(cast(BufferedReader, sys.stdin.buffer))
    return open(path, "rb")


def _chunks(raw: BufferedReader) -> Iterator[bytes]:
    """Read what there is, decompressed, a chunk at a time."""
    magic = raw.peek(4)[:4]
    if magic == _ZSTD:
        return _gathered(_decompressed_zstd(raw))
    if magic.startswith(_GZIP):
        unpacked = gzip.GzipFile(fileobj=raw, mode="rb")
        return _gathered(iter(partial(unpacked.read1, CHUNK_BYTES), b""))
    return iter(partial(raw.read1, CHUNK_BYTES), b"")


def _decompressed_zstd(raw: BinaryIO) -> Iterator[bytes]:
    """Read frame after frame. (The library's own reader takes a cut file for a whole one.)"""
    frame = None
    while data := raw.read(ZSTD_BYTES):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(data)
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("Compressed file ended before its last frame did")


def _gathered(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Join small chunks: many events at once are decoded the cheapest."""
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= CHUNK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    except _UNREADABLE:
        yield b"".join(parts)
        raise
    yield b"".join(parts)


def _texts(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut behind the last line end of each chunk. Of a line beyond the limit only the beginning is
    kept.
    """
    rest = next(chunks, b"").removeprefix(BYTE_ORDER_MARK)
    for chunk in chain([b""], chunks):
        text = rest + chunk
        end = text.rfind(b"\n") + 1
        rest = text[end:][: EVENT_BYTES_MAX + 1]
        if end:
            yield text[:end]
    if rest:
        yield rest + b"\n"


def _cut(text: bytes, length: int) -> Iterator[bytes]:
    """Cut into pieces of whole lines, each a little longer than `length`."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + length) + 1 or len(text)
        yield text[start:end]
        start = end


class _LinesIfPlain:
    """Leaves lines as they are while most are plain; else looks first at a few of the next."""

    def __init__(self) -> None:
        self._were_plain = True

    def __call__(self, source: str, first_line: int, text: bytes) -> Block | Lines:
        sample = text[: text.find(b"\n", SAMPLE_BYTES) + 1] or text
        if self._were_plain or Lines(source, first_line, sample).are_mostly_plain():
            lines = Lines(source, first_line, text)
            self._were_plain = lines.are_mostly_plain()
            if self._were_plain:
                return lines.decode()
        return _block(source, first_line, text)


def _block(source: str, first_line: int, text: bytes) -> Block:
    found = _at_once(text)
    if found is not None:
        events, times = found
        return Block(source, range(first_line, first_line + len(events)), events, times=times)
    return decoded_lines(source, first_line, text)


def _at_once(text: bytes) -> tuple[list[Event], list[int]] | None:
    """Decode lines with one call: events and times, or None unless each line is one good event.

    Where each line end stands between } and {, no value lies over two lines: inside of one the two
    need a comma between them, and a string holds no raw line end. So, where there are as many
    values as lines, there is one in each.
    """
    found = decode_lines(text)  # first, because it ends at the first bad line
    if not found or not _is_line_by_line(text, len(found)):
        return None
    times_ms = milliseconds([event.time for event in found])
    if times_ms is None or times_ms.min() < TIME_MS_MIN or times_ms.max() >= TIME_MS_MAX:
        return None
    times: list[int] = times_ms.tolist()
    kinds = list(map(type, found))
    if kinds.count(Arrived) < len(kinds):
        for index, kind in enumerate(kinds):
            if kind is not Arrived:
                found[index] = event_at(found[index], times[index])
    return found, times


def _is_line_by_line(text: bytes, lines: int) -> bool:
    """Return whether so many lines go from { to }, and none is too long."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == _LINE_END)
    if len(ends) != lines or data[0] != _OPEN or not (data[ends[:-1] + 1] == _OPEN).all():
        return False
    # Where the others are as short as can be, is there enough for one too long?
    if len(text) - 3 * lines > EVENT_BYTES_MAX - 2:
        if np.diff(ends, prepend=-1).max() - 1 > EVENT_BYTES_MAX:
            return False
    last = data[ends - 1]
    if (last == _CLOSE).all():
        return True
    return bool((data[ends - 1 - (last == _RETURN)] == _CLOSE).all())


def merge_sources(
    sources: Mapping[str, Iterator[Taken]],
) -> Iterator[tuple[str, Taken | None]]:
    """Read several sources so that none runs far ahead of the others in event time.

    Yields (source, block), and (source, None) once a source has ended.
    """
    queue = [(-(1 << 62), name) for name in sources]
    heapify(queue)
    while queue:
        newest_ms, name = queue[0]
        block = next(sources[name], None)
        yield name, block
        if block is None:
            heappop(queue)
        else:
            heapreplace(queue, (max(newest_ms, block.newest_ms()), name))
