"""Reading in a process of its own: the same bytes out, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from test_replay_bad_input import DAMAGES
from typer.testing import CliRunner

import replay.ahead as ahead
import replay.frames as frames
from replay.ahead import reading_ahead
from replay.cli import app
from replay.errors import ReadingDied
from replay.feeder import feed
from replay.frames import Ended, Failed, Said, Task, read_frames, said_in_parts, write_frame
from replay.inputs import Inputs
from replay.simulate import write_simulation
from replay.story import write_story
from streams.events import Rejected
from streams.settings import ConfigError, Settings

COMMAND = [sys.executable, "-c", "from replay.cli import main; main()", "replay"]
APPEAL = b'{"type":"appeal","appeal_id":"a1","time":1231275840,"appealer":"armano"}\n'
SECONDS_MAX = 60.0


def damaged(events: Path, to: Path) -> Path:
    """Copy events, with every tenth line a bad one and some twice."""
    rng, lines = Random(9), []
    for index, line in enumerate(events.read_bytes().splitlines()):
        lines += [line] * (1 + (rng.random() < 0.01))
        if index % 10 == 9:
            lines.append(DAMAGES[index // 10 % len(DAMAGES)][0][:100_000])
    to.write_bytes(b"\n".join(lines))
    return to


MAP = """
[appeals]
from = "asked.csv"
appeal_id = "id"
time = "time"
appealer = "who"
[responses]
from = "said.csv"
appeal_id = "id"
time = "time"
[settings]
horizon = "3d"
"""


def mapped(folder: Path) -> Path:
    rows = [f"a{n},2009-01-{1 + n % 28:02} 10:00:00,p{n % 3}" for n in range(200)]
    (folder / "asked.csv").write_text("\n".join(["id,time,who", *rows]))
    said = [f"a{n % 210},2009-01-{1 + n % 28:02} 11:{n % 60:02}:00" for n in range(4000)]
    (folder / "said.csv").write_text("\n".join(["id,time", *said]))
    (folder / "map.toml").write_text(MAP)
    return folder / "map.toml"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("inputs")
    story = write_story(folder / "story").events
    world = write_simulation("classic", 3, 120, folder / "world").events
    bad = damaged(world, folder / "damaged.jsonl")
    rich = folder / "rich.jsonl"
    gift = b'{"type":"response","appeal_id":"a1","time":1231275841,"value":1e12}\n'
    rich.write_bytes(APPEAL + 40 * gift)
    return {
        "the demo": [str(story)],
        "a world": [str(world)],
        "damaged lines": [str(bad)],
        "several sources": [str(world), str(story), str(bad)],
        "tables": ["--map", str(mapped(folder))],
        "sums beyond 64 bits": [str(rich)],
    }


NAMES = [
    *("the demo", "a world", "damaged lines", "several sources", "tables"),
    "sums beyond 64 bits",
]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "run.json"}


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_write_what_one_writes(
    name: str, inputs: dict[str, list[str]], tmp_path: Path
) -> None:
    shown = []
    for processes in ("1", "2"):
        how = ["--out", str(tmp_path / processes), "--processes", processes]
        done = CliRunner().invoke(app, ["replay", *inputs[name], *how], catch_exceptions=False)
        assert done.exit_code == 0
        table, _, _ = done.stdout.partition("Files in ")
        shown.append([line for line in table.splitlines() if " events: " not in line])
    assert len(files(tmp_path / "1")) == 5
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert shown[0] == shown[1]
    run = [msgspec.json.decode((tmp_path / n / "run.json").read_bytes()) for n in "12"]
    assert run[0]["sources"] == run[1]["sources"]


def test_standard_input_is_read_by_the_other(inputs: dict[str, list[str]], tmp_path: Path) -> None:
    (path,) = inputs["damaged lines"]
    for processes in "12":
        with open(path, "rb") as file:
            how = ["-", "--quiet", "--out", str(tmp_path / processes), "--processes", processes]
            subprocess.run([*COMMAND, *how], stdin=file, check=True, timeout=SECONDS_MAX)
    assert files(tmp_path / "1") == files(tmp_path / "2")


@pytest.mark.parametrize("part", [1, 7])
def test_great_blocks_are_said_in_parts(
    part: int, inputs: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = inputs["damaged lines"]
    task, whole, parts = Task(Settings(), [path], None), [], []
    feed(task, whole.append)
    monkeypatch.setattr(frames, "_PART", part)
    feed(task, parts.append)
    assert parts[-1] == whole[-1] and isinstance(parts[-1], Ended)
    for what in ("turns", "rejects"):
        told = [[one for f in said[:-1] for one in getattr(f, what)] for said in (parts, whole)]
        assert told[0] == told[1]
    assert max(len(f.turns) + len(f.rejects) for f in parts[:-1]) == part


def test_a_part_tells_no_watermark_before_its_last() -> None:
    rejects = [Rejected("s", n, "late", "time", "") for n in range(frames._PART + 1)]
    first, last = said_in_parts(Said([], rejects, 9, 5), 3)
    assert (first.watermark_ms, last.watermark_ms) == (3, 9)
    assert first.rejects + last.rejects == rejects


# Errors.


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["absent.jsonl"], 2, "absent.jsonl: expected a file of events"),
        (["b\udcff.jsonl"], 2, "expected a file name in UTF-8"),
        (["-", "--set", "horizon=soon"], 2, "expected a duration"),
        (["--map", "absent.toml"], 2, "absent.toml"),
        (["--map", "wrong.toml"], 2, "asked.csv"),
        (["bad.jsonl", "--strict"], 1, "bad.jsonl:2: not_json"),
        (["bad.jsonl", "--speed", "10"], 2, "--processes 2: expected without --speed"),
        (["folder"], 2, "folder: expected a file of events"),
    ],
)
def test_errors_are_those_of_one_process(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.jsonl").write_bytes(APPEAL + b"x\n" + APPEAL * 3)
    (tmp_path / "wrong.toml").write_text(MAP)
    (tmp_path / "folder").mkdir()
    command = [*COMMAND, *arguments, "--processes", "2"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=SECONDS_MAX)
    assert done.returncode == code, done.stderr
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_an_unreadable_file_is_a_reject_here_too(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00damaged")
    said: list[Any] = []
    feed(Task(Settings(), [str(path)], None), said.append)
    assert [r.reason for one in said[:-1] for r in one.rejects] == ["unreadable"]


def test_a_wrong_mapping_is_said_by_the_other(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(MAP)
    said: list[Any] = []
    feed(Task(Settings(), [], str(tmp_path / "map.toml")), said.append)
    assert isinstance(said[-1], Failed)
    with (
        reading_ahead(Inputs([], tmp_path / "map.toml", None, lambda _: Settings()), 2) as reading,
        pytest.raises(ConfigError, match=r"asked\.csv"),
    ):
        assert reading is not None
        list(reading.frames())


# Frames.


def test_frames_come_through_whole_or_not_at_all() -> None:
    said = [Said([], [Rejected("s", n, "late", None, "x" * n)], n, n) for n in range(50)]
    for cut in (0, 1, 3, 4, 5, 50):
        read_end, write_end = os.pipe()
        for frame in said:
            write_frame(write_end, frame)
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            data = pipe.read()
        read_end, write_end = os.pipe()
        os.write(write_end, data[: len(data) - cut])
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            assert list(read_frames(pipe)) == said[: 50 - (cut > 0)]


# Nobody is left behind, and nobody waits for ever.


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(one) for one in text.split()]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def reads(pid: int) -> bool:
    """Whether a process has got so far as to listen to SIGTERM, the first thing that it does."""
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


Running = tuple[subprocess.Popen[bytes], int]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A replay that waits for standard input, and the process that reads it."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    command = [*COMMAND, "-", "--quiet", "--processes", "2", "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            eventually(lambda: len(children(process.pid)) == 1)
            (reader,) = children(process.pid)
            eventually(lambda: reads(reader))
            assert process.stdin is not None
            process.stdin.write(APPEAL)
            process.stdin.flush()
            eventually(lambda: (tmp_path / "verdicts.jsonl").exists())
            yield process, reader
        finally:
            process.kill()


def test_a_reader_that_dies_is_said_and_not_waited_for(running: Running) -> None:
    process, reader = running
    os.kill(reader, signal.SIGKILL)
    assert process.wait(SECONDS_MAX) == 3
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert "the process that reads the events died (killed by signal 9)" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_reader_stays_behind(running: Running, how: signal.Signals) -> None:
    process, reader = running
    process.send_signal(how)
    assert process.wait(SECONDS_MAX) == -how
    eventually(lambda: is_gone(reader))


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to one", "as a terminal does"])
def test_ctrl_c_ends_both(running: Running, send: Callable[[int, int], None]) -> None:
    process, reader = running
    send(process.pid, signal.SIGINT)
    assert process.wait(SECONDS_MAX) in (1, 130, -signal.SIGINT)
    eventually(lambda: is_gone(reader))
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_who_stops_reading_stops_the_reader(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"x\n" * 3_000_000)  # far more rejects than a pipe holds
    with reading_ahead(Inputs([str(events)], None, None, lambda _: Settings()), 2) as reading:
        assert reading is not None
        assert isinstance(next(reading.frames()), Said)
    assert reading.process.returncode is not None


def test_death_has_a_reason() -> None:
    assert "exit code 1" in str(ReadingDied(1))
    assert "killed by signal 9" in str(ReadingDied(-9))


# When it is done.


def test_small_inputs_and_single_cores_stay_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, packed = tmp_path / "small.jsonl", tmp_path / "packed.jsonl.gz"
    small.write_bytes(APPEAL)
    packed.write_bytes(b"\x1f\x8b" + b"x" * (ahead.BYTES_MIN // 10))
    started: list[Task] = []

    def start(task: Task) -> subprocess.Popen[bytes]:
        started.append(task)
        return subprocess.Popen(["true"], stdout=subprocess.PIPE)

    monkeypatch.setattr(ahead, "_started", start)

    def processes(*paths: str, cores: int = 2, asked: int | None = None) -> int:
        monkeypatch.setattr(ahead, "_cores", lambda: cores)
        with reading_ahead(Inputs(list(paths), None, None, lambda _: Settings()), asked) as one:
            return 1 if one is None else 2

    assert processes(str(small)) == 1
    assert processes(str(small), asked=2) == 2
    assert processes(str(packed)) == 2
    assert processes(str(packed), asked=1) == 1
    assert processes(str(packed), cores=1) == 1
    assert processes("-") == 2
    assert len(started) == 3
