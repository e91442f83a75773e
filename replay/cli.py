"""The command line: `askagain`. Data to stdout, talk to stderr, exit codes that mean something.

0: done. 1: stopped at bad input (--strict), or a check that was asked for failed. 2: wrong use,
setting or mapping. 3: a process of its own died, so what was written is not complete.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from replay import cli_evaluate, cli_live, cli_metrics
from replay.errors import ReadingDied, StrictError
from replay.garbage import collect_seldom
from replay.options import (
    ConfigOption,
    DryRunOption,
    EventsArgument,
    FromKafkaOption,
    MapOption,
    OpenMetricsOption,
    OutOption,
    ProcessesOption,
    ServeOption,
    SetOption,
    SpeedOption,
    settings_of,
)
from streams.settings import ConfigError, Settings

__all__ = ["app", "main"]

app = typer.Typer(
    name="askagain",
    help="Does asking again still work? Learns online how much of a first appeal's response each "
    "repeat still gets, says which trick is worn out, why, how sure it is, and when it may be "
    "asked again.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.command(name="replay")
def replay_command(
    events: EventsArgument = None,
    map_file: MapOption = None,
    config: ConfigOption = None,
    out: OutOption = None,
    given: SetOption = None,
    strict: Annotated[bool, typer.Option(help="Stop at the first bad event, exit code 1.")] = False,
    speed: SpeedOption = "max",
    rows: Annotated[int, typer.Option(help="Series shown at each end of the table.", min=0)] = 10,
    quiet: Annotated[bool, typer.Option(help="No progress bar, no table.")] = False,
    dry_run: DryRunOption = False,
    from_kafka: FromKafkaOption = False,
    since: Annotated[
        str | None, typer.Option(help="With --from-kafka: from this log time.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="With --from-kafka: to this log time.")] = None,
    openmetrics: OpenMetricsOption = None,
    serve: ServeOption = None,
    processes: ProcessesOption = None,
) -> None:
    """Replay history: events in, verdicts out.

    Examples:

        askagain replay events.jsonl.gz --out out

        askagain replay --map bank.toml --set horizon=1d --out out

        zcat old/*.gz | askagain replay - --strict
    """
    from replay.ahead import reading_ahead
    from replay.inputs import Inputs, KafkaSpan

    def settings(mapped: dict[str, Any]) -> Settings:
        return settings_of(config, given, mapped)

    if dry_run and map_file is not None:
        from replay.run import run_dry

        run_dry(map_file, settings)
        return
    # Who waits for time to pass, or watches the collector, has it in the same process.
    alone = speed != "max" or from_kafka or openmetrics is not None or serve is not None
    if alone and processes == 2:
        raise ConfigError("--processes 2: expected without --speed, --from-kafka and metrics")
    kafka = KafkaSpan(config, since, until) if from_kafka else None
    inputs = Inputs(events or [], map_file, kafka, settings)
    with reading_ahead(inputs, 1 if alone else processes) as ahead:
        from replay.run import Watched, run_replay  # takes a second; the other process reads by now

        run_replay(
            inputs,
            out,
            strict=strict,
            speed=_speed(speed),
            rows=rows,
            quiet=quiet,
            watched=Watched(openmetrics, serve),
            ahead=ahead,
        )


@app.command()
def plan(
    appealer: Annotated[str, typer.Option(help="Who asks.")],
    kind: Annotated[str, typer.Option(help="The trick.")] = "default",
    events: EventsArgument = None,
    map_file: MapOption = None,
    config: ConfigOption = None,
    given: SetOption = None,
    days: Annotated[float, typer.Option(help="How far to plan.", min=1, max=3660)] = 90.0,
    every: Annotated[
        str, typer.Option(help="Cadences to compare, in days.")
    ] = "1,2,3,5,7,10,14,21,30,45,60,90",
    plot: Annotated[Path | None, typer.Option(help="Picture file, e.g. plan.png.")] = None,
) -> None:
    """What if I ask every so many days? Compares cadences for one appealer and kind.

    Example:

        askagain plan events.jsonl --appealer armano --kind help-a-friend --days 90
    """
    from replay.inputs import Inputs
    from replay.run import run_plan

    try:
        cadences = [float(text) for text in every.split(",")]
    except ValueError:
        cadences = [-1.0]
    if not all(0.0 < cadence <= 3660.0 for cadence in cadences):
        raise ConfigError(f"--every: expected days such as 3,7,14, got {every!r}")
    inputs = Inputs(events or [], map_file, None, lambda mapped: settings_of(config, given, mapped))
    run_plan(
        inputs,
        appealer,
        kind,
        days,
        cadences,
        plot,
    )


@app.command()
def demo(out: OutOption = None) -> None:
    """Replay a small synthetic stream around two nights of January 2009.

    Example:

        askagain demo
    """
    from replay.run import run_demo

    run_demo(out)


@app.command()
def simulate(
    scenario: Annotated[str, typer.Argument(help="fresh, classic, emulators, outage, ...")],
    out: Annotated[Path, typer.Option("--out", help="Folder for events.jsonl and truth.json.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.", min=0)] = 1,
    appeals: Annotated[int, typer.Option(help="How many appeals.", min=1)] = 3000,
) -> None:
    """Simulate a stream of which the truth is known: events.jsonl and truth.json.

    Scenarios: fresh, classic, emulators, outage, seasonal, abrupt, recovering, brand_vs_human,
    surge, mixed, immune.

    Example:

        askagain simulate classic --seed 7 --appeals 3000 --out world
    """
    from replay.run import run_simulate

    run_simulate(scenario, seed, appeals, out)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < float("inf"):
        raise ConfigError(f"--speed: expected max or a number > 0, got {text!r}")
    return speed


def main() -> None:
    """Run the command line."""
    collect_seldom()
    for module in (cli_evaluate, cli_live, cli_metrics):
        module.register(app)
    try:
        app()
    except ConfigError as error:
        _fail(str(error), 2)
    except StrictError as error:
        _fail(str(error), 1)
    except ReadingDied as error:
        _fail(str(error), 3)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _fail(message: str, code: int) -> None:
    typer.echo(f"askagain: {message}", err=True)
    sys.exit(code)
