"""What the commands do: put the parts together, show progress, print the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from replay.driver import Progress as Step
from replay.driver import Replayed, replay, replay_ahead
from replay.inputs import Inputs
from replay.output import Output
from replay.report import print_report, wide_console
from replay.summary import run_facts, summarise
from streams.codec import rfc3339
from streams.communities import Communities
from streams.pipeline import Pipeline
from streams.settings import ConfigError, Settings

if TYPE_CHECKING:
    from replay.ahead import Ahead
    from replay.watch import Watch

__all__ = ["Watched", "run_demo", "run_dry", "run_plan", "run_replay", "run_simulate"]

talk = Console(stderr=True)


class Watched(NamedTuple):
    """Where metrics go: a file for back-fill, an address to serve them at, or nowhere."""

    openmetrics: Path | None = None
    serve_at: str | None = None


def run_replay(
    inputs: Inputs,
    out: Path | None,
    *,
    strict: bool = False,
    speed: float | None = None,
    rows: int = 10,
    quiet: bool = False,
    watched: Watched | None = None,
    ahead: Ahead | None = None,
) -> None:
    """Replay, write the files of PRODUCT.md to `out`, print the table.

    `ahead` is a process that reads the inputs already, if there is one; with it nothing is watched
    and no speed kept.
    """
    if ahead is not None:
        assert speed is None and watched in (None, Watched())
        _run_ahead(ahead, out, strict, rows, quiet)
        return
    with ExitStack() as stack:
        settings, sources = stack.enter_context(inputs.open())
        pipeline = Pipeline(settings)
        output = stack.enter_context(Output(out))
        show = stack.enter_context(_progress(quiet))
        watch = stack.enter_context(_watching(pipeline, watched))
        replayed = replay(
            pipeline,
            sources,
            output,
            strict=strict,
            finish=inputs.kafka is None,  # a log goes on
            speed=speed,
            step_ms=None if watch is None else watch.step_ms,
            on_progress=show if watch is None else _both(show, watch.on_progress),
            on_facts=(lambda _: None) if watch is None else watch.on_facts,
        )
        _write_end(output, pipeline.learner, replayed, list(sources))
    if not quiet:
        print_report(pipeline.learner, replayed, out, rows)


def _run_ahead(ahead: Ahead, out: Path | None, strict: bool, rows: int, quiet: bool) -> None:
    learned = Communities(ahead.settings)
    with Output(out) as output, _progress(quiet) as show:
        frames = ahead.frames()
        replayed = replay_ahead(frames, learned, output, strict=strict, on_progress=show)
        _write_end(output, learned, replayed, ahead.names)
    if not quiet:
        print_report(learned, replayed, out, rows)


def _write_end(
    output: Output, learned: Communities, replayed: Replayed, sources: list[str]
) -> None:
    output.write_json("summary.json", summarise(learned, replayed))
    output.write_json("run.json", run_facts(replayed, sources))


def _both(first: Callable[[Step], None], second: Callable[[Step], None]) -> Callable[[Step], None]:
    def both(step: Step) -> None:
        first(step)
        second(step)

    return both


def _watching(pipeline: Pipeline, watched: Watched | None) -> AbstractContextManager[Watch | None]:
    if watched is None or watched == Watched():
        return nullcontext()  # without metrics there is no need to load Prometheus' client
    from replay.watch import watching

    return watching(pipeline, *watched)


def run_dry(map_file: Path, settings_of: Callable[[dict[str, Any]], Settings]) -> None:
    """Try a mapping: the fate of every row, and the first events."""
    from replay.mapping import describe, load_mapping
    from replay.tables import shipped_map

    map_file = shipped_map(str(map_file)) or map_file
    settings = settings_of(load_mapping(map_file).settings)
    tried = describe(map_file, horizon_ms=settings.horizon_ms)
    console = wide_console()
    for one in tried.sources:
        console.print(
            f"{one.table}: {one.source}: {one.rows:,} rows, {one.left_out:,} left out, "
            f"{one.events:,} events, {sum(one.rejected.values()):,} rejected",
            markup=False,
        )
        for reason, number in sorted(one.rejected.items()):
            console.print(f"  rejected: {number:,} {reason}", markup=False)
    for event in tried.first:
        console.print(msgspec.json.encode(event).decode(), markup=False, highlight=False)


def run_plan(
    inputs: Inputs,
    appealer: str,
    kind: str,
    horizon_days: float,
    every_days: list[float],
    plot: Path | None,
) -> None:
    """Replay, then compare cadences for one series."""
    from replay.planning import plan_series, print_plan, save_plan

    with inputs.open() as (settings, sources), _progress(False) as on_progress:
        pipeline = Pipeline(settings)
        replay(pipeline, sources, Output(None), on_progress=on_progress)
    plan = plan_series(pipeline, appealer, kind, horizon_days, every_days)
    print_plan(plan, appealer, kind, pipeline.learner.watermark_ms())
    if plot is not None:
        save_plan(plan, plot)
        talk.print(f"plot in {plot}")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Show events a second and the stream's own date, a few times a second."""
    if quiet:
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=talk, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        started_s = time.perf_counter()

        def show(step: Step) -> None:
            rate = step.events / max(time.perf_counter() - started_s, 1e-3)
            date = "" if abs(step.watermark_ms) > 1 << 50 else rfc3339(step.watermark_ms)[:10]
            text = f"{step.events:,} events  {rate:,.0f}/s  {date}"
            bar.update(task, description=text)

        yield show


def run_demo(out: Path | None) -> None:
    """Write the story of January 2009, replay it, show the verdicts."""
    from tempfile import TemporaryDirectory

    from replay.story import write_story

    with TemporaryDirectory(prefix="askagain-") as scratch:
        folder = out or Path(scratch)
        story = write_story(folder)
        talk.print("Two real appeals of January 2009; every repeat and emulator is invented.")
        inputs = Inputs([str(story.events)], None, None, lambda _: Settings())
        run_replay(inputs, out, rows=8)


def run_simulate(scenario: str, seed: int, appeals: int, out: Path) -> None:
    """Write events.jsonl and truth.json of a simulated world."""
    from replay.scenarios import SCENARIOS
    from replay.simulate import write_simulation

    if scenario not in SCENARIOS:
        raise ConfigError(f"simulate: expected one of {', '.join(SCENARIOS)}, got {scenario!r}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=talk, transient=True) as bar:
        task = bar.add_task(f"simulating {scenario}", total=appeals)
        written = write_simulation(
            scenario, seed, appeals, out, progress=lambda done, _: bar.update(task, completed=done)
        )
    talk.print(
        f"{written.appeals:,} appeals, {written.responses:,} responses, {written.exits:,} exits: "
        f"{written.events}\nwhat is true of them: {written.truth}"
    )
