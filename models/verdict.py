"""From numbers to a verdict: state, basis, reason in plain words, action.

Rule: everything that decides what a series is called lives in this file, as much of it as possible
in the table below. A state is entered when it is credible and kept while nothing credible speaks
for another, so that a series at a boundary does not flap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from models.plan import AskAgain

__all__ = [
    "CANNOT_TELL",
    "Decision",
    "Ruling",
    "Standing",
    "Thresholds",
    "decide",
    "put_in_words",
    "rule",
]

# Where the retention lies now (`_place`), against the state before.
_PLACES = ("worn", "tired", "leans_down", "leans_fresh", "fresh", "risen")
_TRANSITIONS: dict[str, tuple[str, ...]] = {
    # before        worn         tired         leans_down    leans_fresh   fresh    risen
    "unknown": ("worn_out", "tiring", "unknown", "unknown", "fresh", "rising"),
    "fresh": ("worn_out", "tiring", "unknown", "fresh", "fresh", "rising"),
    "rising": ("worn_out", "tiring", "unknown", "unknown", "fresh", "rising"),
    "tiring": ("worn_out", "tiring", "tiring", "recovering", "fresh", "rising"),
    "worn_out": ("worn_out", "tiring", "tiring", "recovering", "fresh", "rising"),
    "recovering": ("recovering", "recovering", "recovering", "recovering", "fresh", "rising"),
}
_DOWN = ("tiring", "worn_out")
_TIRED = (*_DOWN, "recovering")
_CONFIRMED = (*_DOWN, "rising")  # states that a series' own responses can confirm

# What a retention cannot be told from, and the words for it.
CANNOT_TELL = {
    "synchronised": "everybody asks at the same times and nobody for the first time",
    "same_rests": "rests never varied",
    "crowd_and_level": "crowd and level move together",
    "few_concurrent": "fewer than ten appeals at a time to know the level by",
}

# The kind and the crowd wear out the trick, not the appealer: another kind helps.
_ROTATE = ("kind", "crowd")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where one state ends and another begins, as retention (STATISTICS, sections 4 and 7)."""

    fresh_above: float = 0.85
    worn_out_below: float = 0.4
    rising_above: float = 1.15
    recovery_ratio: float = 1.15
    # The level relative to normal below which the answer is "look at your platform".
    level_below: float = 0.8


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is known of a series when its verdict is due, said of its next ask now.

    Where one appealer addresses many small audiences, the retention is that of the recent repeats
    together, so that one call does not flip the verdict.

    state, reference
        The state and the reference of the last `Ruling`; "unknown" and 1 at the start.
    repeat
        Which ask the next one would be: 1 for the first.
    retention, low, high, high_99
        The pooled forecast with its 90 % interval, and its 99 % upper limit.
    own, kind, crowd
        Log retention by axis: same appealer and audience; same kind as well; others' appeals.
    level
        Log of the level relative to normal.
    worn_confirmed, rising_confirmed
        The series' own evidence is enough: 20 where one series is watched, e-BH's choice where
        many. Once true it stays so until the series has left the state it confirms.
    own_estimate
        Retention, low and high as the own responses alone have it (SeriesEvidence.retention).
    appeals, days
        The appeals to this audience still felt (the last ones), and over how many days.
    others, other_appealers, other_days
        The same for others' appeals of the kind.
    rest_days
        Since the last appeal to this audience.
    needed
        About how many more repeats it takes (models.repeats); None if not even many would do.
    cannot_tell
        A key of CANNOT_TELL, or None.
    ask_again
        When to ask again (plan.rest_needed); None if a rest does not help.
    """

    state: str
    reference: float
    repeat: int
    retention: float
    low: float
    high: float
    high_99: float
    own: float = 0.0
    kind: float = 0.0
    crowd: float = 0.0
    level: float = 0.0
    worn_confirmed: bool = False
    rising_confirmed: bool = False
    own_estimate: tuple[float, float, float] | None = None
    appeals: int = 0
    days: float = 0.0
    others: int = 0
    other_appealers: int = 0
    other_days: float = 0.0
    rest_days: float = 0.0
    needed: int | None = None
    cannot_tell: str | None = None
    ask_again: AskAgain | None = None


class Decision(NamedTuple):
    """What a series is called. `reference` is to be handed back with the next standing.

    retention, low, high : of the basis it rests on.
    """

    state: str
    basis: str
    retention: float
    low: float
    high: float
    reference: float


class Ruling(NamedTuple):
    """A decision in words.

    ask_again : only with the action "rest" (and "rotate" and "stop", for who insists).
    """

    state: str
    basis: str
    retention: float
    low: float
    high: float
    reason: str
    action: str
    ask_again: AskAgain | None
    reference: float


def rule(standing: Standing, thresholds: Thresholds) -> Ruling:
    """Return the verdict on a series.

    >>> standing = Standing("fresh", 1.0, 4, 0.31, 0.22, 0.44, 0.52, own=-1.1, appeals=3, days=9.0)
    >>> ruling = rule(standing, Thresholds())
    >>> ruling.state, ruling.basis, ruling.reason
    ('worn_out', 'expected', 'own repetition: 3 appeals in 9 days')

    Raises
    ------
    ValueError
        If a number is not finite, the interval is not in order, or a state is unknown.
    """
    return put_in_words(standing, decide(standing, thresholds), thresholds)


def decide(standing: Standing, thresholds: Thresholds) -> Decision:
    """Return what a series is called, without what only its words need.

    Raises
    ------
    ValueError
        As `rule` does.
    """
    _refuse(standing)
    retention, low, high, confirmed = _estimate(standing, thresholds)
    place = _place(retention, low, standing.high_99, confirmed, thresholds)
    state = _state(standing, place, retention, thresholds)
    basis = "confirmed" if confirmed and state in _CONFIRMED else "expected"
    reference = _next_reference(standing, state, retention)
    return Decision(state, basis, retention, low, high, reference)


def put_in_words(standing: Standing, decision: Decision, thresholds: Thresholds) -> Ruling:
    """Return a decision with its reason, what to do, and when to ask again."""
    state, basis, retention, low, high, reference = decision
    action = _action(standing, state, thresholds)
    reason = _reason(standing, state, (retention, low, high), action)
    ask_again = standing.ask_again if action in ("rest", "rotate", "stop") else None
    return Ruling(state, basis, retention, low, high, reason, action, ask_again, reference)


def _refuse(standing: Standing) -> None:
    """Raise ValueError for a standing that no verdict can be given on."""
    if standing.state not in _TRANSITIONS:
        raise ValueError(f"state: expected one of {sorted(_TRANSITIONS)}, got {standing.state!r}")
    if standing.cannot_tell is not None and standing.cannot_tell not in CANNOT_TELL:
        raise ValueError(f"cannot_tell: expected one of {sorted(CANNOT_TELL)} or None")
    # Finite numbers have a finite sum: none of these is near to overflowing.
    in_all = standing.own + standing.kind + standing.crowd + standing.level + standing.high_99
    ordered = 0.0 <= standing.low <= standing.retention <= standing.high < math.inf
    if not (ordered and math.isfinite(in_all)):
        numbers = astuple(standing)[3:11]
        raise ValueError(f"retention, low, high: expected low <= it <= high, got {numbers}")


def _estimate(standing: Standing, thresholds: Thresholds) -> tuple[float, float, float, bool]:
    """Return retention, low and high, and whether own evidence confirms the side they lie on.

    The pooled forecast knows this series' responses too, so it is what is published; the own
    estimate takes its place where the forecast denies what is confirmed.
    """
    pooled = standing.retention, standing.low, standing.high
    for estimate in (pooled, standing.own_estimate):
        if estimate is None:
            continue
        tired = standing.worn_confirmed and estimate[0] < thresholds.fresh_above
        risen = standing.rising_confirmed and estimate[0] > thresholds.rising_above
        if tired or risen:
            return *estimate, True
    return *pooled, False


def _place(
    retention: float, low: float, high_99: float, confirmed: bool, thresholds: Thresholds
) -> str:
    """Return where the retention lies: credibly on one side, or only leaning there."""
    if confirmed and retention > 1.0 or low > thresholds.rising_above:
        return "risen"
    if confirmed or high_99 < thresholds.fresh_above:
        return "worn" if retention <= thresholds.worn_out_below else "tired"
    if low > thresholds.fresh_above:
        return "fresh"
    return "leans_down" if retention < thresholds.fresh_above else "leans_fresh"


def _state(standing: Standing, place: str, retention: float, thresholds: Thresholds) -> str:
    """Look the new state up; a turn by `recovery_ratio` decides in which row."""
    if standing.cannot_tell is not None:
        return "unknown"
    before = standing.state
    if before in _DOWN and retention >= standing.reference * thresholds.recovery_ratio:
        before = "recovering"
    elif before == "recovering" and retention <= standing.reference / thresholds.recovery_ratio:
        before = "tiring"
    return _TRANSITIONS[before][_PLACES.index(place)]


def _next_reference(standing: Standing, state: str, retention: float) -> float:
    """Return what the next turn is measured from: the low while down, the high while recovering."""
    if state in _DOWN and standing.state in _DOWN:
        return min(standing.reference, retention)
    if state == "recovering" == standing.state:
        return max(standing.reference, retention)
    return retention


def _axis(standing: Standing) -> str | None:
    """Return the axis that costs most; None if none does."""
    costs = {"own": standing.own, "kind": standing.kind, "crowd": standing.crowd}
    worst = min(costs, key=costs.__getitem__)
    return worst if costs[worst] < 0.0 else None


def _action(standing: Standing, state: str, thresholds: Thresholds) -> str:
    if standing.cannot_tell is not None:
        return "wait"
    if state in ("unknown", "fresh"):
        fell = math.exp(standing.level) < thresholds.level_below
        return "check" if fell else "wait" if state == "unknown" else "keep"
    if state == "rising":
        return "keep"
    if state == "recovering":
        return "rest" if standing.ask_again and standing.ask_again.days > 0.0 else "keep"
    if _axis(standing) in _ROTATE:
        return "rotate"
    return "rest" if standing.ask_again else "stop"


def _reason(
    standing: Standing, state: str, estimate: tuple[float, float, float], action: str
) -> str:
    if action == "check":
        return f"the level: everybody fell by {1.0 - math.exp(standing.level):.0%}"
    if state == "unknown":
        return _what_is_missing(standing, estimate)
    if state == "fresh":
        rested = standing.state in _TIRED
        seen = _over(standing.appeals, standing.days)
        rest = f"as new after a rest of {_count(standing.rest_days, 'day')}"
        return rest if rested else f"no wear-out: {seen}"
    if state == "rising":
        return f"repeats do better: {estimate[0]:.2f} of a first appeal's responses"
    if state == "recovering":
        rest = f"after a rest of {_count(standing.rest_days, 'day')}"
        return f"{estimate[0]:.2f} of a first appeal's responses {rest}"
    return _what_wore_it_out(standing, estimate[0])


def _what_is_missing(standing: Standing, estimate: tuple[float, float, float]) -> str:
    if standing.cannot_tell is not None:
        return f"cannot tell: {CANNOT_TELL[standing.cannot_tell]}"
    span = f"somewhere from {estimate[1]:.2f} to {estimate[2]:.2f}"
    if standing.needed is None:
        return f"{span}: its own repeats alone will not tell"
    return f"{span}: about {_count(standing.needed, 'more repeat')} needed"


def _what_wore_it_out(standing: Standing, retention: float) -> str:
    axis = _axis(standing)
    seen = _over(standing.appeals, standing.days)
    if axis == "own":
        return f"own repetition: {seen}"
    if axis == "kind":
        return f"the kind's repetition: {seen}"
    if axis == "crowd":
        others = _over(standing.others, standing.other_days)
        appeals, _, days = others.partition(" in ")
        who = _count(standing.other_appealers, "other")
        return f"the kind's overuse by others: {appeals} by {who} in {days}"
    return f"own responses: {retention:.2f} of a first appeal's, {seen}"


def _over(appeals: int, days: float) -> str:
    return f"{_count(appeals, 'appeal')} in {_count(max(days, 1.0), 'day')}"


def _count(number: float, noun: str) -> str:
    """Say how many.

    >>> _count(1, "appeal"), _count(8.6, "day")
    ('1 appeal', '9 days')
    """
    whole = round(number)
    return f"{whole} {noun}" if whole == 1 else f"{whole} {noun}s"
