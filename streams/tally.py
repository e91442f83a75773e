"""What was asked and what came, by kind and repeat: the plain figures beside the learned ones."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.events import Appeal

__all__ = ["REPEAT_MAX", "Cell", "Tally"]

# The tenth repeat stands for all later ones.
REPEAT_MAX = 10
# A kind's ten cells take about 1 kB.
KINDS_MAX = 1000
OTHER = "other"


class Cell(msgspec.Struct, array_like=True):
    """Sums over closed appeals of one kind and repeat. `reach` in people, value in millionths."""

    appeals: int = 0
    reach: float = 0.0
    responses: int = 0
    exits: int = 0
    value_micros: int = 0


class Tally:
    """Counts closed appeals by kind and repeat (of the kind, to the audience).

    Parameters
    ----------
    kinds
        Cells to go on from.
    """

    def __init__(self, kinds: dict[str, list[Cell]] | None = None) -> None:
        self.kinds: dict[str, list[Cell]] = kinds or {}

    def learn(self, appeal: Appeal, repeat: int, responses: int, exits: int, value: int) -> None:
        """Count a closed appeal; `value` in millionths."""
        known = appeal.kind in self.kinds or len(self.kinds) < KINDS_MAX
        cells = self.kinds.setdefault(appeal.kind if known else OTHER, [])
        repeat = min(repeat, REPEAT_MAX)
        cells += [Cell() for _ in range(repeat - len(cells))]
        cell = cells[repeat - 1]
        cell.appeals += 1
        cell.reach += appeal.reach
        cell.responses += responses
        cell.exits += exits
        cell.value_micros += value

    def summary(self, exit_price: float) -> dict[str, Any]:
        """Return, by kind, what each repeat drew; retention is naive: relative to the first."""
        return {
            kind: [
                _row(repeat, cell, cells[0], exit_price)
                for repeat, cell in enumerate(cells, start=1)
                if cell.appeals
            ]
            for kind, cells in sorted(self.kinds.items())
        }


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
        "value_per_appeal": worth / cell.appeals,
        "net_value_per_appeal": (worth - exit_price * cell.exits) / cell.appeals,
    }
