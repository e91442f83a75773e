"""The eleven scenarios: which forces act in a simulated world, and how strongly.

A scenario is a `Settings`; the table holds only what differs from `classic`. Constants of the world (reach, kinds, delays,
strengths, half-lives) are those of the study whose figures the product is measured by; gaps and shares are tuned so that the
mean |log retention| over repeats (the error of somebody who always says 1) comes near that study's.
"""

from __future__ import annotations

import msgspec

__all__ = ["SCENARIOS", "Settings", "settings_of"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a simulated world depends on besides its seed and its size. Times in days unless the name says otherwise.

    Retention is exp(-strength * (beta_own S_own + beta_kind S_kind + beta_crowd S_crowd)), times `cliff_factor` where S_kind
    has reached `cliff_stock`. S is the exposure stock (adstock) of strictly earlier appeals, in appeals.
    """

    # Who appeals, how often. 8 a day make 3,000 appeals a year of some hundred to some thousand appealers.
    appeals_per_day: float = 8.0
    # An appealer's appeals: 1 + a rounded log-normal, heavy-tailed, cut off so that no career outlasts the world's memory.
    repeats_median: float = 3.5
    repeats_log_sd: float = 1.2
    repeats_max: int = 150
    survivorship: float = 0.3  # correlation of quality and number of appeals, on the normal scale
    gap_days: float = 3.5  # mean time between appeals while at it ...
    gap_log_sd: float = 0.5  # ... differing between appealers
    rest_share: float = 0.08  # of the gaps are rests ...
    rest_days: float = 30.0  # ... of this mean length
    # What an appeal draws.
    first_mean: float = 100.0  # expected responses to a first appeal, averaged over appealers
    reach_median: float = 10_000.0
    reach_log_sd: float = 0.74  # with the kinds' .3: log-sd .8 between appealers of equal quality
    kinds: int = 8
    kind_log_sd: float = 0.3  # base rates of the kinds
    quality_sd: float = 0.5  # appealer level, natural log
    phi: float = 10.0  # shape of the Gamma multiplier per appeal: responses are negative binomial
    # Wear-out, per unit of stock (natural log).
    beta_own: float = 0.08
    beta_kind: float = 0.25
    beta_crowd: float = 0.0
    half_life_own_days: float = 14.0
    half_life_kind_days: float = 21.0
    half_life_crowd_days: float = 10.0
    cliff_stock: float | None = None
    cliff_factor: float = 0.35
    strength_log_sd: float = 0.0  # strengths differ between appealers
    immune_share: float = 0.0  # of the appealers never tire, of anything
    # Brands and people.
    brand_share: float = 0.3
    brand_strength: float = 1.0  # multiplies a brand's wear-out
    human_strength: float = 1.0
    brand_level: float = 0.0  # natural log, added to a brand's level
    # Fashion: how loyal appealers are to their favourite kind, how strongly kinds come and go (natural log).
    loyalty: float = 0.8
    fad_amplitude: float = 0.5
    # What happens to everybody at once, natural log.
    season_year: float = 0.0
    season_week: float = 0.0
    outage_factor: float = 1.0
    outage_every_days: float = 180.0
    outage_days: float = 14.0
    drift_sd: float = 0.0
    drift_days: float = 60.0
    # Responses beget responses: the branching ratio, the share of responses set off by earlier ones.
    surge: float = 0.0
    # Reciprocity: who answers others draws more (natural log per sd of the propensity) and tires less.
    reciprocity_level: float = 0.0
    reciprocity_relief: float = 0.0
    reciprocity_share: float = 0.0  # of the responses come from appealers of the community
    # Exits per person reached by a first appeal, and how many times as many when nothing is left of the retention.
    exit_rate: float = 1e-5
    exit_growth: float = 10.0


CLASSIC = Settings()

SCENARIOS: dict[str, Settings] = {
    # Nobody tires; counts are very uneven.
    "fresh": Settings(beta_own=0.0, beta_kind=0.0, phi=3.0),
    # Own and kind wear-out, with recovery at rest.
    "classic": CLASSIC,
    # Tricks are copied: only the crowd's use wears them out. The crowd's stock counts a whole community (some 15 appeals of
    # a kind, 60 in a fad), hence a small beta: .5 for 50 appeals by others.
    "emulators": Settings(
        beta_own=0.0, beta_kind=0.0, beta_crowd=0.008, loyalty=0.2, fad_amplitude=2.5
    ),
    # Everybody falls at once for a fortnight; nobody tires.
    "outage": Settings(beta_own=0.0, beta_kind=0.0, outage_factor=0.35),
    # A strong calendar, and wear-out below it.
    "seasonal": Settings(season_year=0.5, season_week=0.25, gap_days=12.5, rest_share=0.25),
    # Nothing for a while, then a cliff.
    "abrupt": Settings(beta_own=0.0, beta_kind=0.0, cliff_stock=3.0),
    # Bursts and rests.
    "recovering": Settings(gap_days=3.0, rest_share=0.33, rest_days=60.0),
    # Brands tire four times as fast.
    "brand_vs_human": Settings(
        brand_share=0.5, brand_strength=1.2, human_strength=0.3, brand_level=-0.3
    ),
    # Responses beget responses, and wear-out goes on below it.
    "surge": Settings(surge=0.5, gap_days=12.5, rest_share=0.25),
    # Everything at once.
    "mixed": Settings(
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
    "immune": Settings(immune_share=0.25, strength_log_sd=0.4),
}


def settings_of(scenario: str) -> Settings:
    """Return the settings of a scenario by its name.

    Raises
    ------
    ValueError
        If there is no such scenario; the message names those there are.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario: expected one of {', '.join(SCENARIOS)}; got {scenario!r}")
    return SCENARIOS[scenario]
