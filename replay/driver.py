"""Drives the core over history: blocks in, files out, at full speed or at a multiple of the
stream's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from replay.output import Output
from replay.reader import merge_sources
from streams.codec import REASONS
from streams.collector import Block
from streams.events import Rejected
from streams.learner import Fact
from streams.pipeline import Pipeline

__all__ = ["Progress", "Replayed", "StrictError", "replay"]


class StrictError(Exception):
    """The first reject, where none is to be borne."""

    def __init__(self, reject: Rejected) -> None:
        super().__init__(f"{reject.source}:{reject.line}: {reject.reason} {reject.field or ''}")
        self.reject = reject


class Progress(NamedTuple):
    """How far a replay has got: events read, and the stream's own time."""

    events: int
    watermark_ms: int


class Replayed(NamedTuple):
    """What a replay came to: every event's fate, and how long it took in seconds."""

    fates: dict[str, int]
    seconds: float


def replay(
    pipeline: Pipeline,
    sources: dict[str, Iterator[Block]],
    output: Output,
    *,
    strict: bool = False,
    speed: float | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_facts: Callable[[Iterable[Fact]], None] = lambda _: None,
) -> Replayed:
    """Read all sources to their end.

    Parameters
    ----------
    speed
        Event time over real time; None: as fast as it goes.
    on_progress, on_facts
        Hear of progress and of facts, after each block.

    Raises
    ------
    StrictError
        At the first reject, if `strict`.
    """
    started_s = time.perf_counter()
    events = 0
    pace = _Pace(speed)
    for name in sources:
        pipeline.declare(name)
    for name, block in merge_sources(sources):
        for part in [None] if block is None else pace.portions(block):
            if part is None:
                pipeline.finish(name)
            else:
                pipeline.receive(part)
                events += len(part.events)
            facts, rejects = pipeline.take()
            if strict and rejects:
                raise StrictError(rejects[0])
            output.write(facts, rejects)
            on_facts(facts)
            on_progress(Progress(events, pipeline.learner.watermark_ms()))
    return Replayed(_fates(pipeline, events), time.perf_counter() - started_s)


class _Pace:
    """Cuts blocks into portions that are due, and waits until they are."""

    PORTION = 200

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._first: tuple[int, float] | None = None

    def portions(self, block: Block) -> Iterable[Block]:
        if self._speed is None:
            return [block]
        return self._slowly(block, self._speed)

    def _slowly(self, block: Block, speed: float) -> Iterator[Block]:
        for start in range(0, len(block.events), self.PORTION):
            end = start + self.PORTION
            part = Block(block.source, block.lines[start:end], block.events[start:end])
            self._wait(part, speed)
            yield part

    def _wait(self, part: Block, speed: float) -> None:
        times = [event.time_ms for event in part.events if not isinstance(event, Rejected)]
        if not times:
            return
        if self._first is None:
            self._first = (times[0], time.perf_counter())
        due_s = self._first[1] + (times[-1] - self._first[0]) / 1000.0 / speed
        time.sleep(max(0.0, due_s - time.perf_counter()))


def _fates(pipeline: Pipeline, events: int) -> dict[str, Any]:
    """Return every event's fate. They add up, or the program is wrong."""
    total: dict[str, int] = {}
    for collector in pipeline.collectors:
        for fate, number in collector.state.fates.items():
            total[fate] = total.get(fate, 0) + number
    counted = {name: total.pop(name, 0) for name in ("appeals", "responses", "exits", "ticks")}
    redelivered = total.pop("redelivered", 0)
    rejects = {reason: total.pop(reason) for reason in REASONS if reason in total}
    assert not total, f"fates nobody knows: {total}"
    assert sum(counted.values()) + redelivered + sum(rejects.values()) == events
    return {
        "read": events,
        **counted,
        "redelivered": redelivered,
        "rejected": sum(rejects.values()),
        "rejected_by_reason": rejects,
    }
