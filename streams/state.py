"""Snapshots: msgpack of named fields under a schema version. Never a pickle, on the wire or on
disk.
"""

from __future__ import annotations

from typing import Any, TypeVar
from zlib import crc32

import msgspec

__all__ = ["SCHEMA_VERSION", "SnapshotError", "pack", "unpack"]

SCHEMA_VERSION = 7

T = TypeVar("T")


class SnapshotError(ValueError):
    """A snapshot of another schema, or a damaged one."""


class _Snapshot(msgspec.Struct, frozen=True):
    schema_version: int
    kind: str
    crc32: int
    state: msgspec.Raw


def pack(state: Any) -> bytes:
    """Encode a state struct."""
    body = msgspec.msgpack.encode(state)
    return msgspec.msgpack.encode(
        _Snapshot(SCHEMA_VERSION, type(state).__name__, crc32(body), msgspec.Raw(body))
    )


def unpack(data: bytes, kind: type[T]) -> T:
    """Decode a state struct of type `kind`.

    Raises
    ------
    SnapshotError
        Says which schema or kind came and which was expected.
    """
    try:
        snapshot = msgspec.msgpack.decode(data, type=_Snapshot)
        if (snapshot.schema_version, snapshot.kind) != (SCHEMA_VERSION, kind.__name__):
            raise SnapshotError(
                f"snapshot: expected {kind.__name__} of schema {SCHEMA_VERSION}, "
                f"got {snapshot.kind} of schema {snapshot.schema_version}"
            )
        if crc32(snapshot.state) != snapshot.crc32:
            raise SnapshotError(f"snapshot: expected checksum {snapshot.crc32}: it is damaged")
        return msgspec.msgpack.decode(snapshot.state, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(f"snapshot: expected msgpack of {kind.__name__}: {error}") from None
