"""The eleven scenarios: which forces act in a simulated world, and how strongly.

A scenario is a `WorldSettings`; the table says only what differs from `classic`. Reach, kinds,
delays, strengths and half-lives are those of the study whose figures the product is measured by.
Gaps and shares are tuned so that the mean |log retention| over repeats, which is the error of
somebody who always says 1, comes near that study's.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["SCENARIOS", "WorldSettings", "checked", "settings_of"]

# Bounds far outside what any world needs: what is not finite, or never ends, is refused by them.
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Branching = Annotated[float, msgspec.Meta(ge=0, le=0.95)]
Signed = Annotated[float, msgspec.Meta(ge=-10, le=10)]
Days = Annotated[float, msgspec.Meta(ge=0.1, le=366)]
Number = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class WorldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a simulated world depends on besides its seed and its size.

    Retention is exp(-strength * (beta_own S_own + beta_kind S_kind + beta_crowd S_crowd)), where
    S is the exposure stock (adstock) of strictly earlier appeals, in appeals; and `cliff_factor`
    times that, to the power of the strength, where S_kind has reached `cliff_stock`.
    """

    # Who appeals, how often: 8 a day make some 3,000 appeals a year, by some 500 appealers.
    appeals_per_day: Positive = 8.0
    # An appealer's appeals: 1 + a rounded log-normal, heavy-tailed; cut off, so that every career
    # ends and the number of appealers at any time does not grow with the world.
    repeats_median: Positive = 3.5
    repeats_log_sd: Amount = 1.2
    repeats_max: Number = 150
    survivorship: Share = 0.3  # correlation of quality and log number of appeals
    gap_days: Positive = 3.3  # median over appealers of the mean gap between appeals
    gap_log_sd: Amount = 0.5
    rest_share: Share = 0.08  # of the gaps are rests ...
    rest_days: Amount = 30.0  # ... of this mean length
    # What a first appeal draws, and how unevenly.
    first_mean: Positive = 100.0  # responses expected, averaged over appealers
    reach_median: Positive = 10_000.0  # people; within 1e3..1e5
    reach_log_sd: Amount = 0.74  # with the kinds' .3: log-sd .8 besides quality
    kinds: Number = 8
    kind_log_sd: Amount = 0.3
    quality_sd: Amount = 0.5  # appealer level, natural log
    phi: Positive | None = 10.0  # shape of the Gamma multiplier per appeal; None: plain Poisson
    # Wear-out per appeal of stock, natural log.
    beta_own: Amount = 0.08
    beta_kind: Amount = 0.25
    beta_crowd: Amount = 0.0
    half_life_own_days: Positive = 14.0
    half_life_kind_days: Positive = 21.0
    half_life_crowd_days: Positive = 10.0
    cliff_stock: Positive | None = None
    cliff_factor: Positive = 0.35
    strength_log_sd: Amount = 0.0  # between appealers
    immune_share: Share = 0.0  # of the appealers never tire, of anything
    # Brands and people: multipliers of wear-out, and a brand's level (natural log).
    brand_share: Share = 0.3
    brand_strength: Amount = 1.0
    human_strength: Amount = 1.0
    brand_level: Signed = 0.0
    # Fashion: the share of appeals of the appealer's favourite kind, whatever is in fashion, and
    # the amplitude (natural log) of the waves in which kinds come and go.
    loyalty: Share = 0.8
    fad_amplitude: Amount = 0.5
    # What happens to everybody at once: amplitudes, fall at weekends and drift in natural log.
    season_year: Amount = 0.0
    season_week: Amount = 0.0
    outage_factor: Positive = 1.0
    outage_days: Amount = 14.0
    outage_every_days: Positive = 180.0
    drift_sd: Amount = 0.0
    drift_days: Positive = 60.0
    # When responses come: "log-normal", median 6 h and sigma 1.5, or "stretched", the stretched
    # exponential exp(-(t / 15 h)^0.4); none after the horizon. And the share of the responses
    # that earlier ones set off (branching ratio), within about half an hour.
    delay: Literal["log-normal", "stretched"] = "log-normal"
    horizon_days: Days = 7.0
    surge: Branching = 0.0
    # Reciprocity: the share of responses that come from other appealers; what a standard deviation
    # of the propensity to answer adds to the level, and takes off wear-out (natural log).
    reciprocity_share: Share = 0.0
    reciprocity_level: Signed = 0.0
    reciprocity_relief: Signed = 0.0
    # Exits per person reached by a first appeal; times as many when no retention is left.
    exit_rate: Amount = 1e-5
    exit_growth: Amount = 10.0


SCENARIOS: dict[str, WorldSettings] = {
    # Nobody tires; counts are very uneven.
    "fresh": WorldSettings(beta_own=0.0, beta_kind=0.0, phi=3.0),
    # Own and kind wear-out, with recovery at rest.
    "classic": WorldSettings(),
    # Tricks are copied: only the crowd's use wears them out. Its stock counts a whole community,
    # 20 appeals on average and 60 at the height of a fad, hence the small beta: .45 for 60.
    "emulators": WorldSettings(
        beta_own=0.0, beta_kind=0.0, beta_crowd=0.0075, loyalty=0.2, fad_amplitude=2.5
    ),
    # Everybody falls at once for a fortnight; nobody tires.
    "outage": WorldSettings(beta_own=0.0, beta_kind=0.0, outage_factor=0.35),
    # A strong calendar, and wear-out below it.
    "seasonal": WorldSettings(season_year=0.5, season_week=0.25, gap_days=12.5, rest_share=0.25),
    # Nothing for a while, then a cliff.
    "abrupt": WorldSettings(beta_own=0.0, beta_kind=0.0, cliff_stock=3.0),
    # Bursts and rests.
    "recovering": WorldSettings(gap_days=3.0, rest_share=0.33, rest_days=60.0),
    # Brands tire four times as fast.
    "brand_vs_human": WorldSettings(
        brand_share=0.5, brand_strength=1.25, human_strength=0.3, brand_level=-0.3
    ),
    # Responses beget responses, and wear-out goes on below it.
    "surge": WorldSettings(surge=0.5, gap_days=12.5, rest_share=0.25),
    # Everything at once.
    "mixed": WorldSettings(
        beta_own=0.035,
        beta_kind=0.12,
        beta_crowd=0.003,
        strength_log_sd=0.4,
        immune_share=0.15,
        brand_share=0.4,
        brand_strength=1.5,
        brand_level=-0.3,
        loyalty=0.6,
        fad_amplitude=1.0,
        season_year=0.2,
        season_week=0.1,
        outage_factor=0.5,
        drift_sd=0.2,
        surge=0.3,
        reciprocity_level=0.15,
        reciprocity_relief=0.2,
        reciprocity_share=0.1,
        phi=5.0,
    ),
    # Classic, but a quarter never tires and strengths vary: the test of pooled verdicts.
    "immune": WorldSettings(immune_share=0.25, strength_log_sd=0.4),
}


def settings_of(scenario: str) -> WorldSettings:
    """Return the settings of a scenario by its name.

    Raises
    ------
    ValueError
        If there is no such scenario; the message names those there are.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario: expected one of {', '.join(SCENARIOS)}; got {scenario!r}")
    return SCENARIOS[scenario]


def checked(settings: WorldSettings) -> WorldSettings:
    """Return the settings if each is within its bounds.

    Raises
    ------
    ValueError
        Naming the first that is not, what was expected and what came.
    """
    plain = msgspec.structs.asdict(settings)
    try:
        return msgspec.convert(plain, WorldSettings)
    except msgspec.ValidationError as error:
        expected, _, field = str(error).partition(" - at `$.")
        name = field.rstrip("`")
        raise ValueError(f"{name}: {expected.lower()}, got {plain[name]!r}") from None
