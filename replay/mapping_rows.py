"""Columns to events: Arrow batches of two sorted tables become blocks in one order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.events import Appeal, Rejected, Response

__all__ = ["Block", "Event", "Rows", "appeal_rows", "merged", "response_rows"]

Event = Appeal | Response | Rejected
# Rejected rows without a usable time come before everything else.
_NO_TIME = np.iinfo(np.int64).min


class Block(NamedTuple):
    """Some events in order, and where each stood: the data row (from 1) of a file or table.

    `sources` names the file of each event, where they differ from `source`.
    """

    source: str
    lines: Sequence[int]
    events: list[Event]
    sources: Sequence[str] = ()

    def place(self, i: int) -> tuple[str, int]:
        """Return the source and line of event `i`.

        >>> Block("gifts.csv", [7], []).place(0)
        ('gifts.csv', 7)
        """
        return (self.sources[i] if self.sources else self.source), self.lines[i]


class Rows(NamedTuple):
    """Events of one kind in order: time_ms, shape (n,), int64, and lists of length n."""

    time_ms: NDArray[np.int64]
    lines: list[int]
    sources: list[str]
    events: list[Event]

    def split(self, n: int) -> tuple[Rows, Rows]:
        """Return the first `n` and the rest."""
        time_ms, lines, sources, events = self
        return (
            Rows(time_ms[:n], lines[:n], sources[:n], events[:n]),
            Rows(time_ms[n:], lines[n:], sources[n:], events[n:]),
        )


Made = Callable[[dict[str, Any], list[int], int], list[Event]]


def appeal_rows(batch: pa.RecordBatch, names: Sequence[str]) -> Rows:
    """Return the rows of a batch of appeals; `names` are those of the sources."""
    return _rows(batch, names, _appeals)


def response_rows(batch: pa.RecordBatch, names: Sequence[str]) -> Rows:
    """Return the rows of a batch of responses; `names` are those of the sources."""
    return _rows(batch, names, _responses)


def merged(name: str, appeals: Iterator[Rows], responses: Iterator[Rows]) -> Iterator[Block]:
    """Merge two streams, each sorted, by time; at the same instant appeals before responses."""
    first, second = next(appeals, None), next(responses, None)
    while first is not None and second is not None:
        # What is certain not to be preceded by a batch still to come goes out; an appeal yet unread
        # may share the last instant seen of the appeals.
        if first.time_ms[-1] <= second.time_ms[-1]:
            n = int(np.searchsorted(second.time_ms, first.time_ms[-1], side="left"))
            out, second = second.split(n)
            yield _block(name, first, out)
            first = next(appeals, None)
        else:
            n = int(np.searchsorted(first.time_ms, second.time_ms[-1], side="right"))
            out, first = first.split(n)
            yield _block(name, out, second)
            second = next(responses, None)
    for rest, more in ((first, appeals), (second, responses)):
        while rest is not None:
            yield Block(name, rest.lines, rest.events, rest.sources)
            rest = next(more, None)


def _block(name: str, appeals: Rows, responses: Rows) -> Block:
    if not responses.events or not appeals.events:
        rows = appeals if appeals.events else responses
        return Block(name, rows.lines, rows.events, rows.sources)
    order = np.argsort(np.concatenate((appeals.time_ms, responses.time_ms)), kind="stable").tolist()
    return Block(
        name,
        _picked(appeals.lines + responses.lines, order),
        _picked(appeals.events + responses.events, order),
        _picked(appeals.sources + responses.sources, order),
    )


def _picked(values: list[Any], order: list[int]) -> list[Any]:
    return [values[i] for i in order]


def _rows(batch: pa.RecordBatch, names: Sequence[str], made: Made) -> Rows:
    times = batch.column("time_ms").fill_null(_NO_TIME)
    time_ms: NDArray[np.int64] = times.to_numpy(zero_copy_only=False)
    lines = batch.column("row").to_pylist()
    sources = [names[i] for i in batch.column("source").to_pylist()]
    columns = {
        name: batch.column(name).to_pylist()
        for name in batch.schema.names
        if name not in ("source", "row", "time_ms", "fault", "event")
    }
    events = made(columns, times.to_pylist(), batch.num_rows)
    if batch.column("fault").null_count < batch.num_rows:
        _reject(events, batch, sources, lines)
    return Rows(time_ms, lines, sources, events)


def _responses(columns: dict[str, Any], times: list[int], _: int) -> list[Event]:
    return list(
        map(
            Response,
            columns["appeal_id"],
            times,
            columns.get("response_id", repeat(None)),
            columns.get("responder", repeat(None)),
            columns.get("value", repeat(None)),
            columns.get("count", repeat(1)),
            columns.get("exit", repeat(False)),
        )
    )


def _appeals(columns: dict[str, Any], times: list[int], n: int) -> list[Event]:
    return list(
        map(
            Appeal,
            columns["appeal_id"],
            times,
            columns["appealer"],
            columns["kind"],
            columns["audience"],
            columns["community"],
            columns["reach"],
            columns.get("community_size", repeat(None)),
            _attributes(columns, n),
        )
    )


def _attributes(columns: dict[str, Any], n: int) -> Iterable[dict[str, float]]:
    """A dict for each row, as the codec: numbers as they are, a text as `name=text`: 1."""
    named = {
        name.removeprefix("attributes."): columns[name]
        for name in sorted(columns)
        if name.startswith("attributes.")
    }
    if not named:
        return ({} for _ in range(n))
    rows = zip(*named.values(), strict=True)
    return (dict(_pairs(named, row)) for row in rows)


def _pairs(names: Iterable[str], row: tuple[Any, ...]) -> Iterator[tuple[str, float]]:
    for name, value in zip(names, row, strict=True):
        if isinstance(value, str):
            yield _indicator(name, value)
        elif value is not None:
            yield name, value


def _indicator(name: str, text: str) -> tuple[str, float]:
    """A text that is a number stands in a damaged column of numbers, and is one still."""
    try:
        number = float(text)
    except ValueError:
        return f"{name}={text}", 1.0
    return (name, number) if np.isfinite(number) else (f"{name}={text}", 1.0)


def _reject(
    events: list[Event], batch: pa.RecordBatch, sources: list[str], lines: list[int]
) -> None:
    faults = batch.column("fault").to_pylist()
    texts = batch.column("event").to_pylist()
    for i, fault in enumerate(faults):
        if fault is not None:
            reason, _, field = fault.partition(":")
            events[i] = Rejected(sources[i], lines[i], reason, field or None, texts[i] or "")
