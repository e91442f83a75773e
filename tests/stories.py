"""Stories told without chance: a story is its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import NamedTuple

from strategies import DAY_MS, HOUR_MS, START_MS, Event, in_time_order

from streams.events import Appeal, Response, Tick

# Of an appeal's responses so many hundredths come by so many hours.
ARRIVE = ((0.5, 10), (2, 20), (5, 25), (9, 20), (20, 15), (60, 10))
# Good and bad days of an appeal, in turn: their mean is 1.
LUCK = (1.25, 0.8, 1.05, 0.9, 1.15, 0.95, 1.2, 0.7)
MEAN = 100.0


class Ask(NamedTuple):
    """An appeal of a story: when (days), who, for what, and the share of MEAN that comes of it."""

    day: float
    appealer: str
    kind: str
    share: float


def weekly(kind: str = "help", people: int = 8, appeals: int = 7, gap: float = 3.0) -> list[Ask]:
    """People who ask every few days, each beginning a little after the one before."""
    return [
        Ask(1.7 * person + gap * turn + 0.6 * (turn % 3), f"p{person}", kind, 1.0)
        for person in range(people)
        for turn in range(appeals)
    ]


def nobody_tires() -> list[Ask]:
    return weekly()


def a_repeat_wears_out() -> list[Ask]:
    """Each repeat draws two thirds of the one before."""
    turns: dict[str, int] = {}
    worn = []
    for ask in weekly():
        turn = turns[ask.appealer] = turns.get(ask.appealer, -1) + 1
        worn.append(ask._replace(share=0.67**turn))
    return worn


def rest_restores_it() -> list[Ask]:
    """The same, and all begin anew after three months."""
    first = a_repeat_wears_out()
    return first + [ask._replace(day=ask.day + 120.0) for ask in first]


def an_outage_is_not_fatigue() -> list[Ask]:
    """For ten days in the middle everybody draws a third, old hands and newcomers."""
    asks = weekly(people=14)
    return [ask._replace(share=0.33 if 18 <= ask.day < 28 else 1.0) for ask in asks]


def a_season_is_not_fatigue() -> list[Ask]:
    asks = weekly(people=14, gap=8.0)
    return [ask._replace(share=0.75 + 0.25 * cos(2 * pi * ask.day / 60)) for ask in asks]


def an_emulated_trick_wears_out() -> list[Ask]:
    """Whoever comes later with the same trick draws less, at the first time too."""
    firsts = [Ask(1.5 * n, f"p{n}", "trick", 0.93**n) for n in range(24)]
    return firsts + [Ask(1.5 * n + 0.5, f"q{n}", f"own-{n}", 1.0) for n in range(24)]


STORIES: dict[str, Callable[[], list[Ask]]] = {
    story.__name__: story
    for story in (
        nobody_tires,
        a_repeat_wears_out,
        rest_restores_it,
        an_outage_is_not_fatigue,
        a_season_is_not_fatigue,
        an_emulated_trick_wears_out,
    )
}


def told(asks: list[Ask]) -> list[Event]:
    events: list[Event] = []
    for index, ask in enumerate(sorted(asks)):
        appeal_id, time_ms = f"a{index}", START_MS + round(ask.day * DAY_MS)
        who = ask.appealer
        events.append(Appeal(appeal_id, time_ms, who, ask.kind, who, "c", 1000.0, None, {}))
        for hours, percent in ARRIVE:
            count = round(MEAN * ask.share * LUCK[index % len(LUCK)] * percent / 100)
            if count:
                at_ms = time_ms + round(hours * HOUR_MS)
                events.append(Response(appeal_id, at_ms, value=5.0 * count, count=count))
    last_ms = max(event.time_ms for event in events)
    return [*in_time_order(events), Tick(last_ms + 8 * DAY_MS)]
