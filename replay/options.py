"""Options that several commands share, and the settings they make."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.settings import ConfigError, Settings, load_settings

__all__ = [
    "ConfigOption",
    "DryRunOption",
    "EventsArgument",
    "FromKafkaOption",
    "MapOption",
    "OpenMetricsOption",
    "OutOption",
    "ProcessesOption",
    "ServeOption",
    "SetOption",
    "SpeedOption",
    "settings_of",
]

EventsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Files of events (JSON lines, gzip, zstd), or - for standard input."),
]
MapOption = Annotated[
    Path | None,
    typer.Option("--map", help="Mapping file that turns any table into events, or a shipped one."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only try the mapping: fates of rows, first events.")
]
FromKafkaOption = Annotated[
    bool, typer.Option("--from-kafka", help="Read a worker's topics, as [kafka] names them.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file, e.g. askagain.toml.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting, e.g. `--set horizon=3d`; may be given again."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for the files; made if absent.")
]
SpeedOption = Annotated[str, typer.Option(help="`max`, or so many times as fast as it happened.")]
OpenMetricsOption = Annotated[
    Path | None, typer.Option(help="Write metrics with the stream's own times, for back-fill.")
]
ServeOption = Annotated[
    str | None, typer.Option(help="Serve metrics at [HOST]:PORT while the replay runs.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        help="2: one reads while the other learns; by default where it pays.", min=1, max=2
    ),
]


def settings_of(
    config: Path | None, given: list[str] | None, mapped: dict[str, Any] | None = None
) -> Settings:
    """Read settings: the mapping's, then the file's, the environment's, the command line's."""
    pairs = [item.partition("=") for item in given or []]
    for name, sign, _ in pairs:
        if not sign:
            raise ConfigError(f"--set: expected NAME=VALUE, got {name!r}")
    overrides = {name: value for name, _, value in pairs}
    return load_settings(config, os.environ, overrides, mapped or {})
