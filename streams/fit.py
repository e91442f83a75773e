"""How well the model foretells, beside simpler ones: scored on each appeal before learning it."""

from __future__ import annotations

from typing import Any

import msgspec

from models.challengers import Challengers
from models.drift import FitWatch
from models.forecast import Features, Forecast

__all__ = ["Fit", "FitState"]

BATCH = 64  # appeals; their features take 100 kB


class FitState(msgspec.Struct):
    """Plain data of a `Fit`."""

    appeals: int = 0
    log_score: float = 0.0
    inside: int = 0
    misfits: int = 0
    misfit_at_ms: int | None = None
    challengers: dict[str, Any] | None = None
    watch: dict[str, Any] | None = None


class Fit:
    """Sums of predictive log scores, the share of counts inside their 90 % interval, and a watch.

    What is learned here decides nothing, so it can wait: appeals are scored in batches, which
    keeps the challengers' code and data in the processor's cache and takes a third of the time.

    Parameters
    ----------
    state
        Taken over, not copied.
    """

    def __init__(self, state: FitState | None = None) -> None:
        self._state = state or FitState()
        self._waiting: list[tuple[Features, int, Forecast, float, int]] = []
        self._challengers = Challengers()
        self._watch = FitWatch()
        if self._state.challengers is not None:
            self._challengers.restore(self._state.challengers)
        if self._state.watch is not None:
            self._watch.restore(self._state.watch)

    def learn(
        self, x: Features, responses: int, forecast: Forecast, log_score: float, now_ms: int
    ) -> None:
        """Score the model's `forecast` of an appeal and the challengers', which then learn it."""
        self._waiting.append((x, responses, forecast, log_score, now_ms))
        if len(self._waiting) >= BATCH:
            self._work_off()

    def _work_off(self) -> None:
        if not self._waiting:
            return
        state = self._state
        appeals, responses, forecasts, log_scores, times_ms = zip(*self._waiting, strict=True)
        self._challengers.score_then_learn_many(list(zip(appeals, responses, strict=True)))
        state.appeals += len(appeals)
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

    def summary(self) -> dict[str, Any]:
        """Return log scores in nats an appeal, the greater the better; ours first."""
        self._work_off()
        state, appeals = self._state, max(self._state.appeals, 1)
        scores = {"askagain": state.log_score, **self._challengers.log_scores}
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
        self._state.challengers = self._challengers.state()
        self._state.watch = self._watch.state()
        return self._state
