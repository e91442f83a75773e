"""Drives the core over history: blocks in, files out, at full speed or at a multiple of the
stream's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from replay.errors import StrictError
from replay.output import Output
from replay.reader import merge_sources
from streams.codec import REASONS
from streams.collector import Block
from streams.events import Rejected
from streams.learner import Fact
from streams.pipeline import Pipeline

__all__ = ["Progress", "Replayed", "replay"]


class Progress(NamedTuple):
    """How far a replay has got: events read, the stream's own time, what the last block took."""

    events: int
    watermark_ms: int
    seconds: float


class Replayed(NamedTuple):
    """What a replay came to: every event's fate, and how long it took in seconds."""

    fates: dict[str, Any]
    seconds: float


def replay(
    pipeline: Pipeline,
    sources: dict[str, Iterator[Block]],
    output: Output,
    *,
    strict: bool = False,
    finish: bool = True,
    speed: float | None = None,
    step_ms: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_facts: Callable[[Iterable[Fact]], None] = lambda _: None,
) -> Replayed:
    """Read all sources to their end.

    Parameters
    ----------
    finish
        Take the end of a source for the end of its events. Not so where a log is read that goes
        on: what a worker could not know when it had read so far is not said then.
    speed
        Event time over real time; None: as fast as it goes.
    step_ms
        Cut blocks where the watermark passes a multiple of this, so that who listens hears how
        things stood just before; None: they are left whole.
    on_progress, on_facts
        Hear of progress and of facts, after each block.

    Raises
    ------
    StrictError
        At the first reject, if `strict`.
    """
    started_s = time.perf_counter()
    events = 0
    pace = _Pace(speed, step_ms, pipeline.settings.allowed_lateness_ms)
    for name in sources:
        pipeline.declare(name)
    for name, block in merge_sources(sources):
        for part in [None] if block is None else pace.portions(block):
            began_s = time.perf_counter()
            if part is None:
                if finish:
                    pipeline.finish(name)
            else:
                pipeline.receive(part)
                events += len(part.events)
            facts, rejects = pipeline.take()
            if strict and rejects:
                raise StrictError(rejects[0])
            output.write(facts, rejects)
            on_facts(facts)
            seconds = time.perf_counter() - began_s
            on_progress(Progress(events, pipeline.learner.watermark_ms(), seconds))
    return Replayed(_fates(pipeline, events), time.perf_counter() - started_s)


class _Pace:
    """Cuts blocks into portions, and waits until they are due."""

    PORTION = 200

    def __init__(self, speed: float | None, step_ms: int | None, lateness_ms: int) -> None:
        self._speed = speed
        self._step_ms = step_ms
        self._lateness_ms = lateness_ms
        self._first: tuple[int, float] | None = None

    def portions(self, block: Block) -> Iterator[Block]:
        start = 0
        for end in self._ends(block):
            whole = end - start == len(block.events)
            part = block if whole else _part(block, slice(start, end))
            if self._speed is not None:
                self._wait(part, self._speed)
            yield part
            start = end

    def _ends(self, block: Block) -> Iterator[int]:
        count = len(block.events)
        longest = max(count, 1) if self._speed is None else self.PORTION
        start, step = 0, None
        for index in range(count) if self._step_ms else range(0, count, longest):
            now = self._step(block, index, step)
            if index > start and (now != step or index - start >= longest):
                yield index
                start = index
            step = now
        yield count

    def _step(self, block: Block, index: int, before: int | None) -> int | None:
        event = block.events[index]
        if self._step_ms is None or isinstance(event, Rejected):
            return before
        return (event.time_ms - self._lateness_ms) // self._step_ms

    def _wait(self, part: Block, speed: float) -> None:
        times = [event.time_ms for event in part.events if not isinstance(event, Rejected)]
        if not times:
            return
        if self._first is None:
            self._first = (times[0], time.perf_counter())
        due_s = self._first[1] + (times[-1] - self._first[0]) / 1000.0 / speed
        time.sleep(max(0.0, due_s - time.perf_counter()))


def _part(block: Block, part: slice) -> Block:
    return Block(
        block.source, block.lines[part], block.events[part], block.sources[part], block.rows[part]
    )


def _fates(pipeline: Pipeline, events: int) -> dict[str, Any]:
    """Return every event's fate. They add up, or the program is wrong."""
    total: dict[str, int] = {}
    for collector in pipeline.collectors:
        for fate, number in collector.state.fates.items():
            total[fate] = total.get(fate, 0) + number
    counted = {name: total.pop(name, 0) for name in ("appeals", "responses", "exits", "ticks")}
    redelivered = total.pop("redelivered", 0)
    rejects = {reason: total.pop(reason) for reason in REASONS if reason in total}
    states = [collector.state for collector in pipeline.collectors]
    waiting = sum(state.held_count + state.pending_count for state in states)
    assert not total, f"fates nobody knows: {total}"
    assert sum(counted.values()) + redelivered + sum(rejects.values()) + waiting == events
    return {
        "read": events,
        **counted,
        "redelivered": redelivered,
        "waiting": waiting,
        "rejected": sum(rejects.values()),
        "rejected_by_reason": rejects,
    }
