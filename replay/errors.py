"""Errors that the command line turns into a message and an exit code."""

from __future__ import annotations

from streams.events import Rejected

__all__ = ["ReadingDied", "StrictError"]


class StrictError(Exception):
    """The first reject, where none is to be borne."""

    def __init__(self, reject: Rejected) -> None:
        super().__init__(f"{reject.source}:{reject.line}: {reject.reason} {reject.field or ''}")
        self.reject = reject


class ReadingDied(Exception):
    """The process that reads ended before its end; what has been written is not complete."""

    def __init__(self, code: int) -> None:
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        super().__init__(
            f"the process that reads the events died ({how}); what has been written breaks off"
            " there. --processes 1 does without it"
        )
