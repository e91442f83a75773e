"""The level: what happens to everybody at once, stiff from slot to slot, but free to jump.

The level of a slot (half a week, or longer where appeals are few) is an entry of the coefficients
and follows a stationary Ornstein-Uhlenbeck process of small sd. Old slots stay among the
coefficients for a while, so that an appealer who comes back is compared with the level that held
when it was last heard.

A stiff level would read an outage, or a base rate that rises sixfold, as something about appealers
or repeats. Hence each slot also has a jump, a step that lasts, which is zero with high prior
probability and N(0, JUMP_SD^2) otherwise. The filter carries it with the wide prior; what it would
believe had there been no jump follows exactly by conditioning on zero, and the odds of the two from
the densities at zero (the Savage-Dickey ratio: Dickey 1971, "The weighted likelihood ratio, linear
hypotheses on normal location parameters", Annals of Mathematical Statistics 42(1); in Verdinelli &
Wasserman 1995, JASA 90(430)). Each slot's jump is accepted or refused when the next slot begins.
"""

from __future__ import annotations

from math import exp, log
from typing import Any

from models.coefficients import Coefficients
from models.effects import Effects
from models.gaussian import log_normal_density

__all__ = ["Level"]

# Slots kept apart: six weeks or more. Who was away for longer is compared with the oldest kept.
SLOTS = 12
SLOT_DAYS = 3.5
SLOT_APPEALS_MIN = 10  # ten concurrent appeals tell the level to about .15
SLOT_DAYS_MAX = 14.0
DRIFT_SD = 0.3
DRIFT_DAYS = 240.0
JUMP_SD = 1.0
JUMP_CHANCE = 0.01  # a slot: about one jump a year
STEPS = 6  # accepted jumps kept apart; the oldest then joins the intercept
NORMAL_DAYS = 365.0  # "normal" is the average level over about a year


class Level:
    """Which coefficients make the level at a time, and how they are renewed as time goes on.

    Parameters
    ----------
    coefficients : gets the entries of the level.
    intercept : index of the intercept, which accepted jumps finally join.
    """

    def __init__(self, coefficients: Coefficients, intercept: int) -> None:
        self.intercept = intercept
        entries = SLOTS + 1 + STEPS
        sds = [DRIFT_SD] + [0.0] * (entries - 1)
        self.at = coefficients.add("level", [0.0] * entries, sds)
        self.jump = self.at + SLOTS
        self.slot = 0  # number of the latest slot; its entry is at `at + slot % SLOTS`
        self.slot_days = [0.0] * SLOTS  # when each kept slot began
        self.step_days: list[
            float
        ] = []  # when the accepted jumps began, the i-th at `jump + 1 + i`
        self.appeals = 0  # learned in the latest slot
        self.begun = False
        self.normal_sum = 0.0
        self.normal_weight = 0.0

    @property
    def began_days(self) -> float:
        """When the latest slot began."""
        return self.slot_days[self.slot % SLOTS]

    def entries(self, time_days: float) -> tuple[list[tuple[int, float]], float]:
        """Return (index, weight) of the coefficients that make the level then, and the variance
        they leave open.
        """
        found = [
            (self.jump + 1 + i, 1.0) for i, days in enumerate(self.step_days) if days <= time_days
        ]
        if time_days >= self.began_days or not self.begun:
            found.append((self.jump, 1.0))
            keep = exp(-max(0.0, time_days - self.began_days - SLOT_DAYS) / DRIFT_DAYS)
            found.append((self.at + self.slot % SLOTS, keep))
            return found, DRIFT_SD**2 * (1.0 - keep * keep)
        slot = self.slot
        while slot > max(0, self.slot - SLOTS + 1) and self.slot_days[slot % SLOTS] > time_days:
            slot -= 1
        found.append((self.at + slot % SLOTS, 1.0))
        return found, 0.0

    def log_jump_odds(self, coefficients: Coefficients) -> float:
        """Return the log of the posterior odds of a jump in the latest slot against none."""
        variance = float(coefficients.covariance[self.jump, self.jump])
        if variance <= 0.0:
            return -50.0
        nothing = log_normal_density(float(coefficients.mean[self.jump]), variance)
        before = log_normal_density(0.0, JUMP_SD**2)
        return log(JUMP_CHANCE / (1.0 - JUMP_CHANCE)) + before - nothing

    def jump_chance(self, coefficients: Coefficients) -> float:
        """Return the posterior probability that the level jumped when its latest slot began."""
        return 1.0 / (1.0 + exp(-max(-50.0, min(50.0, self.log_jump_odds(coefficients)))))

    def advance(self, time_days: float, coefficients: Coefficients, effects: Effects) -> None:
        """Begin a new slot if it is time for one; called before an appeal put at `time_days` is
        learned.
        """
        if not self.begun:
            self.begun = True
            self.slot_days[0] = time_days
        age = time_days - self.began_days
        enough = self.appeals >= SLOT_APPEALS_MIN or age >= SLOT_DAYS_MAX
        if age >= SLOT_DAYS and enough:
            self._settle(coefficients, effects)
            self._begin_slot(time_days, coefficients, effects)
        self.appeals += 1

    def _settle(self, coefficients: Coefficients, effects: Effects) -> None:
        """Accept the jump of the latest slot as a step, or hold it to have been zero."""
        if self.log_jump_odds(coefficients) > 0.0:
            step = self._free_step(coefficients, effects)
            coefficients.replace(step, self.jump, 1.0, 0.0)
            effects.move(self.jump, step, 1.0, 0.0, 0.0)
            self.step_days.append(self.began_days)
        else:
            coefficients.condition(self.jump, 0.0, 0.0)
            effects.loading[:, :, self.jump] = 0.0

    def _free_step(self, coefficients: Coefficients, effects: Effects) -> int:
        """Return the entry for a further step, the oldest having joined the intercept if there is
        none left.
        """
        if len(self.step_days) < STEPS:
            return self.jump + 1 + len(self.step_days)
        oldest = self.jump + 1
        coefficients.add_entry(self.intercept, oldest)
        effects.loading[:, :, oldest] -= effects.loading[:, :, self.intercept]
        _stand_in(oldest, self.intercept, coefficients, effects)
        for i in range(1, STEPS):
            coefficients.replace(oldest + i - 1, oldest + i, 1.0, 0.0)
            effects.move(oldest + i, oldest + i - 1, 1.0, 0.0, 0.0)
        del self.step_days[0]
        return oldest + STEPS - 1

    def _begin_slot(self, time_days: float, coefficients: Coefficients, effects: Effects) -> None:
        self._remember_normal(time_days - self.began_days, coefficients)
        last, new = self.at + self.slot % SLOTS, self.at + (self.slot + 1) % SLOTS
        if self.slot + 1 >= SLOTS:
            _stand_in(new, self.at + (self.slot + 2) % SLOTS, coefficients, effects)
        keep = exp(-(time_days - self.began_days) / DRIFT_DAYS)
        coefficients.replace(new, last, keep, DRIFT_SD**2 * (1.0 - keep * keep))
        coefficients.reset(self.jump, 0.0, JUMP_SD**2)
        self.slot += 1
        self.slot_days[self.slot % SLOTS] = time_days
        self.appeals = 0

    def _remember_normal(self, elapsed_days: float, coefficients: Coefficients) -> None:
        mean, _ = self.moments(self.began_days, coefficients)
        keep = exp(-elapsed_days / NORMAL_DAYS)
        self.normal_sum = keep * self.normal_sum + elapsed_days * mean
        self.normal_weight = keep * self.normal_weight + elapsed_days

    @property
    def normal(self) -> float:
        """The average log level so far."""
        return self.normal_sum / self.normal_weight if self.normal_weight > 0.0 else 0.0

    def moments(self, time_days: float, coefficients: Coefficients) -> tuple[float, float]:
        """Return mean and variance of the log level at a time, over both hypotheses about the
        latest jump.
        """
        found, variance = self.entries(time_days)
        indices = [i for i, _ in found]
        weights = [w for _, w in found]
        block = coefficients.covariance[indices]
        across = block.T @ weights  # covariance of the level with every coefficient
        mean = float(coefficients.mean[indices] @ weights)
        variance += float(across[indices] @ weights)
        jump_variance = float(coefficients.covariance[self.jump, self.jump])
        if jump_variance <= 0.0:
            return mean, variance
        share = self.jump_chance(coefficients)
        gain = float(across[self.jump]) / jump_variance
        shift = -gain * float(coefficients.mean[self.jump])  # of the mean, had there been no jump
        still = variance - gain * float(across[self.jump])
        mixed = share * variance + (1.0 - share) * still + share * (1.0 - share) * shift * shift
        return mean + (1.0 - share) * shift, mixed

    def state(self) -> dict[str, Any]:
        names = ("slot", "appeals", "begun", "normal_sum", "normal_weight")
        kept = {name: getattr(self, name) for name in names}
        return kept | {"slot_days": list(self.slot_days), "step_days": list(self.step_days)}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)


def _stand_in(old: int, new: int, coefficients: Coefficients, effects: Effects) -> None:
    """Let what units owe to the entry `old`, about to go, be owed to `new`, by the regression of
    the one on the other.
    """
    covariance, mean = coefficients.covariance, coefficients.mean
    slope = float(covariance[old, new] / covariance[new, new]) if covariance[new, new] > 0 else 0.0
    constant = float(mean[old] - slope * mean[new])
    variance = max(0.0, float(covariance[old, old] - slope * covariance[old, new]))
    effects.move(old, new, slope, constant, variance)
