"""The files a replay writes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec

from streams.events import Estimate, Level, Rejected, Verdict
from streams.facts import encode_fact, encode_facts
from streams.learner import Fact
from streams.settings import ConfigError

__all__ = ["FILES", "Output"]

FILES = {
    Verdict: "verdicts.jsonl",
    Estimate: "estimates.jsonl",
    Level: "level.jsonl",
    Rejected: "rejects.jsonl",
}
# Python's own 8 kB are filled by every other block.
BUFFER_BYTES = 1 << 17
# Facts are encoded so many at a time: one by one each would cost five times as much.
FACTS_AT_ONCE = 256


class Output:
    """Writes facts as they come, one file a type, into a folder of its own; `summary.json` last.

    Parameters
    ----------
    folder
        Made if absent; the files of an earlier replay in it are replaced. None: nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: dict[type, BinaryIO] = {}
        self._facts: list[Fact] = []  # not written yet
        self._stack = ExitStack()

    def __enter__(self) -> Output:
        if self.folder is None:
            return self
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for kind, name in FILES.items():
                path = self.folder / name
                self._files[kind] = self._stack.enter_context(path.open("wb", BUFFER_BYTES))
        except OSError as error:
            self._stack.close()
            raise ConfigError(f"{self.folder}: expected a folder to write to: {error}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            self._write_facts()

    def write(self, facts: Iterable[Fact], rejects: Iterable[Rejected]) -> None:
        """Append facts and rejects, a line each; facts at the latest when the files are closed."""
        if not self._files:
            return
        self._facts += facts
        if len(self._facts) >= FACTS_AT_ONCE:
            self._write_facts()
        for reject in rejects:
            self._files[Rejected].write(msgspec.json.encode(reject) + b"\n")

    def _write_facts(self) -> None:
        """Write what waits; whatever breaks in, nothing is written twice."""
        facts, self._facts = self._facts, []
        try:
            encoded = encode_facts(facts)
        except ValueError:
            for fact in facts:  # up to the one that cannot be written, which is refused again
                self._files[type(fact)].write(encode_fact(fact) + b"\n")
            raise
        for kind, lines in encoded.items():
            self._files[kind].write(lines)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a whole file, after all facts so far."""
        if self.folder is not None:
            self._write_facts()
            text = msgspec.json.format(msgspec.json.encode(content), indent=2)
            (self.folder / name).write_bytes(text + b"\n")
