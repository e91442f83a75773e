"""The process that reads, collects and keeps the register, while another learns: `python -m
replay.feeder FD`.

FD is a file with the task; frames go to standard output. Started by replay.ahead, and not meant to
be started by hand. It loads no model of retention.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import msgspec

from replay.fates import counts_of
from replay.frames import Ended, Failed, Said, Task, said_in_parts, write_frame
from replay.garbage import collect_seldom
from replay.inputs import open_lines
from replay.reader import merge_sources
from streams.collector import Collector
from streams.collector_lines import LinesCollector
from streams.lines import Lines
from streams.register import Envelope, Register
from streams.settings import ConfigError

__all__ = ["feed", "main"]

PARTITION = "0"  # the only one


def feed(task: Task, write: Callable[[Said | Ended | Failed], None]) -> None:
    """Read all that the task names, collect it and enter it. `write` hears of every block."""
    try:
        sources = open_lines(task.settings, task.paths, task.map_path())
        collector = LinesCollector(task.settings)
        register = Register(task.settings, [PARTITION])
        events = 0
        for name in sources:
            collector.declare(name)
        for name, block in merge_sources(sources):
            if isinstance(block, Lines):
                collector.receive_lines(block)
                events += len(block)
            elif block is not None:
                collector.receive(block)
                events += len(block.events)
            else:
                collector.finish(name)
                if collector.finished():
                    collector.end(collector.watermark_ms())
            for said in _said(collector, register, events):
                write(said)
        ledgers = {name: ledger.summary() for name, ledger in register.ledgers.items()}
        write(Ended(counts_of([collector]), ledgers))
    except ConfigError as error:
        write(Failed(str(error)))


def _said(collector: Collector, register: Register, events: int) -> Iterator[Said]:
    """Pass on what the collector said, and return what is to be said of it."""
    sequence, before_ms = register.partitions[PARTITION].next_sequence, register.watermark_ms()
    register.receive(Envelope(PARTITION, sequence, collector.watermark_ms(), collector.messages))
    said = Said(register.turns, collector.rejects, register.watermark_ms(), events)
    collector.messages, collector.rejects, register.turns = [], [], []
    return said_in_parts(said, before_ms)


def main() -> None:
    """Do what the task says, for as long as somebody listens."""
    collect_seldom()
    signal.signal(signal.SIGTERM, _stop)
    pipe = os.dup(1)
    os.dup2(2, 1)  # what a library may print is no frame
    _stop_when_nobody_listens(pipe)
    with open(int(sys.argv[1]), "rb") as file:
        task = msgspec.json.decode(file.read(), type=Task)

    def write(frame: Said | Ended | Failed) -> None:
        if not isinstance(frame, Said):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending as it is
        write_frame(pipe, frame)

    try:
        feed(task, write)
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
