"""What `askagain evaluate` does on real events: replay, compare, show, write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from replay.compare import compare_models
from replay.compare_report import plot_comparison, print_comparison
from replay.evaluate_report import write_json
from replay.run import _progress as progress
from streams.collector import Block
from streams.settings import Settings

__all__ = ["run_compare"]


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
        comparison, replayed = compare_models(sources, settings, on_progress=on_progress)
    print_comparison(console, comparison)
    console.print(f"{replayed.fates['read']:,} events in {replayed.seconds:.1f} s")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "evaluate.json", comparison._asdict())
        written = ", ".join(path.name for path in plot_comparison(out, comparison))
        console.print(f"Files in {out}: evaluate.json, {written}")
