"""Times of many events at once, in milliseconds: as exact as one by one, at a tenth of the cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.codec import EPOCH

__all__ = ["milliseconds"]

# msgpack writes a datetime as a timestamp, in C: seconds alone, or nanoseconds (30 bits) above
# seconds (34 bits), or both apart where the seconds are negative or beyond 34 bits. By the first
# two bytes: what follows.
_SECONDS = np.dtype([("head", ">u2"), ("seconds", ">u4")])
_SHORT = np.dtype([("head", ">u2"), ("both", ">u8")])
_LONG = np.dtype([("head", ">u2"), ("type", "u1"), ("nanoseconds", ">u4"), ("seconds", ">i8")])
_LAYOUTS = {b"\xd6\xff": _SECONDS, b"\xd7\xff": _SHORT, b"\xc7\x0c": _LONG}
# A run of one layout costs as much as this many times taken one by one.
_RUN = 24
# Beyond any time that is one, and far below where milliseconds are no longer exact.
_SECONDS_MAX = 1e11
_MILLISECOND = timedelta(milliseconds=1)
_encode = msgspec.msgpack.Encoder().encode


def milliseconds(times: list[Any]) -> NDArray[np.int64] | None:
    """Return times as milliseconds since 1970: aware datetimes rounded down, or Unix seconds to the
    nearest. None if one of them is absurd.

    >>> from datetime import UTC
    >>> milliseconds([datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC)]).tolist()
    [1000]
    """
    if type(times[0]) is float:
        return _from_seconds(times)
    data = _encode(times)
    at, done, runs = _header_bytes(len(times)), 0, 0
    found = np.empty(len(times), np.int64)
    while done < len(times):
        layout = _LAYOUTS.get(data[at : at + 2])
        runs += 1
        if layout is None or runs * _RUN > len(times) + _RUN:
            return _one_by_one(times)
        fits = min(len(times) - done, (len(data) - at) // layout.itemsize)
        part = np.frombuffer(data, layout, fits, at)
        other = np.flatnonzero(part["head"] != part["head"][0])
        part = part[: int(other[0])] if len(other) else part
        found[done : done + len(part)] = _from_parts(part)
        done += len(part)
        at += len(part) * layout.itemsize
    return found


def _one_by_one(times: list[Any]) -> NDArray[np.int64] | None:
    found = [
        (time - EPOCH) // _MILLISECOND if type(time) is datetime else _rounded_ms(time)
        for time in times
    ]
    return None if None in found else np.array(found, np.int64)


def _rounded_ms(seconds: float) -> int | None:
    return round(seconds * 1000) if abs(seconds) < _SECONDS_MAX else None


def _from_seconds(seconds: list[Any]) -> NDArray[np.int64] | None:
    if set(map(type, seconds)) != {float}:
        return _one_by_one(seconds)
    found = np.array(seconds, np.float64)
    if not np.abs(found).max() < _SECONDS_MAX:
        return None
    whole: NDArray[np.int64] = np.rint(found * 1000.0).astype(np.int64)
    return whole


def _header_bytes(items: int) -> int:
    """Return how long msgpack's head of an array is."""
    return 1 if items < 16 else 3 if items < 1 << 16 else 5


def _from_parts(part: NDArray[np.void]) -> NDArray[np.int64]:
    if part.dtype == _SECONDS:
        return part["seconds"].astype(np.int64) * 1000
    if part.dtype == _LONG:
        return _joined(part["seconds"].astype(np.int64), part["nanoseconds"].astype(np.int64))
    both = part["both"].astype(np.uint64)
    seconds = (both & np.uint64((1 << 34) - 1)).astype(np.int64)
    return _joined(seconds, (both >> np.uint64(34)).astype(np.int64))


def _joined(seconds: NDArray[np.int64], nanoseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    return seconds * 1000 + nanoseconds // 1_000_000
