"""What a response and an appeal cost in `askagain replay`, beside a bare loop over the same file.

Absolute figures depend on the machine; the ratio is what to compare. Run by `make bench`; asserts
nothing.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from replay.driver import replay
from replay.output import Output
from replay.reader import read_lines
from replay.scenarios import settings_of
from replay.simulate import write_simulation
from streams.community import Community
from streams.contest import Contest
from streams.pipeline import Pipeline
from streams.settings import Settings

APPEALS = 32_000  # ten seconds: the second that a start takes is not what is measured
LEARNED = 4_000
ROUNDS = 3


class Appeal(msgspec.Struct, frozen=True, tag="appeal", gc=False):
    appeal_id: str
    time: datetime.datetime


class Response(msgspec.Struct, frozen=True, tag="response", gc=False):
    appeal_id: str
    time: datetime.datetime


def bare(events: Path) -> float:
    """Decode and count by appeal, nothing else. Returns events a second."""
    decode = msgspec.json.Decoder(Appeal | Response).decode
    counts: dict[str, int] = {}
    started_s = time.perf_counter()
    with events.open("rb") as lines:
        for line in lines:
            appeal_id = decode(line).appeal_id
            counts[appeal_id] = counts.get(appeal_id, 0) + 1
    return sum(counts.values()) / (time.perf_counter() - started_s)


def replayed(events: Path, out: Path) -> tuple[float, float]:
    """Run the program as users do. Returns events a second (its own clock) and MiB at the peak, of
    both its processes.
    """
    script = (
        "import resource, sys; from replay.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(sum(resource.getrusage(which).ru_maxrss for which in (\n"
        "    resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"
    )
    command = [sys.executable, "-c", script, "replay", str(events), "--out", str(out), "--quiet"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    run = msgspec.json.decode((out / "run.json").read_bytes())
    return run["events_per_second"], int(printed.split()[-1]) / 1024


def learning(events: Path) -> tuple[float, float]:
    """Replay in this process. Returns microseconds an appeal that learning took, all models on, and
    that everything took; after the first quarter, when all compiled code has been loaded.
    """
    spent: dict[type, list[tuple[float, float]]] = {Community: [], Contest: []}

    def timed(learns: Any) -> Any:
        learn = learns.learn

        def learn_timed(*args: Any) -> None:
            began_s = time.perf_counter()
            learn(*args)
            now_s = time.perf_counter()
            spent[learns].append((now_s, now_s - began_s))

        return patch.object(learns, "learn", learn_timed)

    with timed(Community), timed(Contest):
        sources = {str(events): read_lines(str(events))}
        replay(Pipeline(Settings()), sources, Output(None))
    start = len(spent[Community]) // 4
    appeals = len(spent[Community]) - start
    learned_s = sum(seconds for some in spent.values() for _, seconds in some[start:])
    began_s, ended_s = (spent[Community][at][0] for at in (start, -1))
    return 1e6 * learned_s / appeals, 1e6 * (ended_s - began_s) / appeals


def world(folder: Path, appeals: int) -> Path:
    """A hundred responses an appeal, on average over all repeats."""
    settings = msgspec.structs.replace(settings_of("classic"), first_mean=168.0)
    return write_simulation("classic", 1, appeals, folder, settings=settings).events


def main() -> None:
    machine = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
    with tempfile.TemporaryDirectory() as scratch:
        once, twice = world(Path(scratch, "1"), APPEALS), world(Path(scratch, "2"), 2 * APPEALS)
        few = world(Path(scratch, "3"), LEARNED)
        print(f"replay of {APPEALS:,} simulated appeals ({machine})")
        rounds = []
        for _ in range(ROUNDS):  # in turn, so that a slow spell of the machine hits both
            plain = bare(once)
            full, mib = replayed(once, Path(scratch, "out"))
            rounds.append((full / plain, full, plain, mib))
            print(f"  bare {plain:>11,.0f}/s   replay {full:>9,.0f}/s   ratio {full / plain:.3f}")
        _, mib_twice = replayed(twice, Path(scratch, "out"))
        ratio, full, _, mib = sorted(rounds)[ROUNDS // 2]
        print(f"median ratio {ratio:.3f} (bar: 0.15), {full:,.0f} events/s")
        learned, in_all = sorted(learning(few) for _ in range(ROUNDS))[ROUNDS // 2]
        print(
            f"learning an appeal {learned:.0f} us, all models on (bar: 300); in all {in_all:.0f} us"
        )
        print(
            f"peak memory {mib:.0f} MiB, twice as long {mib_twice:.0f} MiB: x{mib_twice / mib:.3f}"
        )


if __name__ == "__main__":
    main()
