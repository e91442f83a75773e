"""Reading, collecting and the register in a process of their own, ahead of the communities, where
that pays.

The other process is started afresh, never forked: this one may hold numpy's and numba's threads and
locks by now, which a fork would copy in whatever state they are. It loads no model of retention, so
it starts in a third of the time that this one takes. A bounded pipe lies between the two: who reads
too fast waits.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from replay.errors import ReadingDied
from replay.frames import Ended, Failed, Said, Task, read_frames
from replay.inputs import Inputs
from replay.reader import PACKED
from streams.settings import ConfigError, Settings

__all__ = ["Ahead", "reading_ahead"]

# Below this a second process gains less than it costs: half a second of work.
BYTES_MIN = 20_000_000
# Events in JSON pack to about a tenth.
_PACKED_SHARE = 10
# Some hundred appeals' worth of turns: room for uneven steps of learning.
PIPE_BYTES = 1 << 20
_LAST_WORDS_S = 10.0


class Ahead:
    """A process that reads, collects and keeps the register.

    Parameters
    ----------
    settings
        Those it reads under.
    names
        Of the sources.
    process
        Started, with its frames in `stdout`.
    """

    def __init__(
        self, settings: Settings, names: list[str], process: subprocess.Popen[bytes]
    ) -> None:
        self.settings = settings
        self.names = names
        self.process = process

    def frames(self) -> Iterator[Said | Ended]:
        """Return what it says, to its end.

        Raises
        ------
        ConfigError
            It cannot read what it should.
        ReadingDied
            It ended before its end.
        """
        for frame in read_frames(_pipe(self.process)):
            if isinstance(frame, Failed):
                raise ConfigError(frame.message)
            yield frame
            if isinstance(frame, Ended):
                return
        raise ReadingDied(self.process.wait(_LAST_WORDS_S))


@contextmanager
def reading_ahead(inputs: Inputs, processes: int | None) -> Iterator[Ahead | None]:
    """Start to read, and stop it in the end. None: to be read in this process.

    Parameters
    ----------
    inputs
        Files or a mapping.
    processes
        1, 2, or None: as many as pay.

    Raises
    ------
    ConfigError
        If the inputs are not there.
    """
    if processes == 1 or inputs.kafka is not None or os.name != "posix":
        yield None
        return
    settings, names = inputs.settings(), inputs.names()
    if processes is None and not (_cores() > 1 and _is_much(inputs)):
        yield None
        return
    map_file = None if inputs.map_file is None else str(inputs.map_file)
    process = _started(Task(settings, inputs.paths, map_file))
    try:
        yield Ahead(settings, names, process)
    finally:
        _stop(process)


def _started(task: Task) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as file:
        file.write(msgspec.json.encode(task))
        file.seek(0)
        # Ctrl-C reaches every process of a terminal; this one decides what it means for both. The
        # mask is inherited, so there is no moment at which the other could hear it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "replay.feeder", str(file.fileno())],
                stdin=None if "-" in task.paths else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": path},
                pass_fds=[file.fileno()],
                bufsize=PIPE_BYTES,
            )
            with suppress(OSError):  # where the system allows less, there is more waiting
                fcntl.fcntl(_pipe(process), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            return process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """It has ended, or is to: it stops at a signal, and at a pipe that nobody reads."""
    if process.poll() is None:
        process.terminate()
    _pipe(process).close()
    try:
        process.wait(_LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _cores() -> int:
    """Return how many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_much(inputs: Inputs) -> bool:
    """Tables and standard input are taken to be: their size is not known before they are read."""
    if inputs.map_file is not None or "-" in inputs.paths:
        return True
    return sum(map(_unpacked_bytes, inputs.paths)) >= BYTES_MIN


def _unpacked_bytes(path: str) -> int:
    try:
        with open(path, "rb") as file:
            packed = file.read(4).startswith(PACKED)
            return os.fstat(file.fileno()).st_size * (_PACKED_SHARE if packed else 1)
    except OSError:
        return 0  # the reader says so, as a reject
