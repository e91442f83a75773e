"""A simulated world, appeal by appeal: what is left of a retention, and how many respond.

Stocks are adstocks, as in models.stock. Counts are Poisson with a Gamma multiplier per appeal,
that is, negative binomial. Responses that beget responses are a branching process with Poisson
offspring (Hawkes & Oakes 1974, "A cluster process representation of a self-exciting process",
Journal of Applied Probability 11(3)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replay.scenarios import WorldSettings, checked, settings_of
from replay.world_people import (
    Appealers,
    busy_hours,
    calendar,
    choose_kinds,
    draw_appealers,
)
from streams.events import Appeal

__all__ = ["COMMUNITY_SIZE", "DAY_MS", "START_MS", "Series", "World", "adstock", "build_world"]

START_MS = 1_230_768_000_000  # 2009-01-01T00:00:00Z, five days before the story
DAY_MS = 86_400_000
COMMUNITY = "simulated"
COMMUNITY_SIZE = 4_000_000
ONSET_RETENTION = 0.7

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Series(NamedTuple):
    """The truth about one appealer's appeals of one kind.

    The onset is the first appeal with retention <= 0.7, None if there is none: its time, its
    number within the series (1 for the first) and its id.
    """

    appealer: str
    kind: str
    appeals: int
    immune: bool
    onset_time_ms: int | None
    onset_number: int | None
    onset_appeal_id: str | None


@dataclass(frozen=True)
class World:
    """Appeals in time order, and arrays aligned with them, shape (appeals,) but for generations.

    Attributes
    ----------
    time_ms : milliseconds since 1970, strictly increasing.
    appealer, kind : indices.
    repeat, number : 1 for the first appeal on the own axis, and of the series; 2 for the next.
    own, kind_stock, crowd : exposure stocks at the true half-lives, in appeals.
    retention : response relative to what a first appeal would have drawn then.
    level : what happens to everybody at once, a factor.
    mean : expected responses within the horizon (not knowing the appeal's Gamma multiplier).
    generations : shape (appeals, n): responses of their own accord, those set off by these, ...
    exits : drawn besides the responses.
    appealers : who asks, one entry per appealer.
    """

    scenario: str
    seed: int
    settings: WorldSettings
    time_ms: Ints
    appealer: Ints
    kind: Ints
    repeat: Ints
    number: Ints
    own: Floats
    kind_stock: Floats
    crowd: Floats
    retention: Floats
    level: Floats
    mean: Floats
    generations: Ints
    exits: Ints
    appealers: Appealers

    @cached_property
    def responses(self) -> Ints:
        """The responses drawn, exits apart, shape (appeals,)."""
        total: Ints = self.generations.sum(axis=1)
        return total

    @cached_property
    def appeals(self) -> list[Appeal]:
        """The appeals as events, in time order."""
        return [self.appeal(index) for index in range(len(self.time_ms))]

    def appeal(self, index: int) -> Appeal:
        """Return one appeal as an event."""
        who = int(self.appealer[index])
        return Appeal(
            appeal_id=f"a{index:08d}",
            time_ms=int(self.time_ms[index]),
            appealer=f"p{who:07d}",
            kind=f"kind-{int(self.kind[index])}",
            audience=f"p{who:07d}-network",
            community=COMMUNITY,
            reach=float(self.appealers.reach[who]),
            community_size=float(COMMUNITY_SIZE),
            attributes={
                "brand": float(self.appealers.brand[who]),
                "network_age_years": float(self.appealers.network_age_years[who]),
            },
        )

    def series(self) -> list[Series]:
        """Return the truth about every series, in order of appealer and kind."""
        key = self.appealer * self.settings.kinds + self.kind
        keys, first, counts = np.unique(key, return_index=True, return_counts=True)
        tired = np.flatnonzero(self.retention <= ONSET_RETENTION)
        tired_keys, onsets = np.unique(key[tired], return_index=True)
        onset = dict(zip(tired_keys.tolist(), tired[onsets].tolist(), strict=True))
        columns = zip(keys.tolist(), first.tolist(), counts.tolist(), strict=True)
        return [self._one_series(index, count, onset.get(k)) for k, index, count in columns]

    def _one_series(self, index: int, appeals: int, onset: int | None) -> Series:
        appeal = self.appeal(index)
        known = onset is not None
        return Series(
            appealer=appeal.appealer,
            kind=appeal.kind,
            appeals=appeals,
            immune=bool(self.appealers.immune[self.appealer[index]]),
            onset_time_ms=int(self.time_ms[onset]) if known else None,
            onset_number=int(self.number[onset]) if known else None,
            onset_appeal_id=f"a{onset:08d}" if known else None,
        )


def build_world(
    scenario: str, seed: int, appeals: int, *, settings: WorldSettings | None = None
) -> World:
    """Draw a world of so many appeals; twice as many take twice as long, at the same rate per day.

    Parameters
    ----------
    scenario : name of a scenario; where `settings` are given, only a label.
    seed : of the one generator everything is drawn from (PCG64).
    appeals : how many, at least 1.
    settings : in place of the scenario's own.

    Raises
    ------
    ValueError
        If there is no such scenario, no appeal to draw, or a setting out of its bounds.

    Examples
    --------
    >>> world = build_world("classic", 1, 500)
    >>> len(world.appeals), world.appeals[0].appealer == world.appeals[1].appealer
    (500, False)
    >>> bool((world.retention[world.repeat == 1] == 1.0).all())
    True
    """
    if appeals < 1:
        raise ValueError(f"appeals: expected at least 1, got {appeals}")
    settings = settings_of(scenario) if settings is None else checked(settings)
    rng = np.random.Generator(np.random.PCG64(seed))
    who = draw_appealers(rng, settings, appeals)
    appealer, days = calendar(rng, settings, who, appeals)
    kind = choose_kinds(rng, settings, appealer, days)
    time_ms = _milliseconds(busy_hours(days))
    own, kind_stock, crowd = _stocks(settings, time_ms, appealer, kind)
    retention = _retention(settings, who.strength[appealer], own, kind_stock, crowd)
    level = np.exp(_log_level(rng, settings, (time_ms - START_MS) / DAY_MS))
    mean = _first_mean(rng, settings, who)[appealer, kind] * level * retention
    return World(
        scenario=scenario,
        seed=seed,
        settings=settings,
        time_ms=time_ms,
        appealer=appealer,
        kind=kind,
        repeat=_position(appealer),
        number=_position(appealer * settings.kinds + kind),
        own=own,
        kind_stock=kind_stock,
        crowd=crowd,
        retention=retention,
        level=level,
        mean=mean,
        generations=_draw_generations(rng, settings, mean),
        exits=_draw_exits(rng, settings, who.reach[appealer], retention),
        appealers=who,
    )


def adstock(time_days: Floats, key: Ints, half_life_days: float) -> Floats:
    """Return the stock each appeal finds: the sum of 2^(-elapsed / half-life) over its key's past.

    >>> adstock(np.array([0.0, 1.0, 2.0]), np.array([7, 7, 7]), 1.0).tolist()
    [0.0, 0.5, 0.75]
    """
    left: dict[int, tuple[float, float]] = {}
    stock = np.zeros(len(key))
    for index, (now, k) in enumerate(zip(time_days.tolist(), key.tolist(), strict=True)):
        before, then = left.get(k, (0.0, now))
        felt = before * 2.0 ** ((then - now) / half_life_days)
        stock[index] = felt
        left[k] = (felt + 1.0, now)
    return stock


def _milliseconds(days: Floats) -> Ints:
    """Return strictly increasing milliseconds: whoever comes second in one waits for the next."""
    count = np.arange(len(days))
    at = START_MS + np.floor(days * DAY_MS).astype(np.int64)
    increasing: Ints = np.maximum.accumulate(at - count) + count
    return increasing


def _stocks(
    settings: WorldSettings, time_ms: Ints, appealer: Ints, kind: Ints
) -> tuple[Floats, Floats, Floats]:
    """Return the stocks of own, kind and crowd; the crowd's is everybody's less one's own."""
    days = (time_ms - START_MS) / DAY_MS
    series = appealer * settings.kinds + kind
    everybody = adstock(days, kind, settings.half_life_crowd_days)
    oneself = adstock(days, series, settings.half_life_crowd_days)
    return (
        adstock(days, appealer, settings.half_life_own_days),
        adstock(days, series, settings.half_life_kind_days),
        np.maximum(everybody - oneself, 0.0),
    )


def _retention(
    settings: WorldSettings, strength: Floats, own: Floats, kind: Floats, crowd: Floats
) -> Floats:
    worn = settings.beta_own * own + settings.beta_kind * kind + settings.beta_crowd * crowd
    if settings.cliff_stock is not None:
        worn = worn - np.log(settings.cliff_factor) * (kind >= settings.cliff_stock)
    retention: Floats = np.exp(-strength * worn)
    return retention


def _log_level(rng: np.random.Generator, settings: WorldSettings, days: Floats) -> Floats:
    """Return what happens to everybody: year (peak in January), weekends, outages and drift."""
    weekend = (np.floor(days).astype(np.int64) + 3) % 7 >= 5  # 2009-01-01 was a Thursday
    first_outage = rng.uniform(15.0, 25.0)
    out = (days - first_outage) % settings.outage_every_days < settings.outage_days
    level: Floats = (
        settings.season_year * np.cos(2.0 * np.pi * days / 365.25)
        - settings.season_week * weekend
        + np.log(settings.outage_factor) * out
        + _drift(rng, settings, days)
    )
    return level


def _drift(rng: np.random.Generator, settings: WorldSettings, days: Floats) -> Floats:
    """Return a stationary Ornstein-Uhlenbeck path, drawn day by day and read in between."""
    keep = float(np.exp(-1.0 / settings.drift_days))
    shocks = rng.normal(0.0, settings.drift_sd, int(days[-1]) + 2)
    shocks[1:] *= np.sqrt(1.0 - keep**2)
    path = np.empty_like(shocks)
    here = 0.0
    for day, shock in enumerate(shocks.tolist()):
        here = keep * here + shock
        path[day] = here
    return np.interp(days, np.arange(len(path)), path)


def _first_mean(rng: np.random.Generator, settings: WorldSettings, who: Appealers) -> Floats:
    """Return the responses to expect of a first appeal on a normal day, (appealers, kinds)."""
    kind_level = rng.normal(0.0, settings.kind_log_sd, settings.kinds)
    log_reach = np.log(who.reach / settings.reach_median)
    # Half the variance less, so that the average over appealers is first_mean.
    variance = settings.reach_log_sd**2 + settings.kind_log_sd**2 + settings.quality_sd**2
    relative = (log_reach + who.quality - variance / 2.0)[:, None] + kind_level
    mean: Floats = settings.first_mean * np.exp(relative)
    return mean


def _draw_generations(rng: np.random.Generator, settings: WorldSettings, mean: Floats) -> Ints:
    """Draw the responses of their own accord, then those they set off, until all is quiet."""
    own_accord = (1.0 - settings.surge) * mean
    if settings.phi is not None:
        own_accord = own_accord * rng.gamma(settings.phi, 1.0 / settings.phi, len(mean))
    generations = [rng.poisson(own_accord)]
    while settings.surge > 0.0 and generations[-1].any():
        generations.append(rng.poisson(settings.surge * generations[-1]))
    return np.stack(generations, axis=1)


def _draw_exits(
    rng: np.random.Generator, settings: WorldSettings, reach: Floats, retention: Floats
) -> Ints:
    """Draw the exits: the more tired, the more."""
    growth = 1.0 + (settings.exit_growth - 1.0) * (1.0 - retention)
    return rng.poisson(settings.exit_rate * reach * growth)


def _position(key: Ints) -> Ints:
    """Return 1 for the first appearance of a key, 2 for the second, ..."""
    _, counts = np.unique(key, return_counts=True)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    position = np.empty(len(key), dtype=np.int64)
    position[np.argsort(key, kind="stable")] = np.arange(len(key)) - before + 1
    return position
