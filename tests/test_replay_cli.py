"""The command line as users meet it: exit codes, files, what goes where."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pytest

from replay.simulate import write_simulation

EVENTS = (
    b'{"type":"appeal","appeal_id":"a1","time":"2009-01-06T21:04:00Z","appealer":"armano"}\n'
    b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:09:12Z","value":25.0}\n'
)
BAD = b'{"type":"response","appeal_id":"a1","time":"yesterday"}\n'


def askagain(*arguments, data=b"", cwd=None):
    command = [sys.executable, "-c", "from replay.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=300, cwd=cwd)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_simulation("classic", 3, 150, tmp_path_factory.mktemp("world")).events


def test_help_shows_an_example():
    for command in ("replay", "demo", "simulate", "plan"):
        done = askagain(command, "--help")
        assert done.returncode == 0
        assert b"Example" in done.stdout


def test_a_replay_from_standard_input_writes_its_files(tmp_path):
    done = askagain("replay", "-", "--out", tmp_path / "out", data=EVENTS)
    assert done.returncode == 0, done.stderr
    assert b"1 appeals, 1 responses" in done.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "verdicts.jsonl",
        "estimates.jsonl",
        "level.jsonl",
        "rejects.jsonl",
        "summary.json",
        "run.json",
    }
    prior = json.loads((tmp_path / "out" / "estimates.jsonl").read_text().splitlines()[0])
    assert (prior["stage"], prior["responses"], prior["retention"]) == ("prior", 0, 1.0)


def test_a_bad_event_is_written_down_and_the_run_goes_on(tmp_path):
    done = askagain("replay", "-", "--out", tmp_path, data=BAD + EVENTS)
    assert done.returncode == 0
    (reject,) = map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines())
    assert reject["reason"] == "wrong_type"
    assert (reject["source"], reject["line"], reject["field"]) == ("stdin", 1, "time")
    events = json.loads((tmp_path / "summary.json").read_text())["events"]
    assert (events["read"], events["rejected"], events["responses"]) == (3, 1, 1)


def test_strict_stops_at_the_first_bad_event():
    done = askagain("replay", "-", "--strict", data=BAD + EVENTS)
    assert done.returncode == 1
    assert b"stdin:1: wrong_type time" in done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["replay"], b"expected files of events, --map or --from-kafka"),
        (["replay", "no-such-file"], b"no-such-file: expected a file of events"),
        (["replay", "-", "--set", "horizon=soon"], b'expected a duration such as "90s"'),
        (["replay", "-", "--set", "horizn=1d"], b"unknown setting 'horizn'"),
        (["replay", "-", "--speed", "-1"], b"expected max or a number > 0"),
        (["replay", "--map", "no-such.toml"], b"no-such.toml"),
        (["simulate", "bliss", "--out", "x"], b"bliss"),
        (["plan", "-", "--appealer", "nobody"], b"expected a series that the events hold"),
    ],
)
def test_wrong_use_is_said_with_what_was_expected(arguments, words, tmp_path):
    done = askagain(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_same_events_give_the_same_bytes_in_another_process(world, tmp_path):
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(world.read_bytes()))
    for name, source in (("plain", world), ("packed", packed)):
        assert askagain("replay", source, "--out", tmp_path / name, "--quiet").returncode == 0
    for path in (tmp_path / "plain").iterdir():
        if path.name != "run.json":
            assert path.read_bytes() == (tmp_path / "packed" / path.name).read_bytes(), path.name


def test_a_plan_names_the_best_cadence_and_draws_it(world, tmp_path):
    appeal = json.loads(world.read_text().splitlines()[0])
    asked = ["--appealer", appeal["appealer"], "--kind", appeal["kind"]]
    done = askagain("plan", world, *asked, "--days", "30", "--plot", tmp_path / "plan.png")
    assert done.returncode == 0, done.stderr
    assert b"Best: every" in done.stdout
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_simulation_is_deterministic(tmp_path):
    for name in ("one", "two"):
        done = askagain("simulate", "fresh", "--seed", 4, "--appeals", 50, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / name / "events.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two
