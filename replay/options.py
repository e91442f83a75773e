"""Options that several commands share, and the settings they make."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.settings import ConfigError, Settings, load_settings

__all__ = ["ConfigOption", "OutOption", "SetOption", "settings_of"]

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
