"""The first stage over lines as they are read: a response in a plain line costs no object.

Counting commutes, so all plain responses of some lines are counted before anything else in them
happens. What is not merely counted (an appeal, a response with an id, anything that is rejected)
takes its turn as its line has it, after all that was due before.

An appeal opens only when the watermark has passed it, and many responses come before. Where the
appeal has been *announced*, they are counted as if it had opened, and kept so until it does; should
it open at another time or not at all, they are taken back and held one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np

from models.hashed_sums import HASHES
from models.runs import (
    Mask,
    Runs,
    are_counted,
    count_by_appeal,
    newest_before,
    plain_grid,
)
from models.scan import Whole
from streams.codec import decode_event
from streams.collector import Collector
from streams.collector_state import NEVER_MS, Pending, Source
from streams.events import Appeal, Response
from streams.lines import Lines
from streams.lines_appeal import LinesAppeal
from streams.open_appeal import Held
from streams.settings import Settings

__all__ = ["LinesCollector"]

# Ends of runs as they are cut: slots (with their counts) and hashes are packed, bins and lines not.
_SLOTS = np.dtype("<i8")
_ENDS_UNITS = np.array([2 * _SLOTS.itemsize, 1, HASHES.itemsize, 1])


class _Announced(NamedTuple):
    """An appeal that is to open: how it will stand by what has come, and the lines of that, should
    it be taken back: source, numbers and text.
    """

    appeal: LinesAppeal
    lines: list[tuple[str, Whole, bytes]]

    def responses(self) -> int:
        """Return how many responses have been counted."""
        return sum(len(numbers) for _, numbers, _ in self.lines)


class LinesCollector(Collector):
    """A collector that takes lines as well as blocks, and says the same of both. What it has
    counted ahead is in no state, so it begins anew.

    Parameters
    ----------
    settings
        See `Collector`.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._grid = plain_grid(self.grid)
        self._announced: dict[str, _Announced] = {}
        self._pending_of: Counter[str] = Counter()

    def receive_lines(self, lines: Lines) -> None:
        """Apply lines, decoded where they are not plain, of which none was applied before."""
        self.declare(lines.source)
        source = self.state.sources[lines.source]
        assert not source.finished, f"{lines.source}: an event after the end"
        assert source.next_line <= lines.first_line, f"{lines.source}: lines come again"
        newest_ms = newest_before(lines.rows, source.newest_ms)
        self._announce(lines, newest_ms)
        for run in _runs(np.flatnonzero(~self._take_plain(lines, newest_ms)).tolist()):
            self._go_on(source, int(newest_ms[run[0]]))
            self._apply_apart_lines(source, lines, run)
        self._go_on(source, int(newest_ms[-1]))
        source.next_line = lines.first_line + len(lines.rows)

    def _go_on(self, source: Source, newest_ms: int) -> None:
        source.newest_ms = newest_ms
        self._advance(self.watermark_ms())

    def _apply_apart_lines(self, source: Source, lines: Lines, run: list[int]) -> None:
        """Apply lines that follow one another: mostly there is one, and it puts an appeal."""
        first = lines.apart.get(run[0])
        if len(run) == 1 and type(first) is Appeal and first.time_ms >= self.watermark_ms():
            self._await(Pending(lines.source, lines.first_line + run[0], first))
            self._see(source, first)
            self._check_announced(first)
            return
        block = lines.block(run)
        self._apply(source, block, 0)
        for event in block.events:
            if type(event) is Appeal:
                self._check_announced(event)

    def _check_announced(self, appeal: Appeal) -> None:
        if (appeal.time_ms + 1, appeal.appeal_id) not in self.state.pending:
            self._take_back(appeal.appeal_id)  # it was rejected; or it has opened

    # Appeals that have been announced.

    def _announce(self, lines: Lines, newest_ms: Whole) -> None:
        """Announce appeals that are sure to open, if anything with their id does."""
        others_ms, unsure = self.state.others_ms(lines.source), set()
        for index, event in lines.apart.items():
            if type(event) is not Appeal:
                continue
            appeal_id, known = event.appeal_id, self._announced.get(event.appeal_id)
            watermark_ms = min(int(newest_ms[index]), others_ms) - self._lateness_ms
            if known is not None and known.appeal.time_ms != event.time_ms:
                self._take_back(appeal_id)
                unsure.add(appeal_id)
            elif known is None and event.time_ms >= watermark_ms and appeal_id not in unsure:
                if not (self._pending_of[appeal_id] or self._is_known(appeal_id, event.time_ms)):
                    self._announced[appeal_id] = _Announced(self._afresh(event), [])

    def _await(self, new: Pending) -> None:
        before = self.state.pending_count
        super()._await(new)
        if self.state.pending_count > before:
            appeal_id, time_ms = new.appeal.appeal_id, new.appeal.time_ms
            self._pending_of[appeal_id] += 1
            announced = self._announced.get(appeal_id)
            if announced is not None and announced.appeal.time_ms != time_ms:
                self._take_back(appeal_id)  # not sure to open any more

    def _open(self, appeal_id: str, due_ms: int) -> None:
        self._pending_of[appeal_id] -= len(self.state.pending.get((due_ms, appeal_id), ()))
        if not self._pending_of[appeal_id]:
            del self._pending_of[appeal_id]
        super()._open(appeal_id, due_ms)
        announced = self._announced.get(appeal_id)
        if announced is not None and announced.appeal.time_ms < due_ms:
            self._take_back(appeal_id)

    def _to_open(self, appeal: Appeal) -> LinesAppeal:
        """Return it as it was announced, or else afresh."""
        announced = self._announced.get(appeal.appeal_id)
        if announced is None:
            return self._afresh(appeal)
        counted = announced.appeal
        if (counted.time_ms, counted.community) != (appeal.time_ms, appeal.community):
            self._take_back(appeal.appeal_id)
            return self._afresh(appeal)
        responses = announced.responses()
        self.state.held_count -= responses
        self._count("responses", responses)
        del self._announced[appeal.appeal_id]
        return counted

    def _afresh(self, appeal: Appeal) -> LinesAppeal:
        bins = [0] * self.grid.bins
        return LinesAppeal(appeal.appeal_id, appeal.community, appeal.time_ms, bins)

    def _take_back(self, appeal_id: str) -> None:
        """Hold one by one what has come for an appeal that was announced."""
        announced = self._announced.pop(appeal_id, None)
        if announced is None:
            return
        self.state.held_count -= announced.responses()
        for source, numbers, text in announced.lines:
            for number, line in zip(numbers.tolist(), text.splitlines(), strict=True):
                response = decode_event(line)
                assert isinstance(response, Response)
                self._hold(Held(source, number, response))

    # Plain responses.

    def _take_plain(self, lines: Lines, newest_ms: Whole) -> Mask:
        """Count plain responses to appeals that are open or announced; return which they are."""
        room = self.settings.held_responses_max - self.state.held_count
        announced = self._announced if len(lines.rows) <= room else {}
        appeals = [self._counting(appeal_id, announced) for appeal_id in lines.appeal_ids]
        since_ms = np.array([NEVER_MS if one is None else one.time_ms for one in appeals], np.int64)
        others_ms, lateness_ms = self.state.others_ms(lines.source), self._lateness_ms
        counted = are_counted(lines.rows, newest_ms, others_ms, lateness_ms, since_ms, self._grid)
        below = [0 if one is None else one.responder_below for one in appeals]
        runs = count_by_appeal(lines.rows, counted, since_ms, np.array(below, np.int64), self._grid)
        self._add_runs(lines, appeals, runs)
        return counted

    def _counting(self, appeal_id: str, announced: Mapping[str, _Announced]) -> LinesAppeal | None:
        """Return the appeal for which a plain response to this id counts, if that is sure."""
        appeal = cast("LinesAppeal | None", self.state.opened.get(appeal_id))  # as all are here
        if appeal is None and appeal_id in announced and appeal_id not in self.state.closed:
            return announced[appeal_id].appeal
        return appeal

    def _add_runs(self, lines: Lines, appeals: list[LinesAppeal | None], runs: Runs) -> None:
        sampled, announced = self.settings.responders_sampled, self._announced
        slots, hashes = runs.slots.astype(_SLOTS).tobytes(), runs.hashes.astype(HASHES).tobytes()
        bins, counts = runs.bins.T.tolist()
        values, ends, early = runs.values.tolist(), (runs.ends * _ENDS_UNITS).tolist(), []
        for appeal, first, end, value in zip(appeals, ends, ends[1:], values, strict=False):
            if appeal is None or end == first:
                continue
            appeal.count_runs(
                slots[first[0] : end[0]],
                zip(bins[first[1] : end[1]], counts[first[1] : end[1]], strict=True),
                value,
                hashes[first[2] : end[2]],
                sampled,
            )
            one = announced.get(appeal.appeal_id)
            if one is not None and one.appeal is appeal:
                early.append((one, [first[3], end[3]]))
        kept = self._keep(lines, runs.lines, early) if early else 0
        self.state.held_count += kept
        self._count("responses", len(runs.lines) - kept)

    def _keep(self, lines: Lines, counted: Whole, early: list[tuple[_Announced, list[int]]]) -> int:
        """Keep the lines of what was counted ahead; return how many."""
        numbers = counted + lines.first_line
        texts = lines.copied(counted, [part for _, part in early])
        for (one, (start, end)), text in zip(early, texts, strict=True):
            one.lines.append((lines.source, numbers[start:end].copy(), text))
        return sum(end - start for _, (start, end) in early)


def _runs(numbers: list[int]) -> list[list[int]]:
    """Return ascending numbers in runs of such as follow one another.

    >>> _runs([1, 2, 5])
    [[1, 2], [5]]
    """
    runs: list[list[int]] = []
    before = -2
    for number in numbers:
        if number == before + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
        before = number
    return runs
