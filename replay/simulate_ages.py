"""How long after its appeal a simulated response comes.

Responses of their own accord follow a delay law thinned by the day's rhythm; those set off by
others follow their parents (Hawkes & Oakes 1974, "A cluster process representation of a
self-exciting process", Journal of Applied Probability 11(3)) by an exponential time. An appeal's
total is given, and none is lost: a response that would come after the horizon is drawn again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from replay.scenarios import WorldSettings
from replay.world_people import DAILY_AMPLITUDE, day_rhythm

__all__ = ["draw_ages", "draw_cascade"]

LOG_NORMAL_MEDIAN_DAYS, LOG_NORMAL_SIGMA = 6.0 / 24.0, 1.5
STRETCHED_SCALE_DAYS, STRETCHED_POWER = 15.0 / 24.0, 0.4
# Mean of the exponential kernel: a half-life of 20 minutes.
SURGE_MEAN_DAYS = 29.0 / 1440.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def draw_ages(rng: np.random.Generator, settings: WorldSettings, posted_days: Floats) -> Floats:
    """Draw ages below the horizon of responses of their own accord, in days, by rejection.

    The density is that of the delay law times the rhythm of the day at that time, normalised: an
    appeal's total does not depend on the hour it is put. `posted_days` are days since a midnight.
    """
    ages = np.empty(len(posted_days))
    left = np.arange(len(posted_days))
    while len(left):
        age = _delay(rng, settings, len(left))
        busy = day_rhythm(posted_days[left] + age)
        kept = rng.random(len(left)) * (1.0 + DAILY_AMPLITUDE) < busy
        kept &= age < settings.horizon_days
        ages[left[kept]] = age[kept]
        left = left[~kept]
    return ages


def draw_cascade(
    rng: np.random.Generator, settings: WorldSettings, posted_days: Floats, generations: Ints
) -> tuple[Ints, Floats]:
    """Draw all responses to a block of appeals, generation after generation.

    Given their number, the children of a generation choose their parents in it uniformly: so
    Poisson offspring do.

    Parameters
    ----------
    posted_days : shape (appeals,), days since a midnight.
    generations : shape (appeals, n), how many responses of each generation.

    Returns
    -------
    The appeal's index within the block, and the age in days, of every response.
    """
    appeal, counts = np.repeat(np.arange(len(posted_days)), generations[:, 0]), generations[:, 0]
    ages = draw_ages(rng, settings, posted_days[appeal])
    drawn = [(appeal, ages)]
    for children in generations.T[1:]:
        appeal = np.repeat(np.arange(len(posted_days)), children)
        parent = (np.cumsum(counts) - counts)[appeal] + (
            rng.random(len(appeal)) * counts[appeal]
        ).astype(np.int64)
        ages = ages[parent] + rng.exponential(SURGE_MEAN_DAYS, len(appeal))
        late = np.flatnonzero(ages >= settings.horizon_days)
        ages[late] = draw_ages(rng, settings, posted_days[appeal[late]])
        drawn.append((appeal, ages))
        counts = children
    return np.concatenate([a for a, _ in drawn]), np.concatenate([a for _, a in drawn])


def _delay(rng: np.random.Generator, settings: WorldSettings, n: int) -> Floats:
    if settings.delay == "log-normal":
        return LOG_NORMAL_MEDIAN_DAYS * np.exp(LOG_NORMAL_SIGMA * rng.standard_normal(n))
    stretched: Floats = STRETCHED_SCALE_DAYS * rng.standard_exponential(n) ** (
        1.0 / STRETCHED_POWER
    )
    return stretched
