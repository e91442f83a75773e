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

from math import exp, isfinite, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.coefficients import Coefficients
from models.effects import Effects
from models.kernels import compiled

__all__ = ["CANDIDATES", "JUMPS", "Jumps", "unpacked"]

Floats = NDArray[np.float64]

CANDIDATES = 4  # slots, hence two weeks, for a jump to show itself
STEPS = 6  # accepted jumps kept apart; the oldest then joins the intercept
JUMPS = CANDIDATES + STEPS
JUMP_SD = 0.7  # natural log: half or twice as much
JUMP_CHANCE = 0.03  # a slot: three jumps a year
LOG_PRIOR_ODDS = log(JUMP_CHANCE / (1.0 - JUMP_CHANCE))
ACCEPTED_AT_ONCE = 0.95


class Jumps:
    """The open candidates, and the steps they have become.

    Attributes
    ----------
    at : the first of the entries of the candidates; those of the steps follow them.
    packed : began_days, shift and change in one array, for compiled loops; these are views of it.
    began_days : shape (JUMPS,), when each candidate and each step began, infinity
        where there is none; steps in the order accepted.
    chances : shape (CANDIDATES,), posterior probability that each is a jump.
    shift, change : shapes (CANDIDATES,) and (CANDIDATES, CANDIDATES). With c the covariance of
        anything with the candidates, c shift is to be added to its mean, and c change c' to its
        variance, to believe in each possibility as much as it deserves.
    """

    def __init__(self, coefficients: Coefficients, intercept: int) -> None:
        self.intercept = intercept
        nothing = [0.0] * JUMPS
        self.at = coefficients.add("jumps", nothing, nothing)
        self.packed: Floats = np.zeros(JUMPS + CANDIDATES + CANDIDATES**2)
        self.began_days, self.shift, self.change = unpacked(self.packed)
        self.began_days[:] = np.inf
        self.chances: Floats = np.zeros(CANDIDATES)
        self.weigh(coefficients)

    @property
    def candidates(self) -> slice:
        return slice(self.at, self.at + CANDIDATES)

    def entries(self, time_days: float) -> list[int]:
        """Return the coefficients of all jumps, steps or only possible, up to a time."""
        found: list[int] = (self.at + np.flatnonzero(self.began_days <= time_days)).tolist()
        return found

    def weigh(self, coefficients: Coefficients) -> None:
        """Bring the chances up to date with the belief, and what follows from them."""
        weigh(
            coefficients.mean,
            coefficients.covariance,
            self.at,
            self.began_days,
            self.chances,
            self.shift,
            self.change,
        )

    def begin_slot(
        self, slot: int, time_days: float, coefficients: Coefficients, effects: Effects
    ) -> None:
        """Accept what has become likely, and let a new candidate take the place of the oldest."""
        new = slot % CANDIDATES
        for i in range(CANDIDATES):
            enough = 0.5 if i == new else ACCEPTED_AT_ONCE
            if isfinite(self.began_days[i]) and self.chances[i] > enough:
                self._accept(i, coefficients, effects)
        if isfinite(self.began_days[new]):
            coefficients.condition(self.at + new, 0.0, 0.0)
            effects.forget(self.at + new)
        coefficients.reset(self.at + new, 0.0, JUMP_SD**2)
        self.began_days[new] = time_days
        self.weigh(coefficients)

    def _accept(self, candidate: int, coefficients: Coefficients, effects: Effects) -> None:
        """Let a candidate become a step."""
        entry, step = self.at + candidate, self._free_step(coefficients, effects)
        coefficients.replace(step, entry, 1.0, 0.0)
        effects.move(entry, step, 1.0, 0.0, 0.0)
        coefficients.reset(entry, 0.0, 0.0)
        self.began_days[step - self.at] = self.began_days[candidate]
        self.began_days[candidate] = np.inf

    def _free_step(self, coefficients: Coefficients, effects: Effects) -> int:
        """Return a free entry for a step; if there is none, the oldest joins the intercept."""
        oldest, days = self.at + CANDIDATES, self.began_days[CANDIDATES:]
        taken = int(np.isfinite(days).sum())
        if taken < STEPS:
            return oldest + taken
        coefficients.add_entry(self.intercept, oldest)
        effects.loading[:, :, oldest] -= effects.loading[:, :, self.intercept]
        effects.stand_in(oldest, self.intercept, coefficients)
        for entry in range(oldest, oldest + STEPS - 1):
            coefficients.replace(entry, entry + 1, 1.0, 0.0)
            effects.move(entry + 1, entry, 1.0, 0.0, 0.0)
        days[:-1] = days[1:].copy()
        return oldest + STEPS - 1

    def state(self) -> dict[str, Any]:
        names = ("began_days", "chances", "shift", "change")
        return {name: getattr(self, name).astype("<f8").tobytes() for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        for name, kept in state.items():
            array: Floats = getattr(self, name)
            array[:] = np.frombuffer(kept, dtype="<f8").reshape(array.shape)


@compiled
def unpacked(packed: Floats) -> tuple[Floats, Floats, Floats]:
    """Return began_days, shift and change: views of what Jumps.packed holds."""
    change = packed[JUMPS + CANDIDATES :].reshape((CANDIDATES, CANDIDATES))
    return packed[:JUMPS], packed[JUMPS : JUMPS + CANDIDATES], change


@compiled
def weigh(
    mean: Floats,
    covariance: Floats,
    at: int,
    began_days: Floats,
    chances: Floats,
    shift: Floats,
    change: Floats,
) -> None:
    """Fill in `chances`, `shift` and `change` of the candidates, whose entries begin at `at`."""
    n = CANDIDATES
    among, precision = np.empty((n, n)), np.empty((n, n))
    for i in range(n):
        for j in range(n):
            among[i, j] = covariance[at + i, at + j]
            precision[i, j] = among[i, j]
        if not isfinite(began_days[i]):
            among[i, i] = precision[i, i] = 1.0
    invert(precision)
    alone, total = np.empty(n), 0.0
    for i in range(n):
        informed, own = 0.0, precision[i, i]
        for j in range(n):
            informed += precision[i, j] * mean[at + j]
        alone[i] = informed / own  # mean of each, had it been the only jump
        log_odds = LOG_PRIOR_ODDS + 0.5 * (informed * alone[i] - log(JUMP_SD**2 * own))
        chances[i] = exp(min(log_odds, 50.0)) if isfinite(began_days[i]) else 0.0
        total += chances[i]
    expected, spread = np.empty(n), among  # what is taken off is written over what there was
    for i in range(n):
        chances[i] /= 1.0 + total
        expected[i] = chances[i] * alone[i]
    for i in range(n):
        for j in range(n):
            spread[i, j] = -among[i, j] - expected[i] * expected[j]
        spread[i, i] += chances[i] * (1.0 / precision[i, i] + alone[i] * alone[i])
    for i in range(n):
        shift[i] = 0.0
        for j in range(n):
            shift[i] += precision[i, j] * (expected[j] - mean[at + j])
            change[i, j] = 0.0
            for k in range(n):
                for m in range(n):
                    change[i, j] += precision[i, k] * spread[k, m] * precision[m, j]


@compiled
def invert(matrix: Floats) -> None:
    """Turn a covariance into its inverse in place, by Gauss-Jordan; its pivots are positive."""
    n = matrix.shape[0]
    for p in range(n):
        pivot = 1.0 / matrix[p, p]
        for i in range(n):
            if i != p:
                factor = matrix[i, p] * pivot
                for j in range(n):
                    matrix[i, j] -= factor * matrix[p, j] if j != p else 0.0
                matrix[i, p] = -factor
        for j in range(n):
            matrix[p, j] *= pivot
        matrix[p, p] = pivot
