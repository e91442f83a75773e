"""Figures as PNG files: retention by repeat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Curve", "plot_retention"]


class Curve(NamedTuple):
    """Retention by repeat with its interval; None where there is none."""

    label: str
    repeats: Sequence[int]
    values: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


# Okabe and Ito's colours, told apart by everybody; markers and dashes for print.
STYLES = [
    ("#000000", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#0072B2", "^", "-"),
    ("#009E73", "D", ":"),
]


def plot_retention(path: Path, title: str, curves: Sequence[Curve]) -> None:
    """Draw retention by repeat, each curve with its band, and the line of "as new"."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.0, 4.5), layout="constrained")
    axes.axhline(1.0, color="0.6", linewidth=1.0)
    for curve, (colour, marker, dash) in zip(curves, STYLES, strict=False):
        _draw(axes, curve, colour, marker, dash)
    axes.set(title=title, xlabel="repeat", ylabel="retention (1: as new)", ylim=(0.0, None))
    axes.legend(frameon=False)
    # No date and no version in the file: the same figures give the same bytes.
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def _draw(axes: Any, curve: Curve, colour: str, marker: str, dash: str) -> None:
    rows = [
        row for row in zip(*curve[1:], strict=True) if all(number is not None for number in row)
    ]
    if not rows:
        return
    repeats, values, low, high = zip(*rows, strict=True)
    axes.plot(repeats, values, color=colour, marker=marker, linestyle=dash, label=curve.label)
    axes.fill_between(repeats, low, high, color=colour, alpha=0.15, linewidth=0.0)
