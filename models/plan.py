"""When to ask again, and how often: what the learned wear-out implies for asks not yet made.

The expected responses to an ask are those of a first appeal times

    retention = exp(-(wear_own S_own + wear_kind S_kind + wear_crowd S_crowd)),

with S the exposure stocks (models.stock). What is not known is handed over as draws from the
posterior, one row a draw, and comes back as an interval of 90 %. The axes stand in the order of
`design.AXES`: own, kind, crowd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.kernels import compiled

__all__ = ["AskAgain", "Cadence", "Plan", "plan_cadence", "rest_needed"]

Floats = NDArray[np.float64]
_AXES = 3
# log of a sum of exponentials in the time rested is convex, and straight if one axis dominates:
# Newton from the left is then there at once, and never overshoots. Eight steps are plenty.
_NEWTON_STEPS = 8
_NORMAL_95 = 1.6448536269514722
_QUANTILES = (0.05, 0.5, 0.95)


class AskAgain(NamedTuple):
    """In how many days a repeat is expected to be worth its while again, with a 90 % interval."""

    days: float
    low: float
    high: float


class Cadence(NamedTuple):
    """What comes of asking every so many days.

    asks : how many that makes.
    expected : responses to all of them together, with the 90 % predictive interval low to high.
    per_ask : expected responses to one.
    best_share : the share of the draws in which no other cadence brings more.
    """

    every_days: float
    asks: int
    expected: float
    low: float
    high: float
    per_ask: float
    best_share: float


class Plan(NamedTuple):
    """The cadences compared, in the order given, the best of them, and what that rests on."""

    best: Cadence
    cadences: tuple[Cadence, ...]
    note: str


def rest_needed(
    strains: ArrayLike,
    half_lives_days: ArrayLike,
    log_strain_sd: float,
    log_half_life_sds: ArrayLike,
    target: float = 0.85,
    days_max: float = 730.0,
) -> AskAgain | None:
    """Return after how long a rest the retention of the next ask is back at `target`, with 90 %.

    The rest T solves sum(strain_i 2^(-T / h_i)) = -log(target), by Newton from the left. Its
    interval is by the delta method, with

        dT / d log strain = a / r,   dT / d log h_i = T k_i left_i / r,   r = sum(k_i left_i),

    where a = -log(target), k_i = log 2 / h_i and left_i is what is left of a strain after T.

    Parameters
    ----------
    strains
        Log retention that each axis costs the next ask, made positive.
    half_lives_days
        Of the axes, > 0.
    log_strain_sd, log_half_life_sds
        Sd of the log of all strains together, and of the log of each half-life.
    target
        Retention wanted, between 0 and 1.
    days_max
        A rest longer than that is none that anybody plans; interval limits are cut off there.

    Returns
    -------
    AskAgain or None
        None if the rest is longer than `days_max`.

    Raises
    ------
    ValueError
        If the target is out of range.

    Two appeals felt, each taking a quarter off the log, half-life three weeks:

    >>> again = rest_needed([0.5], [21.0], 0.1, [0.1])
    >>> round(again.days, 1), round(again.low), round(again.high)
    (34.0, 27, 42)
    """
    if not 0.0 < target < 1.0:
        raise ValueError(f"target: expected a number between 0 and 1, got {target!r}")
    strains, half_lives, sds = (
        np.asarray(each, dtype=np.float64) for each in (strains, half_lives_days, log_half_life_sds)
    )
    days, sd = _rest(strains, half_lives, sds, -math.log(target), log_strain_sd)
    if days > days_max:
        return None
    reach = _NORMAL_95 * sd
    return AskAgain(days, max(days - reach, 0.0), min(days + reach, days_max))


@compiled
def _rest(
    strains: Floats,
    half_lives_days: Floats,
    log_half_life_sds: Floats,
    allowed: float,
    log_strain_sd: float,
) -> tuple[float, float]:
    """Return the rest in days until no more than `allowed` is left of the strains, and its sd."""
    strains, rates = np.maximum(strains, 0.0), math.log(2.0) / half_lives_days
    if strains.sum() <= allowed:
        return 0.0, 0.0
    days, fading = 0.0, rates
    for _ in range(_NEWTON_STEPS):
        left = strains * np.exp(-rates * days)
        fading, total = rates * left, left.sum()
        days += math.log(total / allowed) * total / fading.sum()
    fall = fading.sum()
    variance = (allowed / fall * log_strain_sd) ** 2
    for i in range(fading.shape[0]):
        variance += (days * fading[i] / fall * log_half_life_sds[i]) ** 2
    return days, math.sqrt(variance)


def plan_cadence(
    every_days: Sequence[float],
    horizon_days: float,
    first_responses: ArrayLike,
    stocks: ArrayLike,
    wear: ArrayLike,
    half_lives_days: ArrayLike,
    dispersion: float,
    rng: np.random.Generator,
) -> Plan:
    """Compare asking every so many days, from now until the horizon, with asks of one kind.

    Each ask adds one to the own and to the kind's stock; the crowd is taken to go on as now, so its
    stock stays.

    Parameters
    ----------
    every_days
        The cadences to compare, > 0.
    horizon_days
        How long, > 0. The first ask is now.
    first_responses
        Shape () or (draws,): responses a first appeal would draw, > 0.
    stocks, wear, half_lives_days
        Shape (3,) or (draws, 3): stocks felt now, in appeals; wear-out (natural log) per unit of
        stock, negative where repeats do better; > 0.
    dispersion
        phi of the negative binomial; the interval is that of the count to come.
    rng
        Seeded generator for the counts to come.

    Raises
    ------
    ValueError
        If a number is not finite or out of range, or no cadence is given.
    """
    if not every_days or min(every_days) <= 0.0 or not 0.0 < horizon_days < math.inf:
        raise ValueError(
            "every_days, horizon_days: expected at least one cadence, all > 0 and finite, got "
            f"{list(every_days)} and {horizon_days!r}"
        )
    if not dispersion > 0.0:
        raise ValueError(f"dispersion: expected a number > 0, got {dispersion!r}")
    given = _draws(stocks=stocks, wear=wear, half_lives_days=half_lives_days)
    first = np.broadcast_to(np.asarray(first_responses, dtype=np.float64), len(given[0]))
    if not (np.isfinite(first) & (first > 0.0)).all():
        raise ValueError("first_responses: expected finite numbers > 0")
    means = [first[:, None] * _retentions(every, horizon_days, *given) for every in every_days]
    totals = np.stack([mean.sum(axis=1) for mean in means])
    best_shares = np.bincount(totals.argmax(axis=0), minlength=len(means)) / totals.shape[1]
    cadences = tuple(
        _cadence(every, mean, dispersion, float(share), rng)
        for every, mean, share in zip(every_days, means, best_shares, strict=True)
    )
    best = max(cadences, key=lambda cadence: cadence.expected)
    return Plan(best, cadences, _note(best, cadences, first, given[1], given[2]))


def _draws(**arrays: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return stocks, wear and half-lives as arrays of one shape (draws, 3)."""
    stocks, wear, half_lives = np.broadcast_arrays(
        *(np.atleast_2d(np.asarray(array, dtype=np.float64)) for array in arrays.values())
    )
    if stocks.ndim != 2 or stocks.shape[1] != _AXES:
        raise ValueError(f"{', '.join(arrays)}: expected (draws, 3), got {stocks.shape}")
    if not (np.isfinite(stocks).all() and np.isfinite(wear).all() and (stocks >= 0.0).all()):
        raise ValueError("stocks, wear: expected finite numbers, stocks >= 0")
    if not (np.isfinite(half_lives) & (half_lives > 0.0)).all():
        raise ValueError("half_lives_days: expected finite numbers > 0")
    return stocks, wear, half_lives


def _retentions(
    every: float, horizon: float, stocks: Floats, wear: Floats, half_lives: Floats
) -> Floats:
    """Return the retention of each ask, shape (draws, asks).

    Before ask i the stock is S kept^i + kept + ... + kept^i, kept = 2^(-every / half-life).
    """
    asks = np.arange(max(1, math.ceil(horizon / every)))
    kept = np.exp2(-every / half_lives[:, :2, None])
    faded = kept**asks
    felt = stocks[:, :2, None] * faded + kept * (1.0 - faded) / (1.0 - kept)
    strain = (wear[:, :2, None] * felt).sum(axis=1) + wear[:, 2:] * stocks[:, 2:]
    return np.asarray(np.exp(-strain))


def _cadence(
    every: float, means: Floats, dispersion: float, share: float, rng: np.random.Generator
) -> Cadence:
    """Summarise one cadence; the counts to come are drawn with each ask's own multiplier."""
    # Above a million the multiplier is one to every digit that counts.
    phi = min(dispersion, 1e6)
    counts = rng.poisson(means * rng.gamma(phi, 1.0 / phi, means.shape)).sum(axis=1)
    low, high = np.quantile(counts, (_QUANTILES[0], _QUANTILES[2])).tolist()
    expected = float(means.sum(axis=1).mean())
    asks = means.shape[1]
    return Cadence(every, asks, expected, low, high, expected / asks, share)


def _note(
    best: Cadence, cadences: Sequence[Cadence], first: Floats, wear: Floats, half_lives: Floats
) -> str:
    """Say what the choice rests on, and where it is shaky."""
    parts = [
        f"a first appeal draws {_spread(first)} responses",
        f"wear-out per appeal felt {_spread(wear[:, 0] + wear[:, 1])}",
        f"half-life {_spread(half_lives[:, 0])} days",
        "others go on as now",
        f"best in {best.best_share:.0%} of what is thought possible",
    ]
    longest = max(cadence.every_days for cadence in cadences)
    shortest = min(cadence.every_days for cadence in cadences)
    if len(cadences) > 1 and best.every_days in (shortest, longest):
        parts.append("at the end of the cadences compared: the best may lie beyond")
    return "; ".join(parts)


def _spread(draws: Floats) -> str:
    low, median, high = np.quantile(draws, _QUANTILES).tolist()
    return f"{median:.3g} ({low:.3g} to {high:.3g})"
