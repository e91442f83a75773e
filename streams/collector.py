"""First stage: joins responses to open appeals and counts them by age. One collector a partition.

It carries all the volume, so a response costs a look-up and two additions (in plain lines less:
streams.collector_lines). Counting commutes: until
the watermark passes a checkpoint, the order of arrival leaves no trace. What does not commute
(which of two events with one id counts) is decided by the events themselves, never by which came
first.

The watermark W of a collector is the least over its sources of (newest event time - allowed
lateness): every event earlier than W has come. An appeal opens when W passes its time, so until
then its responses are *held*, like those whose appeal has not come at all; a checkpoint is taken
when W reaches it. Ids of closed appeals are remembered for one horizon more.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush, heapreplace
from itertools import count, islice
from typing import Any
from zlib import crc32

import msgspec

from models.ages import AgeGrid
from streams.codec import Arrived
from streams.collector_state import NEVER_MS, Block, CollectorState, Pending, Source
from streams.events import Appeal, Checkpoint, Opened, Rejected, Response, Tick
from streams.open_appeal import MICROS, Held, OpenAppeal
from streams.packing import HASH_BYTES
from streams.settings import Settings

__all__ = ["Block", "Collector", "CollectorState"]

# Held responses expire in batches, so many to the allowed lateness.
_EXPIRIES = 4


class Collector:
    """Joins, counts, and says when an appeal opened, how it stood at an age, and what was rejected.

    Parameters
    ----------
    settings
        The horizon, the allowed lateness and the limits.
    state
        A state to go on from; it is taken over, not copied.
    """

    def __init__(self, settings: Settings, state: CollectorState | None = None) -> None:
        self.settings = settings
        self.grid = AgeGrid(settings.horizon_ms)
        self.state = state or CollectorState()
        self.messages: list[Opened | Checkpoint] = []
        self.rejects: list[Rejected] = []
        self._bin_of_slot = self.grid.bins_by_slot()
        self._step_ages_ms = [self.grid.edges_ms[bins - 1] for bins in self.grid.checkpoints]
        self._horizon_ms = settings.horizon_ms
        self._lateness_ms = settings.allowed_lateness_ms
        self._expiry_ms = settings.allowed_lateness_ms // _EXPIRIES + 1
        self._agenda: list[tuple[int, int, str]] = []
        self._does = (self._open, self._expire, self._check, self._forget)  # by what is planned
        self._restore_agenda()

    # What comes in.

    def declare(self, source: str) -> None:
        """Say that events of `source` will come, so that the watermark waits for them.

        It never falls: of a source that comes later, what lies behind the watermark is late.
        """
        if source not in self.state.sources:
            newest_ms = self.watermark_ms() + self._lateness_ms
            self.state.sources[source] = Source(newest_ms=newest_ms)

    def finish(self, source: str) -> None:
        """Say that `source` has ended. When all have, the watermark passes the newest event."""
        self.state.sources[source].finished = True
        self._advance(self.watermark_ms())

    def finished(self) -> bool:
        """Return whether all sources have ended."""
        return all(source.finished for source in self.state.sources.values())

    def end(self, watermark_ms: int) -> None:
        """Say that everything has ended, here and in the other partitions, which got so far."""
        assert self.finished()
        self.state.ended_ms = watermark_ms
        self._advance(self.watermark_ms())
        for appeal_id, batches in sorted(self.state.held.items()):
            for due_ms in sorted(batches):
                self._expire(appeal_id, due_ms)

    def watermark_ms(self) -> int:
        """Return W: every event earlier than this has come."""
        return self.state.watermark_ms(self._lateness_ms)

    def receive(self, block: Block) -> None:
        """Apply a block. What was applied before (by line or offset) is counted as redelivered."""
        self.declare(block.source)
        source = self.state.sources[block.source]
        start = bisect_left(block.lines, source.next_line)
        self._count("redelivered", start)
        if start == len(block.lines):
            return
        assert not source.finished, f"{block.source}: an event after the end"
        self._apply(source, block, start)
        source.next_line = block.lines[-1] + 1

    def _apply(self, source: Source, block: Block, start: int) -> None:
        """The hot loop: half a microsecond for a response that is an object."""
        opened: dict[Any, OpenAppeal] = self.state.opened  # ids may arrive as numbers
        opened_get, bin_of_slot = opened.get, self._bin_of_slot
        fine_ms, coarse_from_ms = self.grid.fine_ms, self.grid.coarse_from_ms
        fine_slots, coarse_ms = self.grid.fine_slots, self.grid.coarse_ms
        horizon_ms, lateness_ms = self._horizon_ms, self._lateness_ms
        sampled, responses = self.settings.responders_sampled, 0
        sampled_max = 2 * HASH_BYTES * sampled
        others_ms = self.state.others_ms(block.source)
        newest_ms, alarm_ms = source.newest_ms, self._due_ms() + lateness_ms
        events = zip(count(), block.events, block.times_ms(), strict=False)
        for index, event, time_ms in islice(events, start, None):
            if type(event) is not Arrived and type(event) is not Response:
                source.newest_ms = newest_ms
                self._apply_other(source, block, index)
                newest_ms, alarm_ms = source.newest_ms, self._due_ms() + lateness_ms
                continue
            if time_ms > newest_ms:
                newest_ms = time_ms
                if time_ms >= alarm_ms:
                    source.newest_ms = newest_ms
                    due_ms = self._advance(min(newest_ms, others_ms) - lateness_ms)
                    alarm_ms = due_ms + lateness_ms
            elif time_ms + lateness_ms < newest_ms and time_ms + lateness_ms < others_ms:
                self._reject(block, index, "late", "time")
                continue
            appeal = opened_get(event.appeal_id)
            if appeal is None and type(event.appeal_id) is int:
                appeal = opened_get(str(event.appeal_id))
            if appeal is None or event.response_id is not None or event.exit:
                source.newest_ms = newest_ms
                self._apply_apart(block.held(index, time_ms), appeal)
                alarm_ms = self._due_ms() + lateness_ms
                continue
            age_ms = time_ms - appeal.time_ms  # above 0, for what is older than W is late
            if age_ms < coarse_from_ms:
                slot = age_ms // fine_ms
            elif age_ms < horizon_ms:
                slot = fine_slots + (age_ms - coarse_from_ms) // coarse_ms
            else:
                self._apply_apart(block.held(index, time_ms), appeal)
                continue
            responses += 1
            number, slots, index_of_bin = event.count, appeal.slots, bin_of_slot[slot]
            slots[slot] = slots[slot] + number if slot in slots else number
            appeal.bins[index_of_bin] += number
            responder = event.responder
            if responder is not None:
                hashed = crc32(responder.encode())
                if hashed < appeal.responder_below:
                    responders = appeal.responders
                    responders += hashed.to_bytes(HASH_BYTES, "little")
                    if len(responders) > sampled_max:
                        appeal.forget_responders(sampled)
            if event.value is not None:
                appeal.add_value(round(event.value * MICROS))
        source.newest_ms = newest_ms
        self._count("responses", responses)

    def _apply_apart(self, held: Held, appeal: OpenAppeal | None) -> None:
        """Hold a response that has no open appeal, or count one that is out of the ordinary."""
        if appeal is None:
            self._hold(held)
        else:
            self._count_apart(appeal, held)

    def _apply_other(self, source: Source, block: Block, index: int) -> None:
        event = block.made_up(index)
        if isinstance(event, Rejected):
            self._count(event.reason, 1)
            self.rejects.append(event)
            return
        if event.time_ms < self.watermark_ms():
            if isinstance(event, Tick):
                self._count("ticks", 1)
            else:
                known = self._is_known(event.appeal_id, event.time_ms)
                self._reject(block, index, "duplicate" if known else "late", "time")
            return
        if isinstance(event, Appeal):
            self._await(Pending(*block.place(index), event))
        else:
            self._count("ticks", 1)
        self._see(source, event)

    def _see(self, source: Source, event: Appeal | Response | Tick) -> None:
        if event.time_ms > source.newest_ms:
            source.newest_ms = event.time_ms
            self._advance(self.watermark_ms())

    # Appeals.

    def _is_known(self, appeal_id: str, time_ms: int) -> bool:
        since_ms = self.state.known_since_ms(appeal_id)
        return since_ms is not None and time_ms < since_ms + 2 * self._horizon_ms

    def _await(self, new: Pending) -> None:
        state, appeal = self.state, new.appeal
        if self._is_known(appeal.appeal_id, appeal.time_ms):
            self._reject_at(new.source, new.line, appeal, "duplicate", "appeal_id")
        elif state.pending_count + len(state.opened) >= self.settings.open_appeals_max:
            self._reject_at(new.source, new.line, appeal, "over_limit", "appeal_id")
        else:
            due_ms = appeal.time_ms + 1
            state.pending.setdefault((due_ms, appeal.appeal_id), []).append(new)
            state.pending_count += 1
            self._plan(due_ms, _OPEN, appeal.appeal_id)

    def _open(self, appeal_id: str, due_ms: int) -> None:
        """Of appeals with one id the earliest counts, and of those at one moment the least."""
        found = self.state.pending.pop((due_ms, appeal_id), [])
        if len(found) > 1:
            found.sort(key=Pending.key)
        for pending in found:
            self.state.pending_count -= 1
            appeal = pending.appeal
            if self._is_known(appeal_id, appeal.time_ms):
                self._reject_at(pending.source, pending.line, appeal, "duplicate", "appeal_id")
            else:
                self._begin(appeal)

    def _begin(self, appeal: Appeal) -> None:
        appeal_id, sampled = appeal.appeal_id, self.settings.responders_sampled
        self.state.closed.pop(appeal_id, None)
        opened = self.state.opened[appeal_id] = self._to_open(appeal)
        self._count("appeals", 1)
        self.messages.append(Opened(appeal.time_ms, appeal))
        self._plan_step(opened)
        rest = []
        for batch in self.state.held.pop(appeal_id, {}).values():
            self.state.held_count -= len(batch)
            apart = opened.count_early(batch, self.grid, self._bin_of_slot, sampled)
            self._count("responses", len(batch) - len(apart))
            rest += apart
        for held in sorted(rest, key=Held.place):
            self._count_apart(opened, held)

    def _to_open(self, appeal: Appeal) -> OpenAppeal:
        bins = [0] * self.grid.bins
        return OpenAppeal(appeal.appeal_id, appeal.community, appeal.time_ms, bins)

    def _plan_step(self, appeal: OpenAppeal) -> None:
        self._plan(appeal.time_ms + self._step_ages_ms[appeal.step], _CHECK, appeal.appeal_id)

    def _check(self, appeal_id: str, due_ms: int) -> None:
        """Say how an appeal stands at its last checkpoint; those before are `_advance`'s."""
        appeal = self.state.opened.pop(appeal_id)
        self.messages.append(appeal.last_checkpoint(due_ms, self.settings.responders_sampled))
        self.state.response_ids -= len(appeal.settled)
        self.state.closed[appeal_id] = appeal.time_ms
        self._plan(appeal.time_ms + 2 * self._horizon_ms, _FORGET, appeal_id)

    def _forget(self, appeal_id: str, due_ms: int) -> None:
        if self.state.closed.get(appeal_id, due_ms) + 2 * self._horizon_ms == due_ms:
            del self.state.closed[appeal_id]

    # Responses out of the ordinary.

    def _hold(self, held: Held) -> None:
        state, appeal_id, time_ms = self.state, held.response.appeal_id, held.response.time_ms
        closed_ms = state.closed.get(appeal_id)
        if closed_ms is not None and 0 <= time_ms - closed_ms < 2 * self._horizon_ms:
            self._reject_held(held, "after_horizon", "time")
        elif state.held_count >= self.settings.held_responses_max:
            self._reject_held(held, "over_limit", "appeal_id")
        else:
            due_ms = (time_ms // self._expiry_ms + 1) * self._expiry_ms
            batches = state.held.get(appeal_id)
            if batches is None:
                batches = state.held[appeal_id] = {}
            if due_ms not in batches:
                batches[due_ms] = []
                self._plan(due_ms, _EXPIRE, appeal_id)
            batches[due_ms].append(held)
            state.held_count += 1

    def _expire(self, appeal_id: str, due_ms: int) -> None:
        batches = self.state.held.get(appeal_id, {})
        batch = batches.pop(due_ms, ())
        self.state.held_count -= len(batch)
        for held in sorted(batch, key=Held.place):
            self._reject_held(held, "unknown_appeal", "appeal_id")
        if not batches:
            self.state.held.pop(appeal_id, None)

    def _count_apart(self, appeal: OpenAppeal, held: Held) -> None:
        """Count a response that was held, has an id, is an exit, or lies outside its time."""
        age_ms = held.response.time_ms - appeal.time_ms
        if not 0 <= age_ms < self._horizon_ms:
            self._reject_apart(held, age_ms)
        elif held.response.response_id is None:
            self._add(appeal, held.response, +1)
            appeal.sample(held.response, self.settings.responders_sampled)
        else:
            self._count_once(appeal, held)

    def _reject_apart(self, held: Held, age_ms: int) -> None:
        if age_ms < 0:
            self._reject_held(held, "unknown_appeal", "appeal_id")
        elif age_ms >= 2 * self._horizon_ms:
            self._hold(held)  # another appeal may take the id
        else:
            self._reject_held(held, "after_horizon", "time")

    def _count_once(self, appeal: OpenAppeal, new: Held) -> None:
        """Of responses with one id the least counts: by what they say, not by arrival."""
        identity = new.response.response_id or ""
        other = appeal.unsettled.get(identity)
        if identity in appeal.settled or (other is not None and other.key() <= new.key()):
            self._reject_held(new, "duplicate", "response_id")
            return
        if other is not None:
            self._add(appeal, other.response, -1)
            self._reject_held(other, "duplicate", "response_id")
        elif self.state.response_ids >= self.settings.response_ids_max:
            self._reject_held(new, "over_limit", "response_id")
            return
        else:
            self.state.response_ids += 1
        appeal.unsettled[identity] = new
        self._add(appeal, new.response, +1)
        if len(appeal.unsettled) >= appeal.settle_at:
            appeal.settle(self.watermark_ms(), self.settings.responders_sampled)

    def _add(self, appeal: OpenAppeal, response: Response, sign: int) -> None:
        slot = self.grid.slot(response.time_ms - appeal.time_ms)
        appeal.add(response, slot, self._bin_of_slot[slot], sign)
        self._count("exits" if response.exit else "responses", sign)

    # Time.

    def _plan(self, due_ms: int, what: int, appeal_id: str) -> None:
        heappush(self._agenda, (due_ms, what, appeal_id))

    def _due_ms(self) -> int:
        return self._agenda[0][0] if self._agenda else -NEVER_MS

    def _advance(self, watermark_ms: int) -> int:
        """Do what is due when the watermark has got so far; return when something is again."""
        agenda, opened, ages_ms = self._agenda, self.state.opened, self._step_ages_ms
        sampled, bins = self.settings.responders_sampled, self.grid.checkpoints
        while agenda:
            due_ms, what, appeal_id = agenda[0]
            if due_ms > watermark_ms:
                return due_ms
            if what == _CHECK and (step := (appeal := opened[appeal_id]).step + 1) < len(ages_ms):
                heapreplace(agenda, (appeal.time_ms + ages_ms[step], what, appeal_id))
                self.messages.append(appeal.checkpoint(due_ms, bins[step - 1], sampled))
            else:
                heappop(agenda)
                self._does[what](appeal_id, due_ms)
        return -NEVER_MS

    def _restore_agenda(self) -> None:
        """The agenda follows from the state, so it is not in the snapshot."""
        state = self.state
        for due_ms, appeal_id in state.pending:
            self._plan(due_ms, _OPEN, appeal_id)
        for opened in state.opened.values():
            self._plan_step(opened)
        for appeal_id, time_ms in state.closed.items():
            self._plan(time_ms + 2 * self._horizon_ms, _FORGET, appeal_id)
        for appeal_id, batches in state.held.items():
            for due_ms in batches:
                self._plan(due_ms, _EXPIRE, appeal_id)

    # Fates.

    def _count(self, fate: str, number: int) -> None:
        self.state.fates[fate] = self.state.fates.get(fate, 0) + number

    def _reject(self, block: Block, index: int, reason: str, field: str) -> None:
        self._reject_at(*block.place(index), block.made_up(index), reason, field)

    def _reject_held(self, held: Held, reason: str, field: str) -> None:
        self._reject_at(held.source, held.line, held.response, reason, field)

    def _reject_at(
        self, source: str, line: int, event: msgspec.Struct, reason: str, field: str
    ) -> None:
        self._count(reason, 1)
        text = msgspec.json.encode(event).decode()
        self.rejects.append(Rejected(source, line, reason, field, text))


# What is planned, in the order in which it happens at one moment: an appeal opens before its held
# responses expire.
_OPEN, _EXPIRE, _CHECK, _FORGET = range(4)
