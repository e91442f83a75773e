"""Simulated events as JSON lines, many at a time.

Ten million lines leave no time to build each: a block of responses becomes one matrix of bytes, a
row per line, in which what a line lacks is zero, and the zeros are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from replay.world import DAY_MS
from streams.codec import rfc3339
from streams.events import Appeal

__all__ = ["APPEALER_BASE", "Responses", "appeal_line", "response_rows", "rfc3339"]

# Responders below are members of the public, u0000000 to u9999999; from here on, appealers.
APPEALER_BASE = 10_000_000
FLAGS = frozenset({"brand", "synthetic"})  # attributes that are true or false in JSON
VALUE_CENTS_MAX = 9_999_999

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_FOUR_DIGITS: Bytes = np.array([f"{n:04d}".encode() for n in range(10_000)]).view(np.uint8)
_FOUR_DIGITS = _FOUR_DIGITS.reshape(-1, 4)


class Responses(NamedTuple):
    """Responses as columns: index of the appeal, responder's number, cents (-1: no value), exit."""

    time_ms: Ints
    appeal: Ints
    responder: Ints
    cents: Ints
    exit: NDArray[np.bool_]

    def take(self, index: Ints | slice) -> Responses:
        """Return the responses at an index, or of a slice."""
        return Responses(
            time_ms=self.time_ms[index],
            appeal=self.appeal[index],
            responder=self.responder[index],
            cents=self.cents[index],
            exit=self.exit[index],
        )


def appeal_line(appeal: Appeal) -> bytes:
    """Return an appeal as a JSON line, newline included."""
    event = {
        "type": "appeal",
        "appeal_id": appeal.appeal_id,
        "time": rfc3339(appeal.time_ms),
        "appealer": appeal.appealer,
        "kind": appeal.kind,
        "audience": appeal.audience,
        "community": appeal.community,
        "community_size": appeal.community_size,
        "reach": appeal.reach,
        "attributes": {
            name: bool(value) if name in FLAGS else value
            for name, value in appeal.attributes.items()
        },
    }
    return msgspec.json.encode(event) + b"\n"


def response_rows(responses: Responses) -> Bytes:
    """Return responses as rows of bytes, shape (responses, width); zeros are to be dropped.

    >>> rows = response_rows(Responses(*(np.array([n]) for n in (0, 3, 77, 2500, True))))
    >>> print(rows[rows != 0].tobytes().decode().strip())
    {"type":"response","appeal_id":"a00000003","time":"1970-01-01T00:00:00.000Z","responder":"u0000077","value":25.00,"exit":true}
    """
    if len(responses.time_ms) == 0:
        return np.empty((0, 0), dtype=np.uint8)
    columns = list(_columns(responses))
    rows = np.empty((len(responses.time_ms), sum(c.shape[-1] for c in columns)), dtype=np.uint8)
    at = 0
    for column in columns:
        rows[:, at : at + column.shape[-1]] = column
        at += column.shape[-1]
    return rows


def _columns(responses: Responses) -> Iterator[Bytes]:
    yield _text(b'{"type":"response","appeal_id":"a')
    yield _digits(responses.appeal, 8)
    yield _text(b'","time":"')
    yield from _times(responses.time_ms)
    yield _text(b'","responder":"')
    yield np.where(responses.responder < APPEALER_BASE, ord("u"), ord("p"))[:, None].astype("u1")
    yield _digits(responses.responder % APPEALER_BASE, 7)
    yield _text(b'"')
    yield from _values(responses.cents)
    yield _text(b',"exit":true') * responses.exit[:, None]
    yield _text(b"}\n")


def _times(time_ms: Ints) -> Iterator[Bytes]:
    day, of_day = np.divmod(time_ms, DAY_MS)
    first = day.min()
    dates = np.arange(first, day.max() + 1).astype("datetime64[D]").astype("S10")
    yield dates.view(np.uint8).reshape(-1, 10)[day - first]
    seconds, thousandths = np.divmod(of_day, 1000)
    minutes, second = np.divmod(seconds, 60)
    hour, minute = np.divmod(minutes, 60)
    for mark, number, width in ((b"T", hour, 2), (b":", minute, 2), (b":", second, 2)):
        yield _text(mark)
        yield _digits(number, width)
    yield _text(b".")
    yield _digits(thousandths, 3)
    yield _text(b"Z")


def _values(cents: Ints) -> Iterator[Bytes]:
    """Yield the optional value with its two decimals, without leading zeros (JSON has none)."""
    given = (cents >= 0)[:, None]
    whole, rest = np.divmod(np.maximum(cents, 0), 100)
    leading = whole[:, None] < 10 ** np.arange(4, -1, -1)
    leading[:, -1] = False
    yield _text(b',"value":') * given
    yield np.where(leading, 0, _digits(whole, 5)).astype(np.uint8) * given
    yield _text(b".") * given
    yield _digits(rest, 2) * given


def _text(text: bytes) -> Bytes:
    return np.frombuffer(text, dtype=np.uint8)[None, :]


def _digits(number: Ints, width: int) -> Bytes:
    """Return numbers as digits, shape (n, width), width <= 8."""
    high, low = np.divmod(number, 10_000)
    both = (low,) if width <= 4 else (high, low)
    return np.concatenate([_FOUR_DIGITS[part] for part in both], axis=1)[:, -width:]
