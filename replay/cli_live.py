"""The commands that need Kafka: `worker`, `send`, and the reading side of `replay --from-kafka`.

What they need is imported when they run, so that the rest of the command line starts without Faust.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from replay.options import EventsArgument, MapOption
from streams.settings import load_settings

__all__ = ["register"]

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file with a table [kafka].")
]


def register(app: typer.Typer) -> None:
    """Add the commands to a command line."""
    app.command()(worker)
    app.command(name="send")(send_command)


def worker(
    config: ConfigOption = None,
    http_port: Annotated[
        int | None, typer.Option(help="Port of /metrics, /health, /ready and /status.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run a worker on Kafka: events in, estimates and verdicts out, until SIGTERM.

    Several workers with one configuration share the load. Logs go to stderr, a JSON object a line.

    Example:

        ASKAGAIN_KAFKA_BOOTSTRAP_SERVERS=localhost:9092 askagain worker --config askagain.toml
    """
    from streams.kafka_config import load_kafka
    from streams.worker import run_worker

    overrides = {} if http_port is None else {"http_port": http_port}
    kafka = load_kafka(config, os.environ, overrides)
    settings = load_settings(config, os.environ, {})
    raise typer.Exit(run_worker(kafka, settings, log_level=log_level))


def send_command(
    events: EventsArgument = None,
    map_file: MapOption = None,
    config: ConfigOption = None,
    batch: Annotated[int, typer.Option(help="Events a message.", min=1, max=5_000)] = 100,
    finish: Annotated[
        bool,
        typer.Option(help="Write a tick at last, so that all that was sent is judged at once."),
    ] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
) -> None:
    """Publish events to the topics, keyed by appeal and in arrays.

    Example:

        askagain send events.jsonl.gz --config askagain.toml --finish
    """
    from replay.send import lines_of, mapped_lines, send
    from streams.kafka_config import load_kafka

    kafka = load_kafka(config, os.environ)
    settings = load_settings(config, os.environ, {})
    lines: Iterator[bytes] = (
        mapped_lines(map_file, settings.horizon_ms)
        if map_file is not None
        else lines_of(events or ["-"])
    )
    finish_ms = settings.allowed_lateness_ms + 1 if finish else None
    with _bar(quiet) as bar:
        task = bar.add_task("sending", total=None, events=0)
        sent = asyncio.run(
            send(
                kafka,
                lines,
                batch=batch,
                finish_ms=finish_ms,
                on_events=lambda number: bar.update(task, events=number),
            )
        )
    print(
        f"{sent.events:,} events in {sent.messages:,} messages"
        + (f"; {sent.unkeyed:,} are no events, and will be rejected" if sent.unkeyed else ""),
        file=sys.stderr,
    )


def _bar(quiet: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description} {task.fields[events]:,} events"),
        TimeElapsedColumn(),
        disable=quiet or not sys.stderr.isatty(),
        console=Console(stderr=True),
    )
