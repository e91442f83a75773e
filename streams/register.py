"""Second stage: puts what the collectors say into event-time order and enters it into the ledger of
its community.

A collector with watermark W has said everything earlier than W; so what is earlier than the least
of the watermarks is complete, and is worked off in an order that does not depend on partitions:
time, then what happened, then community and id.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from heapq import heappop, heappush
from operator import itemgetter

import msgspec

from streams.contest import Scores
from streams.events import Checkpoint, Opened
from streams.ledger import Ledger, LedgerState
from streams.settings import Settings
from streams.turns import Turn

__all__ = ["Envelope", "Partition", "Register"]

SORTED_SHARE = 8  # a heap so many times as long as what has come is not sorted again

# At one moment, what has come of earlier appeals is known before new ones are judged.
_CHECKED, _OPENED = range(2)

# Moment, what, community, appeal; then who said it and as which of its messages, so that no two are
# alike and messages themselves are never compared.
Entry = tuple[int, int, str, str, str, int, Opened | Checkpoint]
_time = itemgetter(0)


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


class Register:
    """Orders messages and keeps the ledgers.

    Parameters
    ----------
    settings
        Thresholds and limits.
    partitions
        Names of all collectors that will speak, so that none is overtaken.
    known
        How far those have got of which something is known; taken over, not copied.
    waiting
        What they said that is not complete yet.
    ledgers
        States of the ledgers, by community.
    redelivered
        How many messages have come again so far.

    Attributes
    ----------
    turns
        What the ledgers have said, to be taken away.
    on_scores
        Hears of the challengers' scores, by community, in communities that begin from now on.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: list[str],
        known: dict[str, Partition] | None = None,
        waiting: list[Opened | Checkpoint] | None = None,
        ledgers: Mapping[str, LedgerState] | None = None,
        redelivered: int = 0,
    ) -> None:
        self.settings = settings
        self.turns: list[Turn] = []
        self.on_scores: Callable[[str, Scores], None] | None = None
        self.redelivered = redelivered
        self.partitions = {} if known is None else known
        for name in partitions:
            self.partitions.setdefault(name, Partition(watermark_ms=-(1 << 62)))
        self.ledgers = {
            name: Ledger(name, settings, kept) for name, kept in (ledgers or {}).items()
        }
        self._queue: list[Entry] = []  # a heap
        self._new = _entries(waiting or [], "", 0)
        self._worked_off_ms = -(1 << 63)

    def receive(self, envelope: Envelope) -> None:
        """Take an envelope and enter all that is complete by now."""
        partition = self.partitions[envelope.partition]
        known = partition.next_sequence - envelope.sequence
        assert known >= 0, "an envelope was lost"
        self.redelivered += min(known, len(envelope.messages))
        new = envelope.messages[known:]
        first = partition.next_sequence
        partition.next_sequence += len(new)
        partition.watermark_ms = max(partition.watermark_ms, envelope.watermark_ms)
        self._new += _entries(new, envelope.partition, first)
        ledgers, turns = self.ledgers, self.turns
        for entry in self._complete():
            ledger = ledgers.get(entry[2])
            if ledger is None:
                ledger = self._begin(entry[2])
            ledger.apply(entry[6], turns)

    def _begin(self, name: str) -> Ledger:
        ledger = self.ledgers[name] = Ledger(name, self.settings)
        if self.on_scores is not None:
            ledger.contest.on_scores = partial(self.on_scores, name)
        return ledger

    def watermark_ms(self) -> int:
        """Return the time before which everything has been entered."""
        return min(partition.watermark_ms for partition in self.partitions.values())

    def waiting(self) -> list[Opened | Checkpoint]:
        """Return what is not complete yet, in order."""
        return [entry[-1] for entry in sorted(self._queue + self._new)]

    def _complete(self) -> list[Entry]:
        """Take what is complete out of the queue, in order.

        What a collector says is not earlier than its watermark was, so nothing is complete before
        the least of them has risen. Collectors speak nearly in order: where much has come, sorting
        it is little more than a merge, and what is sorted is a heap.
        """
        watermark_ms, queue = self.watermark_ms(), self._queue
        if watermark_ms <= self._worked_off_ms:
            return []
        self._worked_off_ms = watermark_ms
        if len(queue) <= SORTED_SHARE * len(self._new):
            queue += self._new
            queue.sort()
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
        return ready


def _entries(messages: Iterable[Opened | Checkpoint], partition: str, number: int) -> list[Entry]:
    return [
        (m.time_ms, _CHECKED, m.community, m.appeal_id, partition, said, m)
        if type(m) is Checkpoint
        else _opened(m, partition, said)
        for said, m in enumerate(messages, number)
    ]


def _opened(message: Opened | Checkpoint, partition: str, said: int) -> Entry:
    assert type(message) is Opened
    appeal = message.appeal
    community, appeal_id = appeal.community, appeal.appeal_id
    return message.time_ms, _OPENED, community, appeal_id, partition, said, message
