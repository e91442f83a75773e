"""A simulated world, appeal by appeal: who asks whom for what, what is left of their retention, how many respond.

The stocks follow models.stock (Broadbent 1979, the adstock with its decay as a half-life); counts are Poisson with a Gamma
multiplier per appeal, that is, negative binomial (Greenwood & Yule 1920, "An inquiry into the nature of frequency
distributions", J. R. Stat. Soc. 83(2)); responses that beget responses are a branching process with Poisson offspring
(Hawkes & Oakes 1974, "A cluster process representation of a self-exciting process", J. Appl. Probab. 11(3)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replay.scenarios import Settings, settings_of
from streams.events import Appeal

__all__ = ["START_MS", "Series", "World", "adstock", "build_world"]

START_MS = 1_230_768_000_000  # 2009-01-01T00:00:00Z, five days before the story
DAY_MS = 86_400_000
ONSET_RETENTION = 0.7
COMMUNITY = "simulated"
COMMUNITY_SIZE = 4_000_000.0
REACH_MIN, REACH_MAX = 1e3, 1e5
# Amplitude of the day's rhythm, for appeals and responses alike; its peak at 19:00 UTC.
DAILY_AMPLITUDE = 0.5
DAILY_PEAK_DAYS = 19.0 / 24.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Appealers(NamedTuple):
    """Who asks: arrays of one entry per appealer. `strength` multiplies wear-out (0: immune), `quality` is a natural log."""

    start_days: Floats
    appeals: Ints
    gap_days: Floats
    reach: Floats
    quality: Floats
    strength: Floats
    brand: NDArray[np.bool_]
    immune: NDArray[np.bool_]
    propensity: Floats
    network_age_years: Floats


class Series(NamedTuple):
    """The truth about one appealer's appeals of one kind; the onset is the first with retention <= 0.7, if any."""

    appealer: str
    kind: str
    appeals: int
    immune: bool
    onset_time_ms: int | None
    onset_number: int | None
    onset_appeal_id: str | None


@dataclass(frozen=True)
class World:
    """Appeals in time order, and arrays aligned with them, shape (appeals,) but for `generations`.

    Attributes
    ----------
    time_ms : milliseconds since 1970, strictly increasing.
    appealer, kind : indices.
    repeat, number : 1 for the first appeal on the own axis, and of the series.
    own, kind_stock, crowd : true exposure stocks, in appeals.
    retention : response relative to what a first appeal would have drawn then.
    level : what happened to everybody, a factor.
    mean : expected responses within the horizon.
    responses : those drawn, without exits. exits : drawn apart.
    generations : shape (appeals, n); responses of their own accord, set off by those, set off by these, ...
    appealers : the truth about who asks, one entry per appealer.
    """

    scenario: str
    seed: int
    settings: Settings
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
        """The responses drawn, shape (appeals,)."""
        total: Ints = self.generations.sum(axis=1)
        return total

    @cached_property
    def appeals(self) -> list[Appeal]:
        """The appeals as events."""
        return [self.appeal(index) for index in range(len(self.time_ms))]

    def appeal(self, index: int) -> Appeal:
        """Return one appeal as an event."""
        who = int(self.appealer[index])
        return Appeal(
            appeal_id=f"a{index:08d}",
            time_ms=int(self.time_ms[index]),
            appealer=f"p{who:06d}",
            kind=f"kind-{int(self.kind[index])}",
            audience=f"p{who:06d}-network",
            community=COMMUNITY,
            reach=float(self.appealers.reach[who]),
            community_size=COMMUNITY_SIZE,
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
        onset = dict(zip(*(a.tolist() for a in _first_of_each(key[tired], tired)), strict=True))
        return [
            self._one_series(index, count, onset.get(k))
            for k, index, count in zip(keys.tolist(), first, counts.tolist(), strict=True)
        ]

    def _one_series(self, index: int, appeals: int, onset: int | None) -> Series:
        appeal = self.appeal(index)
        return Series(
            appealer=appeal.appealer,
            kind=appeal.kind,
            appeals=appeals,
            immune=bool(self.appealers.immune[self.appealer[index]]),
            onset_time_ms=None if onset is None else int(self.time_ms[onset]),
            onset_number=None if onset is None else int(self.number[onset]),
            onset_appeal_id=None if onset is None else self.appeal(onset).appeal_id,
        )


def build_world(
    scenario: str, seed: int, appeals: int, *, settings: Settings | None = None
) -> World:
    """Draw a world of so many appeals; twice as many take twice as long at the same rate per day.

    Parameters
    ----------
    scenario : name of a scenario; with `settings` given, only a label.
    seed : of the one generator everything is drawn from (PCG64).
    appeals : how many, >= 1.
    settings : in place of the scenario's own.

    Raises
    ------
    ValueError
        If the scenario is unknown or there are no appeals to draw.

    >>> world = build_world("classic", 1, 500)
    >>> len(world.appeals), bool((world.retention[world.repeat == 1] == 1).all())
    (500, True)
    """
    if appeals < 1:
        raise ValueError(f"appeals: expected at least 1, got {appeals}")
    settings = settings_of(scenario) if settings is None else settings
    rng = np.random.Generator(np.random.PCG64(seed))
    who = _draw_appealers(rng, settings, appeals)
    appealer, days = _calendar(rng, settings, who, appeals)
    kind = _choose_kinds(rng, settings, appealer, days)
    time_ms = _to_milliseconds(days)
    stocks = _stocks(settings, time_ms, appealer, kind)
    retention = _retention(settings, who.strength[appealer], *stocks)
    level = np.exp(_log_level(rng, settings, (time_ms - START_MS) / DAY_MS))
    kind_rate = rng.normal(0.0, settings.kind_log_sd, settings.kinds)
    mean = _first_mean(settings, who, kind_rate)[appealer, kind] * level * retention
    return World(
        scenario=scenario,
        seed=seed,
        settings=settings,
        time_ms=time_ms,
        appealer=appealer,
        kind=kind,
        repeat=_position(appealer),
        number=_position(appealer * settings.kinds + kind),
        own=stocks[0],
        kind_stock=stocks[1],
        crowd=stocks[2],
        retention=retention,
        level=level,
        mean=mean,
        generations=_draw_generations(rng, settings, mean),
        exits=_draw_exits(rng, settings, who.reach[appealer], retention),
        appealers=who,
    )


def adstock(time_days: Floats, key: Ints, half_life_days: float) -> Floats:
    """Return the stock each appeal finds: sum of 2^(-elapsed / half-life) over earlier ones with its key.

    >>> adstock(np.array([0.0, 1.0, 2.0]), np.array([7, 7, 7]), 1.0).tolist()
    [0.0, 0.5, 0.75]
    """
    felt: dict[int, tuple[float, float]] = {}
    stock = np.zeros(len(key))
    for index, (now, k) in enumerate(zip(time_days.tolist(), key.tolist(), strict=True)):
        before, then = felt.get(k, (0.0, now))
        stock[index] = before * 2.0 ** ((then - now) / half_life_days)
        felt[k] = (stock[index] + 1.0, now)
    return stock


def day_rhythm(days: Floats) -> Floats:
    """Return how busy a time of day is, 1 on average over the day; `days` since midnight UTC of any day."""
    return 1.0 + DAILY_AMPLITUDE * np.cos(2.0 * np.pi * (days - DAILY_PEAK_DAYS))


def _draw_appealers(rng: np.random.Generator, settings: Settings, appeals: int) -> Appealers:
    """Draw founders, who are there from the start, and newcomers, who arrive at a steady rate past the end."""
    founders, newcomers, days = _population(settings, appeals)
    n = founders + newcomers
    quality = rng.normal(0.0, 1.0, n)
    career = settings.survivorship * quality + np.sqrt(1.0 - settings.survivorship**2) * rng.normal(
        0.0, 1.0, n
    )
    gap_days = settings.gap_days * np.exp(rng.normal(0.0, settings.gap_log_sd, n))
    immune = rng.random(n) < settings.immune_share
    brand = rng.random(n) < settings.brand_share
    propensity = rng.normal(0.0, 1.0, n)
    reach = settings.reach_median * np.exp(rng.normal(0.0, settings.reach_log_sd, n))
    repeats = np.round(settings.repeats_median * np.exp(settings.repeats_log_sd * career))
    start = np.sort(rng.random(newcomers) * days)
    return Appealers(
        start_days=np.concatenate([rng.random(founders) * gap_days[:founders], start]),
        appeals=1 + np.minimum(repeats, settings.repeats_max).astype(np.int64),
        gap_days=gap_days,
        reach=np.round(np.clip(reach, REACH_MIN, REACH_MAX)),
        quality=settings.quality_sd * quality
        + settings.brand_level * brand
        + settings.reciprocity_level * propensity,
        strength=_strength(rng, settings, brand, propensity) * ~immune,
        brand=brand,
        immune=immune,
        propensity=propensity,
        network_age_years=np.round(rng.gamma(2.0, 1.5, n), 1),
    )


def _population(settings: Settings, appeals: int) -> tuple[int, int, float]:
    """Return how many founders and newcomers to draw, and the days over which newcomers arrive.

    By Little's law there are (rate of newcomers) x (mean career) appealers at any time: so many founders keep the rate of
    appeals steady from the first day. Newcomers arrive for longer than the world will last; what is too much is cut off.
    """
    mean_repeats = settings.repeats_median * float(np.exp(settings.repeats_log_sd**2 / 2))
    mean_gap = (1 - settings.rest_share) * settings.gap_days + settings.rest_share * (
        settings.rest_days
    )
    newcomers_a_day = settings.appeals_per_day / (1.0 + mean_repeats)
    days = 1.4 * appeals / settings.appeals_per_day + 60.0
    founders = round(newcomers_a_day * mean_repeats * mean_gap)
    return founders, round(newcomers_a_day * days), days


def _strength(
    rng: np.random.Generator, settings: Settings, brand: NDArray[np.bool_], propensity: Floats
) -> Floats:
    spread = np.exp(rng.normal(0.0, 1.0, len(brand)) * settings.strength_log_sd)
    by_face = np.where(brand, settings.brand_strength, settings.human_strength)
    strength: Floats = spread * by_face * np.exp(-settings.reciprocity_relief * propensity)
    return strength


def _calendar(
    rng: np.random.Generator, settings: Settings, who: Appealers, appeals: int
) -> tuple[Ints, Floats]:
    """Return the appealer and the day of every appeal, in time order."""
    appealer = np.repeat(np.arange(len(who.appeals)), who.appeals)
    rest = rng.random(len(appealer)) < settings.rest_share
    typical = np.where(rest, settings.rest_days, who.gap_days[appealer])
    gap = typical * rng.gamma(1.5, 1.0 / 1.5, len(appealer))
    elapsed = np.cumsum(gap)
    first = np.cumsum(who.appeals) - who.appeals
    days = who.start_days[appealer] + elapsed - elapsed[first][appealer]
    order = np.argsort(days, kind="stable")[:appeals]
    assert len(order) == appeals
    return appealer[order], days[order]


def _choose_kinds(
    rng: np.random.Generator, settings: Settings, appealer: Ints, days: Floats
) -> Ints:
    """Choose each appeal's kind: the appealer's favourite, or whatever is in fashion then."""
    fashionable = _fashionable(rng, settings, days)
    _, first, inverse = np.unique(appealer, return_index=True, return_inverse=True)
    favourite = fashionable[first][inverse]
    loyal = rng.random(len(days)) < settings.loyalty
    return np.where(loyal, favourite, fashionable)


def _fashionable(rng: np.random.Generator, settings: Settings, days: Floats) -> Ints:
    """Draw a kind for each day by the popularity it then has: every kind comes and goes with a period of its own."""
    period_days = rng.uniform(60.0, 150.0, settings.kinds)
    phase = rng.uniform(0.0, 2.0 * np.pi, settings.kinds)
    wave = np.sin(2.0 * np.pi * days[:, None] / period_days + phase)
    share = np.cumsum(np.exp(settings.fad_amplitude * wave), axis=1)
    drawn = rng.random(len(days))[:, None] * share[:, -1:]
    kind: Ints = (share < drawn).sum(axis=1)
    return kind


def _to_milliseconds(days: Floats) -> Ints:
    """Move the times of day to the busy hours, keeping their order, and make them strictly increasing milliseconds."""
    grid = np.linspace(0.0, 1.0, 1441)
    share = np.concatenate([[0.0], np.cumsum(day_rhythm((grid[1:] + grid[:-1]) / 2))]) / 1440.0
    midnight = np.floor(days)
    at = midnight + np.interp(days - midnight, share / share[-1], grid)
    count = np.arange(len(days))
    milliseconds = START_MS + np.floor(at * DAY_MS).astype(np.int64)
    increasing: Ints = np.maximum.accumulate(milliseconds - count) + count
    return increasing


def _stocks(
    settings: Settings, time_ms: Ints, appealer: Ints, kind: Ints
) -> tuple[Floats, Floats, Floats]:
    """Return the stocks of the axes own, kind and crowd: of a kind's appeals, all but one's own are the crowd's."""
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
    settings: Settings, strength: Floats, own: Floats, kind: Floats, crowd: Floats
) -> Floats:
    tired = settings.beta_own * own + settings.beta_kind * kind + settings.beta_crowd * crowd
    if settings.cliff_stock is not None:
        tired = tired - np.log(settings.cliff_factor) * (kind >= settings.cliff_stock)
    retention: Floats = np.exp(-strength * tired)
    return retention


def _log_level(rng: np.random.Generator, settings: Settings, days: Floats) -> Floats:
    """Return what happens to everybody: the year (peak in January), the week (weekends fall), outages and drift."""
    weekend = (np.floor(days).astype(np.int64) + 3) % 7 >= 5  # 2009-01-01 was a Thursday
    since = (days - rng.uniform(15.0, 25.0)) % settings.outage_every_days
    out = (since < settings.outage_days) & (days >= 1.0)
    level: Floats = (
        settings.season_year * np.cos(2.0 * np.pi * days / 365.25)
        - settings.season_week * weekend
        + np.log(settings.outage_factor) * out
        + _drift(rng, settings, days)
    )
    return level


def _drift(rng: np.random.Generator, settings: Settings, days: Floats) -> Floats:
    """Return a stationary Ornstein-Uhlenbeck path, drawn day by day and read in between."""
    keep = float(np.exp(-1.0 / settings.drift_days))
    shocks = rng.normal(0.0, settings.drift_sd, int(days[-1]) + 2)
    path = [float(shocks[0])]
    for shock in shocks[1:].tolist():
        path.append(keep * path[-1] + np.sqrt(1.0 - keep**2) * shock)
    return np.interp(days, np.arange(len(path)), path)


def _first_mean(settings: Settings, who: Appealers, kind_rate: Floats) -> Floats:
    """Return the expected responses to a first appeal on a normal day, shape (appealers, kinds)."""
    log_reach = np.log(who.reach / settings.reach_median)
    log_sd2 = settings.reach_log_sd**2 + settings.kind_log_sd**2 + settings.quality_sd**2
    relative = (log_reach + who.quality)[:, None] + kind_rate[None, :] - log_sd2 / 2.0
    mean: Floats = settings.first_mean * np.exp(relative)
    return mean


def _draw_generations(rng: np.random.Generator, settings: Settings, mean: Floats) -> Ints:
    """Draw the responses of their own accord, then those they set off, until nobody sets off any more."""
    luck = rng.gamma(settings.phi, 1.0 / settings.phi, len(mean))
    generations = [rng.poisson((1.0 - settings.surge) * mean * luck)]
    while settings.surge > 0.0 and generations[-1].any():
        generations.append(rng.poisson(settings.surge * generations[-1]))
    return np.stack(generations, axis=1)


def _draw_exits(
    rng: np.random.Generator, settings: Settings, reach: Floats, retention: Floats
) -> Ints:
    """Draw the exits: the more tired, the more."""
    tiredness = 1.0 + (settings.exit_growth - 1.0) * (1.0 - retention)
    return rng.poisson(settings.exit_rate * reach * tiredness)


def _position(key: Ints) -> Ints:
    """Return 1 for the first appearance of a key, 2 for the second, ..."""
    order = np.argsort(key, kind="stable")
    _, counts = np.unique(key, return_counts=True)
    position = np.empty(len(key), dtype=np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    position[order] = np.arange(len(key)) - starts + 1
    return position


def _first_of_each(key: Ints, index: Ints) -> tuple[Ints, Ints]:
    keys, first = np.unique(key, return_index=True)
    return keys, index[first]
