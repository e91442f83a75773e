"""Lines of JSON as they are read, so that the responses among them are counted without an object
made of each.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from models.runs import copied
from models.scan import COUNT, END, GROUP, NONE, START, TIME, VALUE, WHO, WHO_END, Whole, scan
from streams.codec import EVENT_BYTES_MAX, BadEvent, decode_event, rejected
from streams.collector_state import NEVER_MS, Block
from streams.events import Appeal, Rejected, Response, Tick
from streams.open_appeal import MICROS

__all__ = ["Lines", "decoded_lines"]

# Where more of the lines are not plain, they are cheaper decoded all at once.
APART_SHARE_MAX = 1 / 8


class Lines:
    """Whole lines of one source, of which most are plain (models.scan).

    Parameters
    ----------
    source
        Its name.
    first_line
        The number of the first.
    text
        The lines, each with its end.

    Attributes
    ----------
    rows
        What is known of each line, shape (lines, columns of models.scan); the time of what is no
        event is `NEVER_MS`.
    apart
        By index, the events in lines that are not plain.
    appeal_ids
        Of the appeals that plain lines answer.
    """

    def __init__(self, source: str, first_line: int, text: bytes) -> None:
        self.source = source
        self.first_line = first_line
        self.text = text
        self.data = np.frombuffer(text, np.uint8)
        self.rows, places = scan(self.data)
        self.appeal_ids = [text[start:end].decode("ascii") for start, end in places.tolist()]
        self._apart = np.flatnonzero(self.rows[:, GROUP] == NONE).tolist()
        self.apart: dict[int, Appeal | Response | Tick | Rejected] = {}

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.rows) - len(self._apart) + len(self.apart)

    def are_mostly_plain(self) -> bool:
        """Return whether it pays to take them line by line."""
        return len(self._apart) <= APART_SHARE_MAX * len(self.rows)

    def decode(self) -> Lines:
        """Decode what is not plain."""
        for index in self._apart:
            event = self._decoded(index)
            if event is not None:
                self.apart[index] = event
            self.rows[index, TIME] = getattr(event, "time_ms", NEVER_MS)
        return self

    def _decoded(self, index: int) -> Appeal | Response | Tick | Rejected | None:
        start, end = self.rows[index, START : END + 1].tolist()
        return _decoded(self.source, self.first_line + index, self.text[start:end])

    def response(self, index: int) -> Response:
        """Return the response in a plain line."""
        row = self.rows[index].tolist()
        who, micros = self.text[row[WHO] : row[WHO_END]].decode("ascii"), row[VALUE]
        return Response(
            self.appeal_ids[row[GROUP]],
            row[TIME],
            None,
            who or None,
            None if micros == NONE else micros / MICROS,
            row[COUNT],
        )

    def copied(self, indexes: Whole, parts: list[list[int]]) -> list[bytes]:
        """Return lines as they are, in parts: from where in `indexes` to where."""
        copy, ends = copied(self.data, self.rows, indexes, np.array(parts, np.int64))
        text, ends = copy.tobytes(), ends.tolist()
        return [text[start:end] for start, end in pairwise([0, *ends])]

    def block(self, indexes: list[int]) -> Block:
        """Return some of the lines as a block, without empty ones."""
        apart, groups = self.apart, self.rows[:, GROUP]
        full = [index for index in indexes if index in apart or groups[index] != NONE]
        events = [apart[i] if i in apart else self.response(i) for i in full]
        return Block(self.source, [self.first_line + index for index in full], events)

    def newest_ms(self) -> int:
        """Return the time of the last event that is none of the rejects."""
        events = np.flatnonzero(self.rows[:, TIME] != NEVER_MS)
        return int(self.rows[events[-1], TIME]) if len(events) else NEVER_MS


def decoded_lines(source: str, first_line: int, text: bytes) -> Block:
    """Decode lines, each by itself; what is wrong with one is said as a reject."""
    lines = text[:-1].split(b"\n")
    found = [_decoded(source, number, line) for number, line in enumerate(lines, first_line)]
    events = [event for event in found if event is not None]
    numbers = [first_line + index for index, event in enumerate(found) if event is not None]
    return Block(source, numbers, events)


def _decoded(source: str, number: int, line: bytes) -> Appeal | Response | Tick | Rejected | None:
    """Decode a line; return None if it is empty."""
    try:
        if len(line) > EVENT_BYTES_MAX:
            raise BadEvent("too_long", None)
        return decode_event(line)
    except BadEvent as error:
        if not line or line.isspace():
            return None
        return rejected(source, number, error, line)
