"""Streams of events as Hypothesis strategies: few ids, so that they clash; times at the edges."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from streams.events import Appeal, Response, Tick
from streams.settings import Settings

START_MS = 1_230_768_000_000  # 2009-01-01, a Thursday: a week of the level begins
MINUTE_MS, HOUR_MS, DAY_MS, WEEK_MS = 60_000, 3_600_000, 86_400_000, 604_800_000
HORIZON_MS, LATENESS_MS = 2 * HOUR_MS, 20 * MINUTE_MS

Event = Appeal | Response | Tick


def small_settings(**changes: Any) -> Settings:
    return Settings(**{"horizon_ms": HORIZON_MS, "allowed_lateness_ms": LATENESS_MS} | changes)


_gaps_ms = st.sampled_from(
    (0, 1, MINUTE_MS, LATENESS_MS, HOUR_MS, HORIZON_MS, 2 * HORIZON_MS, 2 * DAY_MS)
) | st.integers(0, 3 * HORIZON_MS)
_ages_ms = st.integers(0, HORIZON_MS - 1) | st.sampled_from(
    (-LATENESS_MS, -1, 0, 1, MINUTE_MS - 1, MINUTE_MS)
    + (HORIZON_MS - 1, HORIZON_MS, 2 * HORIZON_MS - 1, 2 * HORIZON_MS)
)
_delays_ms = st.sampled_from([0, LATENESS_MS]) | st.integers(0, LATENESS_MS)
_appeal_ids = st.sampled_from("pqrst")
_asks = st.lists(
    st.tuples(
        _gaps_ms,
        _appeal_ids,
        st.sampled_from([("ann", "ann"), ("bob", "bob"), ("ann", "all"), ("bob", "all")]),
        st.sampled_from(["help", "sale"]),
        st.sampled_from([1.0, 50.0, 8150.0]),
        st.sampled_from([None, 4e6]),
        st.sampled_from([{}, {"brand": 1.0}, {"age": 2.5, "brand": 0.0}]),
    ),
    min_size=1,
    max_size=7,
)
_answers = st.lists(
    st.tuples(
        st.integers(0, 6),
        _ages_ms,
        st.none() | st.sampled_from("123"),
        st.sampled_from([None, "ann", "bob", "u1", "u2", "u3"]),
        st.sampled_from([None, 0.0, 0.1, 25.0, 1e-6, 33.333333]),
        st.sampled_from([1, 1, 1, 2, 1000]),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=20,
)


@st.composite
def streams(draw: st.DrawFn, communities: str = "cd", ids: str = "") -> list[Event]:
    """Events in time order.

    Ids of appeals repeat, within two horizons (duplicates) and beyond them (used again). Responses
    go to appeals, before, during and after their horizon, and to nobody. `ids` goes before each id.
    """
    time_ms = START_MS
    asked = []
    for gap_ms, name, (appealer, audience), kind, reach, size, attributes in draw(_asks):
        time_ms += gap_ms
        community = communities["pqrst".index(name) % len(communities)]
        asked.append(
            Appeal(
                ids + name, time_ms, appealer, kind, audience, community, reach, size, attributes
            )
        )
    answered = []
    for index, age_ms, *rest in draw(_answers):
        appeal = asked[index % len(asked)]
        to = appeal.appeal_id if index < len(asked) or index % 2 else ids + "nobody"
        answered.append(Response(to, appeal.time_ms + age_ms, *rest))
    return in_time_order([*asked, *answered])


def in_time_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.time_ms)


@st.composite
def shuffled(draw: st.DrawFn, events: list[Event]) -> list[Event]:
    """The same events in another order of arrival: each delayed by up to the allowed lateness."""
    n = len(events)
    delays = draw(st.lists(_delays_ms, min_size=n, max_size=n))
    ties = draw(st.permutations(range(n)))
    order = sorted(range(n), key=lambda i: (events[i].time_ms + delays[i], ties[i]))
    return [events[index] for index in order]
