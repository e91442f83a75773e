"""The process that reads and collects, while another learns: `python -m replay.feeder FD`.

FD is a file with the task; frames go to standard output. Started by replay.ahead, and not meant to
be started by hand. It loads the first stage only, nothing of the models.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

import msgspec

from replay.fates import counts_of
from replay.frames import Ended, Failed, Said, Task, said_in_parts, write_frame
from replay.garbage import collect_seldom
from replay.inputs import open_sources
from replay.reader import merge_sources
from streams.collector import Collector
from streams.settings import ConfigError

__all__ = ["feed", "main"]


def feed(task: Task, write: Callable[[Said | Ended | Failed], None]) -> None:
    """Read and collect all that the task names. `write` hears of every block."""
    try:
        sources = open_sources(task.settings, task.paths, task.map_path())
        collector = Collector(task.settings)
        sequence, events = 0, 0
        for name in sources:
            collector.declare(name)
        for name, block in merge_sources(sources):
            before_ms = collector.watermark_ms()
            if block is not None:
                collector.receive(block)
                events += len(block.events)
            else:
                collector.finish(name)
                if collector.finished():
                    collector.end(collector.watermark_ms())
            messages, collector.messages = collector.messages, []
            rejects, collector.rejects = collector.rejects, []
            said = Said(sequence, collector.watermark_ms(), messages, rejects, events)
            for part in said_in_parts(said, before_ms):
                write(part)
            sequence += len(messages)
        write(Ended(counts_of([collector])))
    except ConfigError as error:
        write(Failed(str(error)))


def main() -> None:
    """Do what the task says, for as long as somebody listens."""
    collect_seldom()
    signal.signal(signal.SIGTERM, _stop)
    pipe = os.dup(1)
    os.dup2(2, 1)  # what a library may print is no frame
    _stop_when_nobody_listens(pipe)
    with open(int(sys.argv[1]), "rb") as file:
        task = msgspec.json.decode(file.read(), type=Task)
    try:
        feed(task, lambda frame: write_frame(pipe, frame))
    except BrokenPipeError:
        sys.exit(1)


def _stop(number: int, frame: FrameType | None) -> None:
    """End by way of every `finally`, so that no spilled file stays behind."""
    sys.exit(128 + number)


def _stop_when_nobody_listens(pipe: int) -> None:
    """However the other process ended: whoever waits for standard input would never write, and so
    never know.
    """
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def watch() -> None:
        poll = select.poll()
        poll.register(pipe, 0)  # errors alone, of which the only one is: no reader
        poll.poll()
        signal.pthread_kill(main_thread, signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
