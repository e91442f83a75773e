"""What the terminal shows after a replay: the worst and best series, then where the files are."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from replay.driver import Replayed
from replay.output import FILES
from streams.codec import rfc3339
from streams.communities import Communities
from streams.events import Verdict

__all__ = ["print_report", "wide_console"]

STYLES = {"worn_out": "red", "tiring": "yellow", "recovering": "cyan", "rising": "green"}


def print_report(learned: Communities, replayed: Replayed, out: Path | None, rows: int) -> None:
    """Print a summary of fates, the `rows` worst and best series, and the files written."""
    console = wide_console()
    verdicts = [
        verdict
        for _, community in sorted(learned.communities.items())
        for verdict in community.series.verdicts()
    ]
    _print_fates(console, replayed)
    _print_states(console, verdicts)
    spoken = sorted(
        (v for v in verdicts if v.state != "unknown"),
        key=lambda v: (v.retention, v.community, v.appealer, v.kind),
    )
    worst, best = spoken[:rows], spoken[max(rows, len(spoken) - rows) :][::-1]
    for title, chosen in (("Worst: least retention", worst), ("Best: most retention", best)):
        if chosen:
            console.print(_table(title, chosen))
    if out is not None:
        names = ", ".join([*FILES.values(), "summary.json", "run.json"])
        console.print(f"Files in {escape(str(out))}: {names}")


def _print_fates(console: Console, replayed: Replayed) -> None:
    fates = replayed.fates
    console.print(
        f"{fates['read']:,} events: {fates['appeals']:,} appeals, {fates['responses']:,} responses,"
        f" {fates['exits']:,} exits, {fates['rejected']:,} rejected."
        f" {replayed.seconds:.1f} s, {fates['read'] / max(replayed.seconds, 1e-9):,.0f} events/s"
    )
    for reason, number in fates["rejected_by_reason"].items():
        console.print(f"  rejected: {number:,} {reason}")


def _print_states(console: Console, verdicts: list[Verdict]) -> None:
    states: dict[str, int] = {}
    for verdict in verdicts:
        states[verdict.state] = states.get(verdict.state, 0) + 1
    text = ", ".join(f"{number:,} {state}" for state, number in sorted(states.items()))
    console.print(f"{len(verdicts):,} series: {text or 'none'}")


def wide_console() -> Console:
    """A file or a pipe has no width of its own: give the table room there."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _table(title: str, verdicts: list[Verdict]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("appealer", "kind"):
        table.add_column(name, no_wrap=True, max_width=20, overflow="ellipsis")
    table.add_column("#", justify="right", no_wrap=True)
    for name in ("state", "retention", "ask again"):
        table.add_column(name, no_wrap=True)
    table.add_column("reason", min_width=24)
    for verdict in verdicts:
        style = STYLES.get(verdict.state, "")
        table.add_row(*(escape(cell) for cell in _cells(verdict)), style=style)
    return table


def _cells(verdict: Verdict) -> list[str]:
    when = verdict.ask_again_at_ms
    return [
        _shown(verdict.appealer),
        _shown(verdict.kind),
        str(verdict.repeat),
        f"{verdict.state} ({verdict.basis})",
        f"{verdict.retention:.2f} ({verdict.low:.2f} to {verdict.high:.2f})",
        "-" if when is None else rfc3339(when)[:10],
        f"{verdict.reason}: {verdict.action}",
    ]


def _shown(text: str) -> str:
    """Show no control characters: a name must not steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
