"""How many repeats it takes until a series can show wear-out by its own responses."""

from __future__ import annotations

import math

from models.kernels import compiled

__all__ = ["repeats_needed"]


def repeats_needed(
    first_responses: float,
    dispersion: float,
    baseline_sd: float,
    wear: float = 0.25,
    half_life_days: float = 21.0,
    gap_days: float = 7.0,
    evidence_min: float = 20.0,
    repeats_max: int = 200,
) -> int | None:
    """Return about how many repeats it takes until a wear-out shows in a series' own responses.

    The responses' logarithm is taken as u - wear S_i + noise, u ~ N(0, baseline_sd^2) the unknown
    baseline, S_i the stock of a regular appealer, noise of variance 1 / first_responses + 1 / phi.
    With V the covariance of those, the expected log likelihood ratio for the slope after n asks is

        wear^2 S' V^-1 S / 2 = wear^2 / (2 s^2) (sum S^2 - (sum S)^2 sd^2 / (s^2 + n sd^2))

    (Sherman-Morrison); the repeats are counted until it reaches log(evidence_min) and half a nat
    for not knowing the slope. Against simulated series at phi 10 and 5 (weekly asks, evidence 100):
    12 and 25 where the median was 13 and 20.

    Parameters
    ----------
    first_responses
        Responses to a first appeal, > 0.
    dispersion
        phi of the negative binomial, > 0.
    baseline_sd
        Sd of the log baseline, as far as it is not known.
    wear, half_life_days
        The wear-out worth finding: natural log per unit of stock, and how it fades.
    gap_days
        Between the series' asks.
    evidence_min
        e-value that confirms.
    repeats_max
        Where to stop counting.

    Returns
    -------
    int or None
        None if more than `repeats_max` would be needed.
    """
    noise = 1.0 / first_responses + 1.0 / dispersion
    kept = 2.0 ** (-gap_days / half_life_days)
    goal = 2.0 * noise * (math.log(evidence_min) + 0.5) / wear**2
    repeats = _repeats_until(goal, kept, noise, baseline_sd**2, repeats_max)
    return repeats if repeats <= repeats_max else None


@compiled
def _repeats_until(
    goal: float, kept: float, noise: float, baseline_variance: float, repeats_max: int
) -> int:
    stock = total = squares = 0.0
    for repeats in range(1, repeats_max + 1):
        stock = (stock + 1.0) * kept
        total += stock
        squares += stock**2
        shared = baseline_variance / (noise + (repeats + 1) * baseline_variance)
        if squares - total**2 * shared >= goal:
            return repeats
    return repeats_max + 1
