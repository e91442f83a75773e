"""Who asks in a simulated world, when, and for which kind of thing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replay.scenarios import WorldSettings

__all__ = ["Appealers", "busy_hours", "calendar", "choose_kinds", "day_rhythm", "draw_appealers"]

REACH_MIN, REACH_MAX = 1e3, 1e5
# The day's rhythm, for appeals and responses alike: its amplitude, and its peak at 19:00 UTC.
DAILY_AMPLITUDE = 0.5
DAILY_PEAK_DAYS = 19.0 / 24.0
MINUTES_A_DAY = 1440

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Appealers(NamedTuple):
    """Who asks: arrays of one entry per appealer.

    start_days : of the first appeal, days since the world began.
    appeals : how many there will be, if the world lasts. gap_days : mean time between them.
    reach : people. quality : natural log of the level, 0 on average.
    strength : multiplies wear-out; 0 for the immune.
    propensity : to answer others' appeals, in standard deviations.
    """

    start_days: Floats
    appeals: Ints
    gap_days: Floats
    reach: Floats
    quality: Floats
    strength: Floats
    brand: Flags
    immune: Flags
    propensity: Floats
    network_age_years: Floats


def draw_appealers(rng: np.random.Generator, settings: WorldSettings, appeals: int) -> Appealers:
    """Draw founders, there from the start, and newcomers, who arrive steadily past the end."""
    founders, newcomers, days = _population(settings, appeals)
    n = founders + newcomers
    quality, career = _correlated(rng, settings.survivorship, n)
    propensity = rng.normal(0.0, 1.0, n)
    brand = rng.random(n) < settings.brand_share
    immune = rng.random(n) < settings.immune_share
    gap_days = _log_normal(rng, settings.gap_days, settings.gap_log_sd, n)
    repeats = np.round(settings.repeats_median * np.exp(settings.repeats_log_sd * career))
    reach = _log_normal(rng, settings.reach_median, settings.reach_log_sd, n)
    # A founder is somewhere within a gap, or a rest, when the world begins.
    first_day = rng.random(founders) * _mean_gap(settings, gap_days[:founders])
    return Appealers(
        start_days=np.concatenate([first_day, np.sort(rng.random(newcomers) * days)]),
        appeals=1 + np.minimum(repeats, settings.repeats_max).astype(np.int64),
        gap_days=gap_days,
        reach=np.clip(np.round(reach), REACH_MIN, REACH_MAX),
        quality=settings.quality_sd * quality
        + settings.brand_level * brand
        + settings.reciprocity_level * propensity,
        strength=_strength(rng, settings, brand, propensity) * ~immune,
        brand=brand,
        immune=immune,
        propensity=propensity,
        network_age_years=np.round(rng.gamma(2.0, 1.5, n), 1),
    )


def calendar(
    rng: np.random.Generator, settings: WorldSettings, who: Appealers, appeals: int
) -> tuple[Ints, Floats]:
    """Return the appealer and the day of the first so many appeals of all, in time order."""
    appealer = np.repeat(np.arange(len(who.appeals)), who.appeals)
    rest = rng.random(len(appealer)) < settings.rest_share
    typical = np.where(rest, settings.rest_days, who.gap_days[appealer])
    # Gamma of shape 1.5: irregular, for only irregular rests tell wear-out from the calendar.
    elapsed = np.cumsum(typical * rng.gamma(1.5, 1.0 / 1.5, len(appealer)))
    first = np.cumsum(who.appeals) - who.appeals
    days = who.start_days[appealer] + elapsed - elapsed[first][appealer]
    order = np.argsort(days, kind="stable")[:appeals]
    assert len(order) == appeals
    return appealer[order], days[order]


def choose_kinds(
    rng: np.random.Generator, settings: WorldSettings, appealer: Ints, days: Floats
) -> Ints:
    """Choose each appeal's kind: the appealer's favourite, or whatever is in fashion then."""
    fashionable = _fashionable(rng, settings, days)
    _, first, inverse = np.unique(appealer, return_index=True, return_inverse=True)
    loyal = rng.random(len(days)) < settings.loyalty
    return np.where(loyal, fashionable[first][inverse], fashionable)


def day_rhythm(days: Floats) -> Floats:
    """Return how busy a time of day is, 1 on average; `days` since any midnight, UTC."""
    return 1.0 + DAILY_AMPLITUDE * np.cos(2.0 * np.pi * (days - DAILY_PEAK_DAYS))


def busy_hours(days: Floats) -> Floats:
    """Move uniform times of day to the busy hours; no two change their order."""
    edges = np.linspace(0.0, 1.0, MINUTES_A_DAY + 1)
    middles = (edges[1:] + edges[:-1]) / 2.0
    share = np.concatenate([[0.0], np.cumsum(day_rhythm(middles))])
    midnight = np.floor(days)
    return midnight + np.interp(days - midnight, share / share[-1], edges)


def _population(settings: WorldSettings, appeals: int) -> tuple[int, int, float]:
    """Return how many founders and newcomers to draw, and the days over which newcomers arrive.

    By Little's law (newcomers a day) x (mean career in days) appealers are there at any time: so
    many founders keep the appeals a day steady from the start. Newcomers arrive for longer than
    the world will last; what is too much is cut off.
    """
    repeats = settings.repeats_median * float(np.exp(settings.repeats_log_sd**2 / 2.0))
    gap_days = float(_mean_gap(settings, np.array(settings.gap_days)))
    newcomers_a_day = settings.appeals_per_day / (1.0 + repeats)
    days = 1.4 * appeals / settings.appeals_per_day + 60.0
    return round(newcomers_a_day * repeats * gap_days), round(newcomers_a_day * days), days


def _mean_gap(settings: WorldSettings, gap_days: Floats) -> Floats:
    """Return the mean time between appeals, rests included."""
    return settings.rest_share * settings.rest_days + (1.0 - settings.rest_share) * gap_days


def _correlated(rng: np.random.Generator, correlation: float, n: int) -> tuple[Floats, Floats]:
    one, other = rng.normal(0.0, 1.0, (2, n))
    return one, correlation * one + np.sqrt(1.0 - correlation**2) * other


def _log_normal(rng: np.random.Generator, middle: float, log_sd: float, n: int) -> Floats:
    drawn: Floats = middle * np.exp(log_sd * rng.normal(0.0, 1.0, n))
    return drawn


def _strength(
    rng: np.random.Generator, settings: WorldSettings, brand: Flags, propensity: Floats
) -> Floats:
    face = np.where(brand, settings.brand_strength, settings.human_strength)
    relief = np.exp(-settings.reciprocity_relief * propensity)
    return _log_normal(rng, 1.0, settings.strength_log_sd, len(brand)) * face * relief


def _fashionable(rng: np.random.Generator, settings: WorldSettings, days: Floats) -> Ints:
    """Draw a kind for each day by its popularity then; each comes and goes in its own period."""
    period_days = rng.uniform(60.0, 150.0, settings.kinds)
    phase = rng.uniform(0.0, 2.0 * np.pi, settings.kinds)
    wave = np.sin(2.0 * np.pi * days[:, None] / period_days + phase)
    share = np.cumsum(np.exp(settings.fad_amplitude * wave), axis=1)
    drawn = rng.random(len(days))[:, None] * share[:, -1:]
    kind: Ints = (share < drawn).sum(axis=1)
    return kind
