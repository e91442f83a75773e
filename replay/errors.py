"""Errors that the command line turns into a message and an exit code."""

from __future__ import annotations

from streams.events import Rejected

__all__ = ["StrictError"]


class StrictError(Exception):
    """The first reject, where none is to be borne."""

    def __init__(self, reject: Rejected) -> None:
        super().__init__(f"{reject.source}:{reject.line}: {reject.reason} {reject.field or ''}")
        self.reject = reject
