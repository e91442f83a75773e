"""What is written of the facts, whatever breaks in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from replay.output import FACTS_AT_ONCE, Output
from streams.events import Estimate, Level

GOOD = Estimate("c", "a", "prior", 1_230_768_000_000, 0.9, 0.8, 1.0, 10.0, 3.0, 19.0, 0)
BAD = msgspec.structs.replace(GOOD, retention=float("inf"))
LEVEL = Level(1_230_768_000_000, "c", 1.0, 0.9, 1.1)


def lines(folder: Path, name: str) -> int:
    return len((folder / name).read_bytes().splitlines())


def test_what_waits_is_written_when_all_ends_and_when_it_breaks_off(tmp_path: Path) -> None:
    with Output(tmp_path / "a") as output:
        output.write([GOOD] * (FACTS_AT_ONCE + 3), [])
        output.write([GOOD, LEVEL], [])
    assert lines(tmp_path / "a", "estimates.jsonl") == FACTS_AT_ONCE + 4
    with pytest.raises(KeyboardInterrupt), Output(tmp_path / "b") as output:
        output.write([GOOD], [])
        raise KeyboardInterrupt
    assert lines(tmp_path / "b", "estimates.jsonl") == 1


def test_a_fact_that_cannot_be_written_is_refused_and_those_before_it_are_not_lost(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"Estimate\.retention: expected a finite number"):
        with Output(tmp_path) as output:
            output.write([GOOD, GOOD, BAD, GOOD], [])
    assert lines(tmp_path, "estimates.jsonl") == 2


def test_nothing_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def write(self, data: bytes) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Output(tmp_path) as output:
        files: dict[type, Any] = output._files
        monkeypatch.setitem(files, Level, Broken())
        output.write([GOOD, LEVEL] * FACTS_AT_ONCE, [])
    assert lines(tmp_path, "estimates.jsonl") == FACTS_AT_ONCE


def test_the_summary_comes_after_all_facts(tmp_path: Path) -> None:
    with Output(tmp_path) as output:
        output.write([GOOD], [])
        output.write_json("summary.json", {})
        output._files[Estimate].flush()
        assert lines(tmp_path, "estimates.jsonl") == 1
