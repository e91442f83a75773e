"""The story the product comes from, as a small stream: two real appeals among invented ones.

Real are the two nights of January 2009: who asked, how many followed them, what became of it. A
marketer with 8,150 followers raised 5,000 dollars within a few hours and 11,700 by morning; a
blogger with nearly 48,000 was stranded with a broken bus 100 miles from Las Vegas and fetched the
same night. Their appeals carry the attribute `"synthetic": false`, all others `true`. Even of
those two the single responses are invented: only their sum in dollars, and by when, is known; of
the blogger's, not even the night. The truth beside them is true of what is invented.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from replay.scenarios import WorldSettings
from replay.simulate import Simulation, series_truth
from replay.simulate_ages import draw_ages
from replay.simulate_text import appeal_line
from replay.story_cast import CAST, GIFTS, REAL, Member
from replay.world import COMMUNITY_SIZE, DAY_MS, ONSET_RETENTION, Series, adstock
from streams.codec import rfc3339
from streams.events import Appeal, Response

__all__ = ["write_story"]

SEED = 2009
DAY_0_MS = 1_220_227_200_000  # 2008-09-01T00:00:00Z; the days of the cast count from here
DAYS = 365
COMMUNITY = "twitter"
# Wear-out of the invented appeals, per appeal of stock. The crowd is small: a few dozen people.
FORCES = WorldSettings(beta_crowd=0.03, phi=10.0)
# Gifts vary like gifts; the invented ones have their median here.
GIFT_MEDIAN_DOLLARS, GIFT_LOG_SD = 15.0, 0.8
# Some answers come from the cast itself: what makes a network.
ANSWERS_SHARE = 0.06

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Asked(NamedTuple):
    """An appeal before its time: who, when (days of the story), for what, before whom."""

    day: float
    member: Member
    kind: str
    audience: str

    @property
    def first_mean(self) -> float:
        """The responses to expect of a first appeal."""
        return self.member.reach * self.member.rate


def write_story(out_dir: Path) -> Simulation:
    """Write `events.jsonl` and `truth.json` into a folder, the same bytes every time."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    asked = _everything_asked(rng)
    retention = _retention(asked)
    appeals = [_appeal(index, one) for index, one in enumerate(asked)]
    drawn = [
        _responses(rng, appeal, one, rho)
        for appeal, one, rho in zip(appeals, asked, retention.tolist(), strict=True)
    ]
    lines = [(appeal.time_ms, appeal_line(appeal)) for appeal in appeals]
    lines += [(r.time_ms, _response_line(r)) for responses in drawn for r in responses]
    counts = [sum(not r.exit for r in responses) for responses in drawn]
    story = Simulation(
        events=out_dir / "events.jsonl",
        truth=out_dir / "truth.json",
        appeals=len(appeals),
        responses=sum(counts),
        exits=sum(map(len, drawn)) - sum(counts),
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    story.events.write_bytes(b"".join(line for _, line in sorted(lines, key=lambda at: at[0])))
    known = _truth(appeals, asked, retention, counts)
    story.truth.write_bytes(msgspec.json.encode(known) + b"\n")
    return story


def _everything_asked(rng: np.random.Generator) -> list[_Asked]:
    everything = [one for member in CAST for one in _asked_by(rng, member)]
    return sorted(everything, key=lambda one: one.day)


def _asked_by(rng: np.random.Generator, member: Member) -> list[_Asked]:
    """Draw a member's appeals; the first kind named is two thirds of them."""
    days = [day for day in _days(rng, member) if day < DAYS]
    share = np.array([2.0 * len(member.kinds) - 1.0] + [1.0] * (len(member.kinds) - 1))
    kinds = rng.choice(len(member.kinds), len(days), p=share / share.sum())
    audiences = rng.choice(len(member.audiences), len(days))
    return [
        _Asked(day, member, member.kinds[kind], member.audiences[audience])
        for day, kind, audience in zip(days, kinds.tolist(), audiences.tolist(), strict=True)
    ]


def _days(rng: np.random.Generator, member: Member) -> list[float]:
    """Return the days named, or draw them: gaps, and after every burst a rest."""
    if member.days:
        return list(member.days)
    gaps = member.gap_days * rng.gamma(1.5, 1.0 / 1.5, member.appeals)
    if member.burst:
        gaps[member.burst :: member.burst] += member.rest_days
    gaps[0] = 0.0
    drawn: list[float] = (member.start_day + np.cumsum(gaps)).tolist()
    return drawn


def _retention(asked: list[_Asked]) -> Floats:
    """Return the retention of every appeal by the same law as in replay.world."""
    days = np.array([one.day for one in asked])
    own = _codes([(one.member.name, one.audience) for one in asked])
    series = _codes([(one.member.name, one.audience, one.kind) for one in asked])
    trick = _codes([(one.member.name, one.kind) for one in asked])
    everybody = adstock(days, _codes([one.kind for one in asked]), FORCES.half_life_crowd_days)
    crowd = everybody - adstock(days, trick, FORCES.half_life_crowd_days)
    worn = (
        FORCES.beta_own * adstock(days, own, FORCES.half_life_own_days)
        + FORCES.beta_kind * adstock(days, series, FORCES.half_life_kind_days)
        + FORCES.beta_crowd * crowd
    )
    retention: Floats = np.exp(-np.array([one.member.strength for one in asked]) * worn)
    return retention


def _codes(keys: list[Any]) -> Ints:
    """Number keys in the order of their first appearance."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _appeal(index: int, one: _Asked) -> Appeal:
    return Appeal(
        appeal_id=f"s{index:04d}",
        time_ms=DAY_0_MS + round(one.day * DAY_MS),
        appealer=one.member.name,
        kind=one.kind,
        audience=one.audience,
        community=COMMUNITY,
        reach=float(one.member.reach),
        community_size=float(COMMUNITY_SIZE),
        attributes={
            "brand": float(one.member.brand),
            "network_age_years": one.member.network_age_years,
            "synthetic": float((one.member.name, one.day) not in REAL),
        },
    )


def _responses(
    rng: np.random.Generator, appeal: Appeal, one: _Asked, retention: float
) -> list[Response]:
    """Return the responses to an appeal, and the exits after them."""
    real = REAL.get((one.member.name, one.day))
    if real is None:
        ages, dollars = _invented(rng, appeal, one, retention)
    else:
        ages, dollars = _recorded(rng, real)
    leaving = 0 if real else int(rng.poisson(_exits(one.member, retention)))
    ages = np.concatenate([ages, _ages(rng, appeal, leaving)])
    who = _responders(rng, one.member, len(ages))
    return [
        Response(
            appeal_id=appeal.appeal_id,
            time_ms=appeal.time_ms + max(1, round(age * DAY_MS)),
            responder=name,
            value=gift,
            exit=place >= len(dollars),
        )
        for place, (age, name, gift) in enumerate(
            zip(ages.tolist(), who, [*dollars, *[None] * leaving], strict=True)
        )
    ]


def _invented(
    rng: np.random.Generator, appeal: Appeal, one: _Asked, retention: float
) -> tuple[Floats, list[float | None]]:
    assert FORCES.phi is not None
    luck = float(rng.gamma(FORCES.phi, 1.0 / FORCES.phi))
    n = int(rng.poisson(one.first_mean * retention * luck))
    ages = _ages(rng, appeal, n)
    if one.kind not in GIFTS:
        return ages, [None] * n
    gifts = GIFT_MEDIAN_DOLLARS * np.exp(GIFT_LOG_SD * rng.standard_normal(n))
    return ages, np.maximum(gifts.round(2), 1.0).tolist()


def _ages(rng: np.random.Generator, appeal: Appeal, n: int) -> Floats:
    return draw_ages(rng, FORCES, np.full(n, (appeal.time_ms % DAY_MS) / DAY_MS))


def _exits(member: Member, retention: float) -> float:
    """Return the exits to expect: the more tired, the more, and from brands most."""
    growth = 1.0 + (FORCES.exit_growth - 1.0) * (1.0 - retention)
    return member.reach * FORCES.exit_rate * growth * member.strength


def _recorded(
    rng: np.random.Generator, parts: tuple[tuple[float, float, int, float], ...]
) -> tuple[Floats, list[float | None]]:
    """Invent single responses that add up to what is recorded.

    A part is: from and until which hour after the appeal, how many responses, dollars in all.
    """
    ages: list[float] = []
    dollars: list[float | None] = []
    for begin, end, n, total in parts:
        ages += (rng.uniform(begin, end, n) / 24.0).tolist()
        dollars += _add_up(rng, n, total) if total else [None] * n
    return np.array(ages), dollars


def _add_up(rng: np.random.Generator, n: int, dollars: float) -> list[float | None]:
    """Draw gifts of at least a dollar that add up to the cent."""
    share = np.exp(GIFT_LOG_SD * rng.standard_normal(n))
    cents = 100 + np.floor(share / share.sum() * (100.0 * dollars - 100.0 * n)).astype(np.int64)
    cents[0] += round(100.0 * dollars) - cents.sum()
    return [cent / 100.0 for cent in cents.tolist()]


def _responders(rng: np.random.Generator, member: Member, n: int) -> list[str]:
    """Draw who answers: readers, nobody twice, and those of the cast who answer others."""
    readers = rng.choice(member.reach, min(n, member.reach), replace=False).tolist()
    names = [f"{member.name}-reader-{reader}" for reader in readers]
    others = [other for other in CAST if other is not member]
    eager = np.array([other.answers for other in others])
    cast = rng.choice(len(others), len(names), p=eager / eager.sum())
    answers = rng.random(len(names)) < ANSWERS_SHARE
    return [
        others[who].name if answer else name
        for name, who, answer in zip(names, cast.tolist(), answers.tolist(), strict=True)
    ]


def _response_line(response: Response) -> bytes:
    event: dict[str, object] = {
        "type": "response",
        "appeal_id": response.appeal_id,
        "time": rfc3339(response.time_ms),
        "responder": response.responder,
    }
    if response.value is not None:
        event["value"] = response.value
    if response.exit:
        event["exit"] = True
    return msgspec.json.encode(event) + b"\n"


def _truth(
    appeals: list[Appeal], asked: list[_Asked], retention: Floats, counts: list[int]
) -> dict[str, object]:
    """Return the truth in the form of replay.simulate.truth; there is no level in the story."""
    first_mean = np.array([one.first_mean for one in asked])
    return {
        "scenario": "story",
        "seed": SEED,
        "settings": FORCES,
        "appeals": {
            "appeal_id": [appeal.appeal_id for appeal in appeals],
            "appealer": [appeal.appealer for appeal in appeals],
            "kind": [appeal.kind for appeal in appeals],
            "repeat": _count_up([(appeal.appealer, appeal.audience) for appeal in appeals]),
            "number": _count_up([(appeal.appealer, appeal.kind) for appeal in appeals]),
            "retention": retention.round(9).tolist(),
            "level": [1.0] * len(appeals),
            "mean": (first_mean * retention).round(6).tolist(),
            "responses": counts,
        },
        "series": [series_truth(series) for series in _series(appeals, retention)],
    }


def _series(appeals: list[Appeal], retention: Floats) -> list[Series]:
    number = _count_up([(appeal.appealer, appeal.kind) for appeal in appeals])
    onset: dict[tuple[str, str], tuple[int, int, str]] = {}
    for appeal, n, rho in zip(appeals, number, retention.tolist(), strict=True):
        if rho <= ONSET_RETENTION:
            tired = (appeal.time_ms, n, appeal.appeal_id)
            onset.setdefault((appeal.appealer, appeal.kind), tired)
    total = Counter((appeal.appealer, appeal.kind) for appeal in appeals)
    immune = {member.name for member in CAST if member.strength == 0.0}
    return [
        Series(*key, n, key[0] in immune, *onset.get(key, (None, None, None)))
        for key, n in sorted(total.items())
    ]


def _count_up(keys: list[tuple[str, str]]) -> list[int]:
    """Return 1 for the first appearance of a key, 2 for the second, ..."""
    seen: Counter[tuple[str, str]] = Counter()
    counted = []
    for key in keys:
        seen[key] += 1
        counted.append(seen[key])
    return counted
