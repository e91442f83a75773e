"""What `askagain evaluate` does with a truth: replay, measure, show, write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from replay.evaluate import Evaluation, evaluate_world
from replay.evaluate_report import print_evaluation, write_json
from replay.evaluate_truth import read_truth
from replay.plots import Curve, plot_retention
from replay.run import _progress as progress
from streams.collector import Block
from streams.settings import Settings

__all__ = ["run_evaluate"]


def run_evaluate(
    sources: dict[str, Iterator[Block]],
    settings: Settings,
    truth_file: Path,
    out: Path | None,
    *,
    quiet: bool = False,
) -> None:
    """Measure a replay against a truth; write evaluate.json and retention.png to `out`."""
    truth = read_truth(truth_file)
    with progress(quiet) as on_progress:
        evaluation, replayed = evaluate_world(sources, settings, truth, on_progress=on_progress)
    console = Console()
    print_evaluation(console, evaluation)
    console.print(f"{replayed.fates['read']:,} events in {replayed.seconds:.1f} s")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "evaluate.json", evaluation._asdict())
        if evaluation.by_repeat:
            plot_retention(out / "retention.png", _title(evaluation), _curves(evaluation))


def _title(evaluation: Evaluation) -> str:
    return f"Retention by repeat, geometric mean over appeals: {evaluation.scenario or 'world'}"


def _curves(evaluation: Evaluation) -> list[Curve]:
    labels = {"truth": "true", "prior": "said before the responses", "final": "said after them"}
    return [_curve(label, evaluation.by_repeat, name) for name, label in labels.items()]


def _curve(label: str, rows: list[dict[str, Any]], name: str) -> Curve:
    figures = [row[name] for row in rows]
    return Curve(
        label,
        [row["repeat"] for row in rows],
        [figure.value for figure in figures],
        [figure.low for figure in figures],
        [figure.high for figure in figures],
    )
