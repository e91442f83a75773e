"""A pipeline among faults: logs are delivered in portions, again, late, and across crashes.

A *log* is what one source holds for one partition; a place in it is an offset. A *plan* is a list
of steps, so that a failing one can be read and shrunk. What came out in the end is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
from hypothesis import strategies as st

from streams.codec import Arrived
from streams.collector import Block
from streams.events import (
    Appeal,
    Checkpoint,
    Opened,
    Rejected,
    Response,
    Tick,
)
from streams.facts import encode_fact
from streams.learner import Learner
from streams.pipeline import Pipeline, PipelineState
from streams.settings import Settings
from streams.state import pack, unpack

Event = Appeal | Response | Tick | Rejected


class Log(NamedTuple):
    """Events of one source in one partition, in the order of their offsets."""

    source: str
    partition: int
    events: Sequence[Event]


class Deliver(NamedTuple):
    """Hand over the next `count` events of a log."""

    log: int
    count: int


class Redeliver(NamedTuple):
    """Hand over the last `count` events of a log again, and `more` new ones in the same block."""

    log: int
    count: int
    more: int = 0


class Save(NamedTuple):
    """Write a snapshot."""


class Crash(NamedTuple):
    """Lose everything since the last snapshot, and what had come out since then."""


Step = Deliver | Redeliver | Save | Crash


class Outcome(NamedTuple):
    """What came out: facts a line each; how often each thing was rejected; every event's fate."""

    facts: list[bytes]
    rejects: Counter[tuple[str, str | None, str]]
    fates: dict[str, int]


class Saved(NamedTuple):
    snapshot: bytes
    facts: int
    rejects: int


class Recording(Learner):
    """Learns nothing: says the messages as they are, in the order in which they are entered."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.register.ledgers = Everybody(self.facts)  # type: ignore[assignment]


class Everybody(dict[str, Any]):
    """In place of the ledgers: every community's, which says the messages as they are."""

    def __init__(self, said: list[Any]) -> None:
        super().__init__()
        self.said = said

    def get(self, name: str, default: Any = None) -> Any:
        return self

    def apply(self, message: Opened | Checkpoint, turns: list[Any]) -> None:
        self.said.append(message)


def as_arrived(block: Block) -> Block:
    """The same block with its responses as they are decoded. Ids that are numbers stay such."""
    events: list[Any] = []
    for event in block.events:
        if isinstance(event, Response):
            _, time_ms, identity, *rest = msgspec.structs.astuple(event)
            number = int(identity) if identity and identity.isdigit() else identity
            event = Arrived(event.appeal_id, time_ms / 1000, number, *rest)
        events.append(event)
    times = [getattr(event, "time_ms", 0) for event in block.events]
    return Block(block.source, block.lines, events, block.sources, block.rows, times)


class Simulation:
    """Drives a pipeline through a plan.

    Parameters
    ----------
    learning
        Whether the models run. Without them the messages to the learner, in its order, are what
        comes out: they are all that facts depend on, at a hundredth of the cost.
    """

    def __init__(
        self,
        settings: Settings,
        logs: Sequence[Log],
        learning: bool = False,
        arrived: bool = False,
    ) -> None:
        self.settings = settings
        self.arrived = arrived
        self.logs = logs
        self.partitions = 1 + max((log.partition for log in logs), default=0)
        self.learning = learning
        self.facts: list[bytes] = []
        self.rejects: list[Rejected] = []
        self._start(None)
        for log in logs:
            self.pipeline.declare(log.source, log.partition)
        self._saved = self._save()

    def run(self, plan: Iterable[Step] = ()) -> Outcome:
        """Go through the plan, deliver what is left, and end."""
        for step in plan:
            self._do(step)
        for index, log in enumerate(self.logs):
            self._deliver(index, len(log.events))
        for log in self.logs:
            self.pipeline.finish(log.source, log.partition)
            self._take()
        return self.outcome()

    def outcome(self) -> Outcome:
        rejects = Counter((one.reason, one.field, one.event) for one in self.rejects)
        fates: Counter[str] = Counter()
        for collector in self.pipeline.collectors:
            fates.update(collector.state.fates)
        del fates["redelivered"]
        return Outcome(self.facts, rejects, dict(+fates))

    def _do(self, step: Step) -> None:
        if isinstance(step, Deliver):
            self._deliver(step.log, step.count)
        elif isinstance(step, Redeliver):
            self._deliver(step.log, step.more, again=step.count)
        elif isinstance(step, Save):
            self._saved = self._save()
        else:
            self._crash()

    def _next(self, log: Log) -> int:
        return self.pipeline.collectors[log.partition].state.sources[log.source].next_line

    def _deliver(self, index: int, count: int, again: int = 0) -> None:
        log = self.logs[index % len(self.logs)]
        start = max(0, self._next(log) - again)
        end = min(len(log.events), self._next(log) + count)
        block = Block(log.source, range(start, end), log.events[start:end])
        self.pipeline.receive(as_arrived(block) if self.arrived else block, log.partition)
        self._take()

    def _take(self) -> None:
        facts, rejects = self.pipeline.take()
        self.facts += [_encoded(fact) for fact in facts]
        self.rejects += rejects

    def _save(self) -> Saved:
        return Saved(self.snapshot(), len(self.facts), len(self.rejects))

    def snapshot(self) -> bytes:
        """Return the pipeline's state as bytes."""
        return pack(self.pipeline.state())

    def _crash(self) -> None:
        self._start(unpack(self._saved.snapshot, PipelineState))
        del self.facts[self._saved.facts :]
        del self.rejects[self._saved.rejects :]

    def _start(self, state: PipelineState | None) -> None:
        self.pipeline = Pipeline(self.settings, self.partitions, state)
        if not self.learning:
            names = [str(index) for index in range(self.partitions)]
            kept = None if state is None else state.learner
            self.pipeline.learner = Recording(self.settings, names, kept)


def _encoded(fact: Any) -> bytes:
    if isinstance(fact, Opened | Checkpoint):
        return msgspec.json.encode(fact)
    return encode_fact(fact)


# Arranging events into logs.


def one_log(events: Sequence[Event]) -> list[Log]:
    return [Log("all", 0, events)]


def by_type(events: Sequence[Event]) -> list[Log]:
    """Appeals and responses apart, as two sources."""
    return [
        Log("appeals", 0, [event for event in events if isinstance(event, Appeal)]),
        Log("responses", 0, [event for event in events if not isinstance(event, Appeal)]),
    ]


def by_appeal(events: Sequence[Event], partitions: int) -> list[Log]:
    """By a hash of the appeal's id; ticks go to all."""

    def belongs(event: Event, partition: int) -> bool:
        if isinstance(event, Appeal | Response):
            return crc32(event.appeal_id.encode()) % partitions == partition
        return True

    return [
        Log("all", partition, [event for event in events if belongs(event, partition)])
        for partition in range(partitions)
    ]


def plans(logs: int) -> st.SearchStrategy[list[Step]]:
    """Faults and deliveries in any order."""
    log, few = st.integers(0, logs - 1), st.integers(0, 8)
    step = st.one_of(
        st.builds(Deliver, log, st.integers(1, 8)),
        st.builds(Redeliver, log, few, few),
        st.builds(Save),
        st.builds(Crash),
    )
    return st.lists(step, max_size=20)
