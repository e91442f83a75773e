"""The command `askagain evaluate`: against a truth, or against other models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replay.options import ConfigOption, MapOption, SetOption, settings_of
from streams.settings import ConfigError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(name="evaluate")(evaluate)


def evaluate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Folder with events.jsonl and truth.json, or files of events."),
    ] = None,
    map_file: MapOption = None,
    truth_file: Annotated[
        Path | None, typer.Option("--truth", help="What is true of the events: truth.json.")
    ] = None,
    config: ConfigOption = None,
    given: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for evaluate.json and the plot; by default DIR."),
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
) -> None:
    """Measure: against the truth of a simulated world or, on real events, against other models.

    With a truth: how far retention was off before, during and after the responses, how often the
    intervals held, false alarms, power and delay, and the same of alarm rules that people use.
    Without: how well the responses were foretold, beside models learned online and one fitted to
    all events at once, and retention by repeat, naive beside adjusted.

    Examples:

        askagain evaluate world

        askagain evaluate --map sends.toml --truth truth.json --out out

        askagain evaluate --map bank.toml --out out
    """
    from replay.compare_run import run_compare  # after the arguments are known to be right
    from replay.evaluate_run import run_evaluate
    from replay.inputs import Inputs

    files, truth = _where(paths or [], map_file, truth_file)
    folder = out or (Path(paths[0]) if paths and Path(paths[0]).is_dir() else None)
    inputs = Inputs(files, map_file, None, lambda said: settings_of(config, given, said))
    with inputs.open() as (settings, sources):
        if truth is not None:
            run_evaluate(sources, settings, truth, folder, quiet=quiet)
        else:
            run_compare(sources, settings, folder, quiet=quiet)


def _where(
    paths: list[str], map_file: Path | None, truth_file: Path | None
) -> tuple[list[str], Path | None]:
    """Return files of events, and the truth if there is one."""
    if bool(paths) == (map_file is not None):
        raise ConfigError(
            "evaluate: expected a folder, files of events, or --map MAP.toml, one of the three"
        )
    if len(paths) == 1 and Path(paths[0]).is_dir():
        folder = Path(paths[0])
        beside = folder / "truth.json"
        return [str(folder / "events.jsonl")], truth_file or (beside if beside.exists() else None)
    return paths, truth_file
