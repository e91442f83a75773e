"""What a process that reads and keeps the register says to the one that learns, and how it is
packed.

A frame is its length (four bytes, little-endian) and msgpack. It holds what one block of events
came to: the very turns that communities hear from a register, in one process or in two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from replay.fates import Counts
from streams.events import Rejected
from streams.settings import Settings
from streams.turns import Turn

__all__ = ["Ended", "Failed", "Said", "Task", "read_frames", "said_in_parts", "write_frame"]

# A message or a reject is a few hundred bytes, so a frame stays below some megabytes whatever a
# block came to: at the end of a stream all that is open closes at once.
_PART = 4096


class Task(msgspec.Struct, frozen=True):
    """What to read: files or a mapping, as `Inputs` names them, under which settings."""

    settings: Settings
    paths: list[str]
    map_file: str | None

    def map_path(self) -> Path | None:
        """Return the mapping file, if that is what to read."""
        return None if self.map_file is None else Path(self.map_file)


class Said(msgspec.Struct, frozen=True, tag="said"):
    """What a block came to: turns of appeals, rejects, up to when everything is entered, and how
    many events had been read.
    """

    turns: list[Turn]
    rejects: list[Rejected]
    watermark_ms: int
    events: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """All has been read; what became of it, and what each ledger says for the summary."""

    counts: Counts
    ledgers: dict[str, dict[str, Any]]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It cannot be read: a setting or a mapping is wrong, and `message` says how."""

    message: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Said | Ended | Failed).decode


def said_in_parts(said: Said, before_ms: int) -> Iterator[Said]:
    """Cut what would make too great a frame. All but the last tell `before_ms`, the watermark from
    before the block; rejects come first, so that who stops at one has learned nothing of the block.
    """
    rejects, turns = said.rejects, said.turns
    while len(turns) + len(rejects) > _PART:
        bad, rejects = rejects[:_PART], rejects[_PART:]
        good, turns = turns[: _PART - len(bad)], turns[_PART - len(bad) :]
        yield Said(good, bad, before_ms, said.events)
    yield Said(turns, rejects, said.watermark_ms, said.events)


def write_frame(fd: int, frame: Said | Ended | Failed) -> None:
    """Write a frame to a pipe, which may make it wait."""
    body = _encode(frame)
    data = memoryview(len(body).to_bytes(4, "little") + body)
    while data:
        data = data[os.write(fd, data) :]


def read_frames(pipe: IO[bytes]) -> Iterator[Said | Ended | Failed]:
    """Read frame after frame, until the pipe ends or breaks off."""
    while len(head := pipe.read(4)) == 4:
        size = int.from_bytes(head, "little")
        body = pipe.read(size)
        if len(body) < size:
            return
        yield _decode(body)
