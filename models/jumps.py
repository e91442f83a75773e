"""Jumps of the level: a step that lasts, found by what appeals put at the same time have in common.

A stiff level would read an outage, or a base rate that rises sixfold, as something about appealers
or repeats. Hence every slot of the level begins with a candidate for a jump, which is zero with
high prior probability and N(0, JUMP_SD^2) otherwise, at most one of the open candidates being one.
The filter carries them all with the wide prior; what it would believe had only one of them, or
none, been a jump follows exactly by conditioning the others on zero, and the odds from how likely
those zeros were (the Savage-Dickey ratio: Dickey 1971, "The weighted likelihood ratio, linear
hypotheses on normal location parameters", Annals of Mathematical Statistics 42(1)). A candidate is
accepted as a step once it is likely, and given up after CANDIDATES slots.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.coefficients import Coefficients
from models.effects import Effects

__all__ = ["CANDIDATES", "Jumps"]

Floats = NDArray[np.float64]

CANDIDATES = 4  # slots, hence two weeks, for a jump to show itself
STEPS = 6  # accepted jumps kept apart; the oldest then joins the intercept
JUMP_SD = 0.7  # natural log: half or twice as much
JUMP_CHANCE = 0.03  # a slot: three jumps a year
LOG_PRIOR_ODDS = log(JUMP_CHANCE / (1.0 - JUMP_CHANCE))
ACCEPTED_AT_ONCE = 0.95


class Jumps:
    """The open candidates, and the steps they have become.

    Attributes
    ----------
    at : the first of the entries of the candidates; those of the steps follow them.
    chances : shape (CANDIDATES,), posterior probability that each is a jump.
    shift, change : shapes (CANDIDATES,) and (CANDIDATES, CANDIDATES). With c the covariance of
        anything with the candidates, c shift is to be added to its mean, and c change c' to its
        variance, to believe in each possibility as much as it deserves.
    """

    def __init__(self, coefficients: Coefficients, intercept: int) -> None:
        self.intercept = intercept
        nothing = [0.0] * (CANDIDATES + STEPS)
        self.at = coefficients.add("jumps", nothing, nothing)
        self.candidate_days: list[float | None] = [None] * CANDIDATES
        self.step_days: list[float] = []
        self.weigh(coefficients)

    @property
    def candidates(self) -> slice:
        return slice(self.at, self.at + CANDIDATES)

    def entries(self, time_days: float) -> list[int]:
        """Return the coefficients of all jumps, steps or only possible, up to a time."""
        steps = self.at + CANDIDATES
        found = [steps + i for i, days in enumerate(self.step_days) if days <= time_days]
        for i, days in enumerate(self.candidate_days):
            if days is not None and days <= time_days:
                found.append(self.at + i)
        return found

    def weigh(self, coefficients: Coefficients) -> None:
        """Bring the chances up to date with the belief, and what follows from them."""
        covariance = coefficients.covariance[self.candidates, self.candidates].copy()
        mean = coefficients.mean[self.candidates]
        for i, days in enumerate(self.candidate_days):
            if days is None:
                covariance[i, i] = 1.0
        precision = np.linalg.inv(covariance)
        informed, own = precision @ mean, precision.diagonal()
        log_odds = LOG_PRIOR_ODDS + 0.5 * (informed**2 / own - np.log(JUMP_SD**2 * own))
        odds = np.exp(np.minimum(log_odds, 50.0))
        for i, days in enumerate(self.candidate_days):
            if days is None:
                odds[i] = 0.0
        self.chances: Floats = odds / (1.0 + odds.sum())
        alone = informed / own  # mean of each, had it been the only jump
        expected = self.chances * alone
        spread = np.diag(self.chances * (1.0 / own + alone**2)) - np.outer(expected, expected)
        self.shift: Floats = precision @ (expected - mean)
        self.change: Floats = precision @ (spread - covariance) @ precision

    def begin_slot(
        self, slot: int, time_days: float, coefficients: Coefficients, effects: Effects
    ) -> None:
        """Accept what has become likely, and let a new candidate take the place of the oldest."""
        new = slot % CANDIDATES
        for i in range(CANDIDATES):
            enough = 0.5 if i == new else ACCEPTED_AT_ONCE
            if self.candidate_days[i] is not None and self.chances[i] > enough:
                self._accept(i, coefficients, effects)
        if self.candidate_days[new] is not None:
            coefficients.condition(self.at + new, 0.0, 0.0)
            effects.forget(self.at + new)
        coefficients.reset(self.at + new, 0.0, JUMP_SD**2)
        self.candidate_days[new] = time_days
        self.weigh(coefficients)

    def _accept(self, candidate: int, coefficients: Coefficients, effects: Effects) -> None:
        """Let a candidate become a step."""
        days = self.candidate_days[candidate]
        assert days is not None
        entry, step = self.at + candidate, self._free_step(coefficients, effects)
        coefficients.replace(step, entry, 1.0, 0.0)
        effects.move(entry, step, 1.0, 0.0, 0.0)
        coefficients.reset(entry, 0.0, 0.0)
        self.step_days.append(days)
        self.candidate_days[candidate] = None

    def _free_step(self, coefficients: Coefficients, effects: Effects) -> int:
        """Return a free entry for a step; if there is none, the oldest joins the intercept."""
        oldest = self.at + CANDIDATES
        if len(self.step_days) < STEPS:
            return oldest + len(self.step_days)
        coefficients.add_entry(self.intercept, oldest)
        effects.loading[:, :, oldest] -= effects.loading[:, :, self.intercept]
        effects.stand_in(oldest, self.intercept, coefficients)
        for entry in range(oldest, oldest + STEPS - 1):
            coefficients.replace(entry, entry + 1, 1.0, 0.0)
            effects.move(entry + 1, entry, 1.0, 0.0, 0.0)
        del self.step_days[0]
        return oldest + STEPS - 1

    def state(self) -> dict[str, Any]:
        return {
            "candidates": list(self.candidate_days),
            "steps": list(self.step_days),
            "chances": self.chances.tolist(),
            "shift": self.shift.tolist(),
            "change": self.change.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.candidate_days, self.step_days = list(state["candidates"]), list(state["steps"])
        self.chances = np.asarray(state["chances"], dtype=np.float64)
        self.shift = np.asarray(state["shift"], dtype=np.float64)
        self.change = np.asarray(state["change"], dtype=np.float64)
