"""What `askagain evaluate` does on real events: replay, compare, show, write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from replay.compare import REFITS, compare_models, learn_from
from replay.compare_report import plot_comparison, print_comparison
from replay.evaluate_report import write_json
from replay.run import _progress as progress
from replay.run import talk
from streams.collector import Block
from streams.settings import Settings

__all__ = ["run_compare"]


@contextmanager
def _fitting(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how many of the batch regressions have been fitted."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk, transient=True, disable=quiet) as bar:
        task = bar.add_task("fitting batch regressions", total=REFITS)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def run_compare(
    sources: dict[str, Iterator[Block]],
    settings: Settings,
    out: Path | None,
    *,
    quiet: bool = False,
) -> None:
    """Compare models on a replay; write evaluate.json and a plot by axis to `out`."""
    console = Console()
    with progress(quiet) as on_progress:
        learned, replayed = learn_from(sources, settings, on_progress=on_progress)
    with _fitting(quiet) as on_fit:
        comparison = compare_models(learned, on_fit=on_fit)
    print_comparison(console, comparison)
    console.print(f"{replayed.fates['read']:,} events in {replayed.seconds:.1f} s")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "evaluate.json", comparison._asdict())
        written = ", ".join(path.name for path in plot_comparison(out, comparison))
        console.print(f"Files in {out}: evaluate.json, {written}")
