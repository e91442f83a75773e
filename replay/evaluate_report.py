"""Shows an evaluation on the terminal, and writes evaluate.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from replay.evaluate import Evaluation
from replay.evaluate_figures import Figure
from replay.summary import rounded

__all__ = ["new_table", "print_evaluation", "write_json"]

FALSE_COLUMNS = {
    "false_alarms_fresh": "fresh series",
    "false_alarms_as_new": "as new",
    "too_early": "too early",
    "false_discoveries": "of alarms /n",
}
POWER_COLUMNS = {
    "power_0": "at onset",
    "power_2": "2 on",
    "power_5": "5 on",
    "power_10": "10 on",
    "delay": "delay",
}
RETENTION_ROWS = {
    "error": "mean |error|",
    "always_as_new": "always as new",
    "bias": "mean error",
    "coverage": "90 % hold",
}


def write_json(path: Path, content: Any) -> None:
    """Write figures as JSON, to six digits."""
    plain = rounded(msgspec.to_builtins(content))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print tables of what was measured, then what was not and why."""
    of = " ".join(str(part) for part in (evaluation.scenario, evaluation.seed) if part is not None)
    console.print(
        f"{of or 'world'}: {evaluation.appeals:,} appeals, {evaluation.repeats:,} of them repeats; "
        f"{evaluation.series:,} series, {evaluation.series_with_onset:,} with an onset. "
        "In brackets 90 % intervals: each end is a one-sided 95 % limit."
    )
    if evaluation.retention:
        console.print(_retention_table(evaluation))
    console.print(_alarm_table("False alarms, %", evaluation.detectors, FALSE_COLUMNS))
    console.print(_alarm_table("Power, % alarmed by then", evaluation.detectors, POWER_COLUMNS))
    for name, rows in evaluation.parameters.items():
        console.print(_parameter_table(name, rows))
    console.print(_kinds(evaluation))
    for what, why in evaluation.not_computed.items():
        console.print(f"Not computed: {what}: {why}.")


def _kinds(evaluation: Evaluation) -> str:
    shown, needed = evaluation.kinds["established"], evaluation.kinds["repeats_needed"]
    text = f"Wear-out established by a kind's own evidence: {_percent(shown, False)} % of {shown.n}"
    if needed.value is None:
        return f"{text}."
    after = [row["established_after"] for row in evaluation.by_kind]
    took = [repeats for repeats in after if repeats is not None]
    return f"{text}, after {needed.value:g} repeats in the middle ({min(took)} to {max(took)})."


def _retention_table(evaluation: Evaluation) -> Table:
    table = new_table(
        "Log retention over repeats, against the truth", "said:", *evaluation.retention
    )
    for name, label in RETENTION_ROWS.items():
        cells = (_text(figures[name]) for figures in evaluation.retention.values())
        table.add_row(label, *cells)
    held = [evaluation.counts.get(stage) for stage in evaluation.retention]
    table.add_row("of counts", *("" if figure is None else _text(figure) for figure in held))
    numbers = (f"{figures['error'].n:,}" for figures in evaluation.retention.values())
    table.add_row("repeats", *numbers)
    return table


def _alarm_table(
    title: str, detectors: dict[str, dict[str, Figure]], columns: dict[str, str]
) -> Table:
    """Show shares in percent. Those that are of the same series say of how many in the header."""
    counts = {column: {figures[column].n for figures in detectors.values()} for column in columns}
    common = {column: len(ns) == 1 for column, ns in counts.items()}
    headers = [
        f"{header}, n={max(counts[column])}" if common[column] else header
        for column, header in columns.items()
    ]
    table = new_table(title, "alarm", *headers)
    for name, figures in detectors.items():
        cells = [_percent(figures[column], not common[column]) for column in columns]
        if "delay" in columns:
            cells[-1] = "-" if figures["delay"].value is None else f"{figures['delay'].value:+g}"
        table.add_row(name, *cells)
    return table


def _parameter_table(community: str, rows: list[dict[str, Any]]) -> Table:
    title = f"Wear-out per appeal of stock, and half-life in days: {community}"
    table = new_table(title, "axis", "true", "learned", "half-life", "learned", "off by")
    for row in rows:
        days, factor = row.get("half_life_days"), row.get("half_life_factor")
        table.add_row(
            row["axis"],
            f"{row['wear_out_true']:g}",
            _text(row["wear_out"]),
            "-" if days is None else f"{row['half_life_days_true']:g}",
            "-" if days is None else f"{days.value:.1f} ({days.low:.1f} to {days.high:.1f})",
            "-" if factor is None else f"x {factor:.2f}",
        )
    return table


def new_table(title: str, first: str, *headers: str) -> Table:
    """Return an empty table: the first column to the left, the others to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for header in headers:
        table.add_column(header, justify="right")
    return table


def _text(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _percent(figure: Figure, show_n: bool) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    value, low, high = (_short(100.0 * part) for part in (figure.value, figure.low, figure.high))
    return f"{value} ({low}-{high})" + (f" /{figure.n}" if show_n else "")


def _short(percent: float) -> str:
    return f"{percent:.1f}" if 0.0 < percent < 9.95 else f"{percent:.0f}"
