"""How well the model foretells: scored on each appeal before learning it."""

from __future__ import annotations

from typing import Any

import msgspec

from models.drift import FitWatch
from models.forecast import Forecast

__all__ = ["Fit", "FitState"]

BATCH = 64  # appeals


class FitState(msgspec.Struct):
    """Plain data of a `Fit`."""

    appeals: int = 0
    log_score: float = 0.0
    inside: int = 0
    misfits: int = 0
    misfit_at_ms: int | None = None
    watch: dict[str, Any] | None = None


class Fit:
    """Sums of predictive log scores, the share of counts inside their 90 % interval, and a watch.

    What is learned here decides nothing, so it can wait: appeals are worked off in batches.

    Parameters
    ----------
    state
        Taken over, not copied.
    """

    def __init__(self, state: FitState | None = None) -> None:
        self._state = state or FitState()
        self._waiting: list[tuple[int, Forecast, float, int]] = []
        self._watch = FitWatch()
        if self._state.watch is not None:
            self._watch.restore(self._state.watch)

    def learn(self, responses: int, forecast: Forecast, log_score: float, now_ms: int) -> None:
        """Take note of what was foretold of an appeal, and what came."""
        self._waiting.append((responses, forecast, log_score, now_ms))
        if len(self._waiting) >= BATCH:
            self._work_off()

    def _work_off(self) -> None:
        if not self._waiting:
            return
        state = self._state
        responses, forecasts, log_scores, times_ms = zip(*self._waiting, strict=True)
        state.appeals += len(responses)
        for log_score in log_scores:  # not by `sum`, which from Python 3.12 on mends its rounding
            state.log_score += log_score
        for y, forecast in zip(responses, forecasts, strict=True):
            state.inside += forecast.mean_low <= y <= forecast.mean_high
        for found, now_ms in zip(
            self._watch.learn_many(forecasts, responses), times_ms, strict=True
        ):
            if found:
                state.misfits += 1
                state.misfit_at_ms = now_ms
        self._waiting.clear()

    def log_score(self) -> float:
        """Return the sum of the model's log scores, in nats."""
        self._work_off()
        return self._state.log_score

    def summary(self, challengers: dict[str, float]) -> dict[str, Any]:
        """Return log scores in nats an appeal, the greater the better; ours first.

        challengers : the sums of theirs over the same appeals.
        """
        self._work_off()
        state, appeals = self._state, max(self._state.appeals, 1)
        scores = {"askagain": state.log_score, **challengers}
        return {
            "appeals": state.appeals,
            "log_score_per_appeal": {name: total / appeals for name, total in scores.items()},
            "share_inside_90": state.inside / appeals,
            "misfits": state.misfits,
            "misfit_at_ms": state.misfit_at_ms,
        }

    def state(self) -> FitState:
        """Return everything kept as plain data."""
        self._work_off()
        self._state.watch = self._watch.state()
        return self._state
