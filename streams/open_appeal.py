"""One appeal while it draws responses: what is counted, by age, and which response ids have been.

Everything here commutes, so that the order of arrival leaves no trace: sums are of integers, and
which of two responses with one id counts is decided by what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from zlib import crc32

import msgspec

from models.ages import AgeGrid
from streams.events import Checkpoint, Response
from streams.packing import HASH, HASH_BYTES, SLOT, packed, unpacked

__all__ = ["MICROS", "MICROS_MAX", "Held", "OpenAppeal"]

MICROS = 1_000_000
# Sums of value stay there: nine trillion, more than anybody gave, is the most that 64 bits hold.
MICROS_MAX = (1 << 63) - 1
_VALUE_BITS = 62
_ANY_HASH = 1 << 32
_UNSETTLED_MIN = 8


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A response and where it stood, for as long as it may still be rejected."""

    source: str
    line: int
    response: Response

    def key(self) -> tuple[int, bytes]:
        """Order responses with one id: the least counts, whichever came first."""
        return self.response.time_ms, msgspec.json.encode(self.response)

    def place(self) -> tuple[str, int]:
        """Order responses by where they stood."""
        return self.source, self.line


class OpenAppeal(msgspec.Struct):
    """An appeal that draws responses.

    `bins` count responses by age, and so do `slots` and `runs` together: these are what was counted
    many at once (streams.lines_appeal), slot, responses, slot, responses, as they came, packed.
    `value_carry` counts how often `value_micros` was beyond 62 bits: a sum cut at once would depend
    on what is taken back before the rest comes. `responders` are hashes, packed: of many appeals
    they would be many objects. Of responses with an id, those in `unsettled` may yet give way to
    another with the same id; those in `settled` are older than the watermark, so that nothing can
    come before them.
    """

    appeal_id: str
    community: str
    time_ms: int
    bins: list[int]
    slots: dict[int, int] = {}
    runs: bytes = b""
    exits: int = 0
    value_micros: int = 0
    value_carry: int = 0
    step: int = 0
    bins_sent: int = 0
    responses_sent: int = 0
    responders: bytearray = bytearray()
    responder_below: int = _ANY_HASH
    unsettled: dict[str, Held] = {}
    settled: dict[str, None] = {}
    settle_at: int = _UNSETTLED_MIN

    def add(self, response: Response, slot: int, index: int, sign: int) -> None:
        """Count a response that lies in `slot` and in bin `index`, or take it back (`sign` -1)."""
        count = sign * response.count
        if response.exit:
            self.exits += count
            return
        self.bins[index] += count
        self.slots[slot] = self.slots.get(slot, 0) + count
        if not self.slots[slot]:
            del self.slots[slot]
        if response.value is not None:
            self.add_value(sign * round(response.value * MICROS))

    def count_early(
        self, batch: list[Held], grid: AgeGrid, bin_of_slot: Sequence[int], sampled: int
    ) -> list[Held]:
        """Count responses that were held until the appeal opened, and return those that are out of
        the ordinary, which are the collector's to judge.
        """
        since_ms, fine_ms, fine_until_ms = self.time_ms, grid.fine_ms, grid.coarse_from_ms
        rest = []
        for held in batch:
            response = held.response
            age_ms = response.time_ms - since_ms
            if response.response_id is None and not response.exit and 0 <= age_ms < fine_until_ms:
                slot = age_ms // fine_ms
                self.add(response, slot, bin_of_slot[slot], +1)
                self.sample(response, sampled)
            else:
                rest.append(held)
        return rest

    def add_value(self, micros: int) -> None:
        """Add to the value that came, in millionths."""
        self.value_micros += micros
        if not 0 <= self.value_micros < 1 << _VALUE_BITS:
            self.value_carry += self.value_micros >> _VALUE_BITS
            self.value_micros %= 1 << _VALUE_BITS

    def checkpoint(self, due_ms: int, bins: int, sampled: int) -> Checkpoint:
        """Return how it stands when all responses in the first `bins` are in, and go on to the next
        checkpoint.
        """
        first = self.bins_sent
        counts = self.bins[first:bins]
        self.responses_sent += sum(counts)
        if self.unsettled:
            self.settle(due_ms, sampled)
        self.bins_sent = bins
        self.step += 1
        return Checkpoint(
            due_ms, self.appeal_id, self.community, first, counts, self.responses_sent
        )

    def last_checkpoint(self, due_ms: int, sampled: int) -> Checkpoint:
        """Return how it stands at the horizon, with what is only worth saying once."""
        last = self.checkpoint(due_ms, len(self.bins), sampled)
        self.forget_responders(sampled)
        return Checkpoint(
            *(due_ms, self.appeal_id, self.community, last.bin_start, last.counts, last.responses),
            exits=self.exits,
            value_micros=min((self.value_carry << _VALUE_BITS) + self.value_micros, MICROS_MAX),
            final=True,
            slots=self.by_slot(),
            responders=bytes(self.responders),
        )

    def by_slot(self) -> bytes:
        """Return how many responses came in which slot: slot, responses, and so on, packed."""
        return packed(chain.from_iterable(sorted(self.slots.items())), SLOT) + self.runs

    def settle(self, watermark_ms: int, sampled: int) -> None:
        """Keep of the responses with ids that are older than the watermark no more than the id."""
        if not self.unsettled:
            return
        done = [i for i, held in self.unsettled.items() if held.response.time_ms < watermark_ms]
        for identity in done:
            self.settled[identity] = None
            self.sample(self.unsettled.pop(identity).response, sampled)
        self.settle_at = _UNSETTLED_MIN + 2 * len(self.unsettled)

    def sample(self, response: Response, sampled: int) -> None:
        """Remember the responder's hash if it may be among the `sampled` least ones."""
        if response.responder is not None and not response.exit:
            hashed = crc32(response.responder.encode())
            if hashed < self.responder_below:
                self.responders += hashed.to_bytes(HASH_BYTES, "little")
                if len(self.responders) > 2 * HASH_BYTES * sampled:
                    self.forget_responders(sampled)

    def forget_responders(self, sampled: int) -> None:
        """Keep the `sampled` least hashes (bottom-k; Cohen and Kaplan 2007, PODC), ascending."""
        self.responders = self.least_responders(sampled)
        if len(self.responders) == HASH_BYTES * sampled:
            self.responder_below = int.from_bytes(self.responders[-HASH_BYTES:], "little")

    def least_responders(self, sampled: int) -> bytearray:
        """Return the `sampled` least hashes, ascending."""
        hashes = sorted(set(unpacked(self.responders, HASH)))
        return bytearray(packed(hashes[:sampled], HASH))
