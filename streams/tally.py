"""What was asked and what came, by kind and repeat: the plain figures beside the learned ones."""

from __future__ import annotations

from math import exp, log
from typing import Any

import msgspec

from models.forecast import Forecast
from streams.events import Appeal
from streams.open_appeal import MICROS_MAX

__all__ = ["REPEAT_MAX", "Cell", "Tally", "explained"]

# The tenth repeat stands for all later ones.
REPEAT_MAX = 10
# A kind's ten cells take about 1 kB.
KINDS_MAX = 1000
OTHER = "other"
FALL_MIN = 0.05  # natural log: a naive fall below that needs no explanation


class Cell(msgspec.Struct, array_like=True):
    """Sums over closed appeals of one kind and repeat. `reach` in people, value in millionths.

    firsts : responses expected had each been a first appeal then, to that audience at that level.
    kept, kept_low, kept_high : what the learned retention, and its 90 % interval, leaves of those.
    """

    appeals: int = 0
    reach: float = 0.0
    responses: int = 0
    exits: int = 0
    value_micros: int = 0
    firsts: float = 0.0
    kept: float = 0.0
    kept_low: float = 0.0
    kept_high: float = 0.0


class Tally:
    """Counts closed appeals by kind and repeat (of the kind, to the audience).

    Parameters
    ----------
    kinds
        Cells to go on from.
    """

    def __init__(self, kinds: dict[str, list[Cell]] | None = None) -> None:
        self.kinds: dict[str, list[Cell]] = kinds or {}

    def learn(
        self,
        appeal: Appeal,
        repeat: int,
        responses: int,
        exits: int,
        value: int,
        forecast: Forecast,
    ) -> None:
        """Count a closed appeal; `value` in millionths, `forecast` as of its end."""
        cell = self._cell(appeal.kind, min(repeat, REPEAT_MAX))
        cell.appeals += 1
        cell.reach += appeal.reach
        cell.responses += responses
        cell.exits += exits
        cell.value_micros = min(cell.value_micros + value, MICROS_MAX)
        first = forecast.mean / forecast.retention
        cell.firsts += first
        cell.kept += first * forecast.retention
        cell.kept_low += first * forecast.low
        cell.kept_high += first * forecast.high

    def _cell(self, kind: str, repeat: int) -> Cell:
        cells = self.kinds.get(kind)
        if cells is None:
            known = len(self.kinds) < KINDS_MAX
            cells = self.kinds.setdefault(kind if known else OTHER, [])
        while len(cells) < repeat:
            cells.append(Cell())
        return cells[repeat - 1]

    def summary(self, exit_price: float) -> dict[str, Any]:
        """Return, by kind, what each repeat drew: naive retention beside the learned one."""
        return {
            kind: [
                _row(repeat, cell, cells[0], exit_price)
                for repeat, cell in enumerate(cells, start=1)
                if cell.appeals
            ]
            for kind, cells in sorted(self.kinds.items())
        }


def explained(kind: str, rows: list[dict[str, Any]]) -> str | None:
    """Say how much of the naive fall over the repeats is not wear-out; None if nothing fell.

    Logs of both retentions, weighted by the appeals at each repeat.
    """
    repeats = [row for row in rows if row["repeat"] > 1 and row["naive_retention"]]
    naive = sum(row["appeals"] * log(row["naive_retention"]) for row in repeats)
    adjusted = sum(row["appeals"] * log(row["retention"]) for row in repeats)
    asked = sum(row["appeals"] for row in repeats)
    if not asked or naive / asked > -FALL_MIN:
        return None
    share = min(max(1.0 - adjusted / naive, 0.0), 1.0)
    return (
        f"{kind}: repeats naively keep {exp(naive / asked):.2f} of a first appeal's responses, "
        f"{exp(adjusted / asked):.2f} once level, calendar and who was asked are taken out: "
        f"these explain {share:.0%} of the fall"
    )


def _row(repeat: int, cell: Cell, first: Cell, exit_price: float) -> dict[str, Any]:
    rate = cell.responses / cell.reach
    first_rate = first.responses / first.reach if first.reach else 0.0
    worth = cell.value_micros / 1e6 if cell.value_micros else float(cell.responses)
    return {
        "repeat": repeat,
        "appeals": cell.appeals,
        "responses": cell.responses,
        "exits": cell.exits,
        "response_rate": rate,
        "exit_rate": cell.exits / cell.reach,
        "naive_retention": rate / first_rate if first_rate else None,
        "retention": cell.kept / cell.firsts,
        "low": cell.kept_low / cell.firsts,
        "high": cell.kept_high / cell.firsts,
        "value_per_appeal": worth / cell.appeals,
        "net_value_per_appeal": (worth - exit_price * cell.exits) / cell.appeals,
    }
