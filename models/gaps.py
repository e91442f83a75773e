"""What is typical of the time between appeals, for the summary."""

from __future__ import annotations

from math import exp, log
from typing import Any

__all__ = ["Gaps"]

UNKNOWN_DAYS = 7.0  # until two appeals have told


class Gaps:
    """The time between appeals of one appealer to one audience, and of a kind in the community."""

    def __init__(self) -> None:
        self._log_sum = 0.0
        self._number = 0
        self._spans: dict[str, tuple[int, float, float]] = {}

    def notice(self, time_days: float, last_days: float, kind: str | None) -> None:
        """Count an appeal; `last_days` is minus infinity if there was none before, `kind` None if
        the kind has no coefficients of its own.
        """
        gap_days = time_days - last_days
        if 0.0 < gap_days < float("inf"):
            self._log_sum += log(gap_days)
            self._number += 1
        if kind is not None:
            count, first_days, latest_days = self._spans.get(kind, (0, time_days, time_days))
            # Appeals come as they are learned, not as they were put.
            days = min(first_days, time_days), max(latest_days, time_days)
            self._spans[kind] = (count + 1, *days)

    @property
    def typical_days(self) -> float:
        """The geometric mean of the time between an appealer's appeals to an audience."""
        return exp(self._log_sum / self._number) if self._number else UNKNOWN_DAYS

    def of_kind_days(self, kind: str) -> float:
        """Return the mean time between appeals of a kind in the community."""
        count, first_days, last_days = self._spans.get(kind, (0, 0.0, 0.0))
        return (last_days - first_days) / (count - 1) if count > 1 else UNKNOWN_DAYS

    def state(self) -> dict[str, Any]:
        spans = [[kind, *span] for kind, span in self._spans.items()]
        return {"log_sum": self._log_sum, "number": self._number, "spans": spans}

    def restore(self, state: dict[str, Any]) -> None:
        self._log_sum, self._number = state["log_sum"], state["number"]
        self._spans = {kind: (count, *days) for kind, count, *days in state["spans"]}
