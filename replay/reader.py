"""Canonical JSON lines into blocks of events: plain, gzip or zstd, several files at once, or
standard input.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from heapq import heapify, heappop, heapreplace
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from streams.codec import EVENT_BYTES_MAX, BadEvent, decode_event, rejected
from streams.collector import Block
from streams.events import Appeal, Rejected, Response, Tick
from streams.settings import ConfigError

__all__ = ["PACKED", "merge_sources", "raw_lines", "read_lines", "source_names"]

# Small enough for the processor's cache to hold its events until they have been counted: a fifth
# faster than a megabyte.
CHUNK_BYTES = 1 << 16
# Four bytes of zstd may stand for 128 kB: so much at a time is 32 MB at worst.
ZSTD_BYTES = 1 << 10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# How a packed file begins.
PACKED = (_GZIP, _ZSTD)
_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


def source_names(paths: Sequence[str]) -> list[str]:
    """Return what to call each input in rejects: its path, or "stdin" for "-".

    Raises
    ------
    ConfigError
        If a file is missing or named twice.
    """
    for path in paths:
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
    name = "stdin" if path == "-" else path
    line = 1
    try:
        with _opened(path) as raw:
            for lines in _split(_chunks(raw)):
                yield _block(name, line, lines)
                line += len(lines)
                on_bytes(raw.tell() if raw.seekable() else 0)
    except _UNREADABLE as error:
        yield Block(name, [line], [Rejected(name, line, "unreadable", None, str(error)[:500])])


def raw_lines(path: str) -> Iterator[bytes]:
    """Return the lines of a file, or of standard input for "-", as they are, without empty ones."""
    with _opened(path) as raw:
        for lines in _split(_chunks(raw)):
            yield from (line for line in lines if line and not line.isspace())


def _opened(path: str) -> AbstractContextManager[BufferedReader]:
    if path == "-":
        return nullcontext(cast(BufferedReader, sys.stdin.buffer))
    return open(path, "rb")


def _chunks(raw: BufferedReader) -> Iterator[bytes]:
    """Read what there is, decompressed, a chunk at a time."""
    magic = raw.peek(4)[:4]
    if magic == _ZSTD:
        return _decompressed_zstd(raw)
    if magic.startswith(_GZIP):
        return iter(partial(gzip.GzipFile(fileobj=raw, mode="rb").read1, CHUNK_BYTES), b"")
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


def _split(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Cut into lines, a chunk's worth at a time. Of a line beyond the limit only the beginning is
    kept.
    """
    rest = next(chunks, b"").removeprefix(BYTE_ORDER_MARK)
    for chunk in chain([b""], chunks):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()[: EVENT_BYTES_MAX + 1]
        yield lines
    if rest:
        yield [rest]


def _block(source: str, first_line: int, lines: list[bytes]) -> Block:
    numbers: list[int] = []
    events: list[Appeal | Response | Tick | Rejected] = []
    for number, line in enumerate(lines, start=first_line):
        try:
            if len(line) > EVENT_BYTES_MAX:
                raise BadEvent("too_long", None)
            events.append(decode_event(line))
        except BadEvent as error:
            if not line or line.isspace():
                continue
            events.append(rejected(source, number, error, line))
        numbers.append(number)
    return Block(source, numbers, events)


def merge_sources(sources: dict[str, Iterator[Block]]) -> Iterator[tuple[str, Block | None]]:
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
            good = (e.time_ms for e in reversed(block.events) if not isinstance(e, Rejected))
            heapreplace(queue, (max(newest_ms, next(good, newest_ms)), name))
