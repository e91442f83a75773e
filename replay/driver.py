"""Drives the core over history: blocks in, files out, at full speed or at a multiple of the
stream's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from replay.errors import StrictError
from replay.fates import Counts, counts_of, fates_of
from replay.frames import Ended, Said
from replay.output import Output
from replay.reader import merge_sources
from streams.collector import Block
from streams.collector_state import NEVER_MS
from streams.communities import Communities, Fact
from streams.events import Rejected
from streams.pipeline import Pipeline

__all__ = ["Progress", "Replayed", "replay", "replay_ahead"]


class Progress(NamedTuple):
    """How far a replay has got: events read, the stream's own time, what the last block took."""

    events: int
    watermark_ms: int
    seconds: float


class Replayed(NamedTuple):
    """What a replay came to: the fate of every event, how many appeals were open at the end, how
    long it took in seconds, up to when everything was learned, and what each ledger says.
    """

    fates: dict[str, Any]
    opened: int
    seconds: float
    watermark_ms: int
    ledgers: dict[str, dict[str, Any]]


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
    learner = pipeline.learner
    ledgers = {name: ledger.summary() for name, ledger in learner.ledgers.items()}
    counts = counts_of(pipeline.collectors)
    return _replayed(counts, events, started_s, learner.watermark_ms(), ledgers)


def replay_ahead(
    frames: Iterable[Said | Ended],
    communities: Communities,
    output: Output,
    *,
    strict: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Replayed:
    """Learn from what another process reads and collects: the same facts and rejects, in the same
    order, as `replay` writes.

    Raises
    ------
    StrictError
        At the first reject, if `strict`.
    """
    started_s = time.perf_counter()
    ended, events, watermark_ms = Ended(Counts({}, 0, 0), {}), 0, NEVER_MS
    for frame in frames:
        if isinstance(frame, Ended):
            ended = frame
            continue
        began_s = time.perf_counter()
        if strict and frame.rejects:
            raise StrictError(frame.rejects[0])
        communities.hear(frame.turns)
        output.write(communities.facts, frame.rejects)
        communities.facts.clear()
        events, watermark_ms = frame.events, frame.watermark_ms
        on_progress(Progress(events, watermark_ms, time.perf_counter() - began_s))
    return _replayed(ended.counts, events, started_s, watermark_ms, ended.ledgers)


def _replayed(
    counts: Counts,
    events: int,
    started_s: float,
    watermark_ms: int,
    ledgers: dict[str, dict[str, Any]],
) -> Replayed:
    seconds = time.perf_counter() - started_s
    return Replayed(fates_of(counts, events), counts.opened, seconds, watermark_ms, ledgers)


class _Pace:
    """Cuts blocks into portions, and waits until they are due."""

    PORTION = 200

    def __init__(self, speed: float | None, step_ms: int | None, lateness_ms: int) -> None:
        self._speed = speed
        self._step_ms = step_ms
        self._lateness_ms = lateness_ms
        self._first: tuple[int, float] | None = None

    def portions(self, block: Block) -> Iterator[Block]:
        if self._speed is None and self._step_ms is None:
            yield block
            return
        block = block.plain()
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
        event = block.made_up(index)
        if self._step_ms is None or isinstance(event, Rejected):
            return before
        return (event.time_ms - self._lateness_ms) // self._step_ms

    def _wait(self, part: Block, speed: float) -> None:
        events = zip(part.events, part.times_ms(), strict=True)
        times = [time_ms for event, time_ms in events if not isinstance(event, Rejected)]
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
