"""Who is in the story. Names but `armano` are invented; so is what anybody does but on two nights.

Days count from 2008-09-01: the 6th of January 2009 is day 127.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CAST", "GIFTS", "REAL", "Member"]

HELP = "help-a-friend"
STRANDED = "stranded"
GIFTS = (HELP, "gift-drive")

ARMANO_DAY = 127 + (21 * 60 + 4) / 1440  # 2009-01-06T21:04Z
# The night after: which one it was in January is not recorded. 19:30 in Nevada.
BLOGGER_DAY = 129 + (3 * 60 + 30) / 1440

Part = tuple[float, float, int, float]
# Parts of a real appeal's responses: from and until which hour, how many (invented), dollars.
REAL: dict[tuple[str, float], tuple[Part, ...]] = {
    ("armano", ARMANO_DAY): ((0.05, 3.0, 190, 5_000.0), (3.0, 15.0, 260, 6_700.0)),
    ("stranded-blogger", BLOGGER_DAY): ((0.02, 5.0, 240, 0.0),),
}


class Member(NamedTuple):
    """Somebody who appeals.

    rate : responses per person reached by a first appeal.
    days : when, where that is laid down; else `appeals` from `start_day`, `gap_days` apart, and a
        rest of `rest_days` after every `burst` of them, if that is not 0.
    strength : multiplies wear-out. answers : how often others are answered, relative to the rest.
    """

    name: str
    reach: int
    kinds: tuple[str, ...]
    rate: float = 0.005
    days: tuple[float, ...] = ()
    start_day: float = 0.0
    appeals: int = 0
    gap_days: float = 10.0
    burst: int = 0
    rest_days: float = 0.0
    strength: float = 1.0
    answers: float = 1.0
    brand: bool = False
    network_age_years: float = 2.0
    audience: tuple[str, ...] = ()

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom the member asks: by default the one network of followers."""
        return self.audience or (f"{self.name}-followers",)


def _after(first: float, *gaps: float) -> tuple[float, ...]:
    days = [first]
    for gap in gaps:
        days.append(days[-1] + gap)
    return tuple(days)


# Tries again, and again, thinks better of it; four months later it works again.
ARMANO = Member(
    name="armano",
    reach=8_150,
    kinds=(HELP,),
    rate=450 / 8_150,
    days=_after(ARMANO_DAY, 9.1, 5.8, 4.2, 6.9, 3.1, 5.2, 118.0, 41.3),
    answers=4.0,
    network_age_years=2.5,
)
BLOGGER = Member(
    name="stranded-blogger",
    reach=48_000,  # "nearly"
    kinds=(STRANDED,),
    rate=240 / 48_000,
    days=_after(BLOGGER_DAY, 11.3, 7.2, 5.9, 8.4, 4.0, 97.5, 52.1),
    answers=4.0,
    network_age_years=2.2,
)
# Asks every week all year, and answers everybody: it keeps working.
NEIGHBOUR = Member(
    name="good-neighbour",
    reach=2_400,
    kinds=("question",),
    rate=0.02,
    start_day=2.6,
    appeals=50,
    gap_days=7.0,
    strength=0.0,
    answers=30.0,
    network_age_years=1.8,
)
# Five in ten days, then seven weeks of silence, by design.
RESTER = Member(
    name="harvest-festival",
    reach=5_200,
    kinds=("gift-drive",),
    rate=0.015,
    start_day=11.7,
    appeals=30,
    gap_days=2.5,
    burst=5,
    rest_days=50.0,
)
BRANDS = tuple(
    Member(
        name=name,
        reach=reach,
        kinds=kinds,
        rate=0.003,
        start_day=start,
        appeals=60,
        gap_days=gap,
        burst=12,
        rest_days=21.0,
        strength=1.5,
        answers=0.1,
        brand=True,
        network_age_years=0.8,
    )
    for name, reach, kinds, start, gap in (
        ("soap-and-sons", 21_000, ("discount", "contest"), 5.5, 4.0),
        ("cheap-flights", 34_000, ("discount",), 20.4, 4.5),
    )
)
# From the week after the first night on everybody helps a friend, and does not do so well.
EMULATORS = tuple(
    Member(
        name=name,
        reach=reach,
        kinds=(HELP,),
        rate=0.02,
        start_day=start,
        appeals=appeals,
        gap_days=8.0,
        network_age_years=age,
    )
    for name, reach, start, appeals, age in (
        ("bakery-on-5th", 1_900, 131.6, 5, 1.0),
        ("quiet-carpenter", 3_300, 132.8, 4, 1.6),
        ("tin-whistle", 6_100, 134.7, 7, 2.1),
        ("paper-boats", 2_700, 135.9, 3, 0.9),
        ("night-shift-nurse", 4_500, 137.5, 5, 1.4),
        ("three-legged-dog", 9_800, 139.8, 6, 2.4),
        ("roof-garden", 1_500, 141.6, 2, 0.7),
        ("slow-train", 5_600, 144.9, 6, 1.9),
        ("map-and-compass", 7_400, 149.7, 4, 2.0),
        ("blue-kettle", 3_900, 155.8, 5, 1.2),
        ("left-handed", 2_200, 163.6, 3, 0.8),
        ("winter-market", 8_300, 174.9, 5, 1.7),
    )
)
# The rest of the community, going about its business all year; and newcomers.
REGULARS = tuple(
    Member(
        name=name,
        reach=reach,
        kinds=kinds,
        rate=rate,
        start_day=start,
        appeals=appeals,
        gap_days=gap,
        burst=burst,
        rest_days=45.0,
        network_age_years=age,
    )
    for name, reach, kinds, rate, start, appeals, gap, burst, age in (
        ("amateur-astronomer", 4_200, ("question", "retweet-this"), 0.010, 0.8, 34, 6.0, 8, 1.5),
        ("bicycle-repair", 2_900, ("question", "vote-for-me"), 0.012, 3.7, 28, 8.0, 6, 1.1),
        ("cartoon-a-day", 17_000, ("retweet-this", "vote-for-me"), 0.005, 1.9, 42, 5.0, 10, 2.6),
        ("double-bass", 1_300, ("vote-for-me",), 0.020, 9.6, 16, 11.0, 4, 0.6),
        ("early-bird", 6_600, ("retweet-this", "question"), 0.007, 6.8, 30, 7.0, 7, 1.9),
        ("footnotes", 3_500, ("question",), 0.012, 14.7, 24, 9.0, 6, 1.3),
        ("gravel-roads", 11_500, ("gift-drive", "retweet-this"), 0.006, 8.5, 26, 8.0, 5, 2.3),
        ("honest-review", 24_000, ("retweet-this", "contest"), 0.004, 12.8, 30, 6.5, 9, 2.8),
        ("inkwell", 1_800, ("vote-for-me", "question"), 0.018, 30.9, 15, 12.0, 5, 0.9),
        ("jam-session", 5_000, ("retweet-this",), 0.009, 61.7, 22, 7.5, 6, 1.0),
        ("kite-weather", 2_600, ("question", "gift-drive"), 0.014, 98.6, 16, 9.0, 5, 0.5),
        ("lighthouse", 7_900, ("retweet-this", "gift-drive"), 0.007, 187.8, 16, 7.0, 5, 0.8),
        ("morning-pages", 3_100, ("question",), 0.013, 228.5, 12, 8.0, 4, 0.4),
        ("nine-lives", 4_400, ("vote-for-me", "retweet-this"), 0.010, 262.7, 12, 6.0, 4, 0.3),
    )
)
# Writes to followers and to a mailing list: two audiences, tired apart.
LETTERS = Member(
    name="letters-home",
    reach=3_700,
    kinds=("question", "gift-drive"),
    rate=0.012,
    start_day=4.9,
    appeals=32,
    gap_days=9.0,
    network_age_years=1.6,
    audience=("letters-home-followers", "letters-home-list"),
)

CAST = (ARMANO, BLOGGER, NEIGHBOUR, RESTER, *BRANDS, *EMULATORS, *REGULARS, LETTERS)
