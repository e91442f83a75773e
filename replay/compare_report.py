"""Shows a comparison on the terminal, and draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from replay.compare import Comparison
from replay.evaluate_figures import Figure
from replay.evaluate_report import new_table
from replay.plots import Curve, plot_retention

__all__ = ["plot_comparison", "print_comparison"]

CURVES = {
    "naive": "naive",
    "adjusted": "adjusted, batch",
    "within": "within audiences",
    "model": "model",
}
AXES = {"own": "asked by the same appealer", "kind": "asked so by the same appealer"}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print log scores, curves, and what was not computed and why."""
    console.print(
        f"{comparison.appeals:,} appeals learned from. In brackets 90 % intervals, "
        f"clustered by {comparison.clustered_by}."
    )
    console.print(_score_table(comparison))
    for axis, rows in comparison.curves.items():
        console.print(_curve_table(axis, rows))
    for what, why in comparison.not_computed.items():
        console.print(f"Not computed: {what}: {why}.")


def plot_comparison(folder: Path, comparison: Comparison) -> list[Path]:
    """Draw each axis' curves into `retention-AXIS.png`; return what was written."""
    written = []
    for axis, rows in comparison.curves.items():
        path = folder / f"retention-{axis}.png"
        curves = [_curve(name, rows) for name in CURVES if name in rows[0]]
        plot_retention(path, f"Retention by repeat: audience {AXES[axis]}", curves)
        written.append(path)
    return written


def _score_table(comparison: Comparison) -> Table:
    title = "Log score an appeal, said beforehand, nats; and by how much askagain is ahead"
    later = f"later {comparison.later:,}"
    table = new_table(title, "model", "all", "askagain ahead", later, "askagain ahead")
    for name, parts in comparison.log_scores.items():
        cells: list[str] = []
        for part in ("all", "later"):
            figures = parts.get(part)
            cells += ["", ""] if figures is None else _scores(figures)
        table.add_row(name, *cells)
    return table


def _scores(figures: dict[str, Figure]) -> list[str]:
    score, ahead = figures["log_score"].value, figures["ahead"]
    if ahead.low is None or ahead.high is None or ahead.value is None or score is None:
        return [f"{score:.4f}" if score is not None else "-", "-"]
    if ahead.low == ahead.high == 0.0:
        return [f"{score:.4f}", ""]
    return [f"{score:.4f}", f"{ahead.value:+.4f} ({ahead.low:+.4f} to {ahead.high:+.4f})"]


def _curve_table(axis: str, rows: list[dict[str, Any]]) -> Table:
    names = [name for name in CURVES if name in rows[0]]
    title = f"Retention by repeat, relative to the first: audience {AXES[axis]}"
    table = new_table(title, "repeat", "appeals", *(CURVES[name] for name in names))
    for row in rows:
        cells = (_ratio(row[name]) for name in names)
        table.add_row(str(row["repeat"]), f"{row['appeals']:,}", *cells)
    return table


def _ratio(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return f"{figure.value:.2f} ({figure.low:.2f}-{figure.high:.2f})"


def _curve(name: str, rows: list[dict[str, Any]]) -> Curve:
    figures = [row[name] for row in rows]
    return Curve(
        CURVES[name],
        [row["repeat"] for row in rows],
        [figure.value for figure in figures],
        [figure.low for figure in figures],
        [figure.high for figure in figures],
    )
