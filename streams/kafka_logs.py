"""Structured logs: one JSON object a line, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec

from streams.codec import rfc3339

__all__ = ["JsonLines", "log_to_stderr"]

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Writes time, level, logger and message, whatever `extra` holds, and an exception's trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        line: dict[str, Any] = {
            "time": rfc3339(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().strip(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class NotAgain(logging.Filter):
    """Lets one of a kind through in a while, except of our own: a client that cannot connect says
    so a thousand times a second. The next one says how many were left out.
    """

    EVERY_S = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is to be written."""
        if record.name.startswith("askagain"):
            return True
        kind = (record.name, str(record.msg)[:200])
        said_s, left_out = self._said.get(kind, (-self.EVERY_S, 0))
        if record.created - said_s < self.EVERY_S:
            self._said[kind] = (said_s, left_out + 1)
            return False
        if left_out:
            record.left_out = left_out
        if len(self._said) > 1_000:
            self._said.clear()
        self._said[kind] = (record.created, 0)
        return True


def log_to_stderr(level: str) -> None:
    """Send all logs to standard error. Faust's own are only wanted where something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(NotAgain())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("askagain").setLevel(level.upper())
    # It warns of every topic that is not there while they are being made.
    logging.getLogger("aiokafka.cluster").setLevel(logging.ERROR)
