"""Second stage: puts what the collectors say into event-time order and gives it to its community.

A collector with watermark W has said everything earlier than W; so what is earlier than the least
of the watermarks is complete, and is worked off in an order that does not depend on partitions:
time, then what happened, then community and id.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from heapq import heappop, heappush
from operator import itemgetter

import msgspec

from models.forecast import Features
from streams.ask import Ask
from streams.community import Community, CommunityState
from streams.events import Checkpoint, Estimate, Level, Opened, Verdict
from streams.settings import Settings

__all__ = ["Envelope", "Learner", "LearnerState"]

Fact = Estimate | Verdict | Level


class Envelope(msgspec.Struct, frozen=True):
    """What one collector said, and how far it had got when it had said it.

    `sequence` is the number of the first of `messages`, counted from 0 as the collector says them
    (to this learner). A collector says the same messages in the same order whatever batches its
    events came in, so after a restart the envelopes may be cut differently, and what is said again
    is still known.
    """

    partition: str
    sequence: int
    watermark_ms: int
    messages: list[Opened | Checkpoint]


class Partition(msgspec.Struct):
    """How far a collector has got."""

    watermark_ms: int
    next_sequence: int = 0


class LearnerState(msgspec.Struct):
    """Everything a learner knows, as plain data."""

    partitions: dict[str, Partition] = {}
    waiting: list[Opened | Checkpoint] = []
    communities: dict[str, CommunityState] = {}
    redelivered: int = 0


class Learner:
    """Orders messages and lets each community learn from its own.

    Parameters
    ----------
    settings
        Thresholds and limits.
    partitions
        Names of all collectors that will speak, so that none is overtaken.
    state
        A state to go on from.
    """

    def __init__(
        self, settings: Settings, partitions: list[str], state: LearnerState | None = None
    ) -> None:
        state = state or LearnerState()
        self.settings = settings
        self.facts: list[Fact] = []
        self.redelivered = state.redelivered
        self.partitions = state.partitions
        for name in partitions:
            self.partitions.setdefault(name, Partition(watermark_ms=-(1 << 62)))
        self.communities = {
            name: Community(name, settings, self.facts, kept)
            for name, kept in state.communities.items()
        }
        self.before_learning: Callable[[Community, Ask, Features], None] | None = None
        self._queue: list[Entry] = []  # a heap
        self._new: list[Entry] = [_entry(m, "", number) for number, m in enumerate(state.waiting)]
        self._worked_off_ms = -(1 << 63)

    def receive(self, envelope: Envelope) -> None:
        """Take an envelope and learn from all that is complete by now."""
        partition = self.partitions[envelope.partition]
        known = partition.next_sequence - envelope.sequence
        assert known >= 0, "an envelope was lost"
        self.redelivered += min(known, len(envelope.messages))
        new = envelope.messages[known:]
        partition.next_sequence += len(new)
        partition.watermark_ms = max(partition.watermark_ms, envelope.watermark_ms)
        first = partition.next_sequence - len(new)
        for number, message in enumerate(new, first):
            self._new.append(_entry(message, envelope.partition, number))
        self._work_off()

    def watermark_ms(self) -> int:
        """Return the time before which everything has been learned."""
        return min(partition.watermark_ms for partition in self.partitions.values())

    def _work_off(self) -> None:
        """Apply what is complete, in order.

        What a collector says is not earlier than its watermark was, so nothing is complete before
        the least of them has risen. Collectors speak nearly in order: where much has come, sorting
        it is little more than a merge, and what is sorted is a heap.
        """
        watermark_ms, queue = self.watermark_ms(), self._queue
        if watermark_ms <= self._worked_off_ms:
            return
        self._worked_off_ms = watermark_ms
        if len(queue) <= SORTED_SHARE * len(self._new):
            queue += self._new
            queue.sort(key=_order)
            complete = bisect_left(queue, watermark_ms, key=_time)
            ready = queue[:complete]
            del queue[:complete]
        else:
            for entry in self._new:
                heappush(queue, entry)
            ready = []
            while queue and queue[0][0] < watermark_ms:
                ready.append(heappop(queue))
        self._new.clear()
        for entry in ready:
            self._learn(entry[2], entry[-1])

    def _learn(self, name: str, message: Opened | Checkpoint) -> None:
        community = self.communities.get(name)
        if community is None:
            community = Community(name, self.settings, self.facts)
            community.before_learning = self.before_learning
            self.communities[name] = community
        community.apply(message)

    def state(self) -> LearnerState:
        """Return everything known, as plain data. Encode it before going on: it shares its parts
        with the learner.
        """
        return LearnerState(
            partitions=self.partitions,
            waiting=[entry[-1] for entry in sorted(self._queue + self._new, key=_order)],
            communities={name: one.state() for name, one in self.communities.items()},
            redelivered=self.redelivered,
        )


# Moment, what, community, appeal; then who said it and as which of its messages, so that no two are
# alike.
Entry = tuple[int, int, str, str, str, int, Opened | Checkpoint]
_order, _time = itemgetter(0, 1, 2, 3, 4, 5), itemgetter(0)

SORTED_SHARE = 8  # a heap so many times as long as what has come is not sorted again

# At one moment, what has come of earlier appeals is known before new ones are judged.
_CHECKED, _OPENED = range(2)


def _entry(message: Opened | Checkpoint, partition: str, number: int) -> Entry:
    if isinstance(message, Opened):
        what, community, appeal_id = _OPENED, message.appeal.community, message.appeal.appeal_id
    else:
        what, community, appeal_id = _CHECKED, message.community, message.appeal_id
    return message.time_ms, what, community, appeal_id, partition, number, message
