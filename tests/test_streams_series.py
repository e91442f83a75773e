"""What a series is called, and when: driven through the pipeline with small invented streams."""

from __future__ import annotations

import numpy as np
import pytest

from streams.collector import Block
from streams.design import Design
from streams.events import Appeal, Response, Verdict
from streams.pipeline import Pipeline
from streams.settings import Settings

DAY_MS = 86_400_000


def appeal(number, day, appealer="a", kind="k", audience=None, reach=1000.0):
    return Appeal(
        f"a{number}",
        int(day * DAY_MS),
        appealer,
        kind,
        audience or appealer,
        "town",
        reach,
        None,
        {},
    )


def stream(rows):
    """Appeals and their responses an hour later, from (appeal, responses, exits)."""
    events = []
    for one, responses, exits in rows:
        events.append(one)
        if responses:
            later_ms = one.time_ms + 3_600_000
            events.append(Response(one.appeal_id, later_ms, count=int(responses)))
        if exits:
            later_ms = one.time_ms + 7_200_000
            events.append(Response(one.appeal_id, later_ms, count=int(exits), exit=True))
    return sorted(events, key=lambda event: event.time_ms)


def verdicts(rows, **settings):
    pipeline = Pipeline(Settings(**settings))
    events = stream(rows)
    pipeline.receive(Block("test", range(len(events)), events))
    pipeline.finish("test")
    facts, rejects = pipeline.take()
    assert not rejects
    return [fact for fact in facts if isinstance(fact, Verdict)]


def town(wear, appealers=24, appeals=8, seed=5):
    """People of one town, each asking now and then; a repeat gets exp(-wear stock) of a first."""
    rng = np.random.Generator(np.random.PCG64(seed))
    rows, number = [], 0
    for who in range(appealers):
        day, stock = float(rng.uniform(0, 150)), 0.0
        for _ in range(appeals):
            mean = 80.0 * np.exp(-wear * stock) * rng.gamma(20.0, 1 / 20.0)
            rows.append((appeal(number, day, f"p{who:02}"), rng.poisson(mean), 0))
            number += 1
            gap = float(rng.exponential(6.0)) + 1.0
            day, stock = day + gap, (stock + 1.0) * 2 ** (-gap / 21.0)
    return rows


def test_a_first_appeal_is_unknown_and_says_what_is_missing():
    (first,) = verdicts([(appeal(0, 0), 50, 0)])
    assert (first.state, first.action, first.repeat) == ("unknown", "wait", 1)
    assert "needed" in first.reason


def test_wear_out_is_expected_then_confirmed_and_dated():
    said = verdicts(town(wear=0.5))
    worn = [verdict for verdict in said if verdict.state in ("tiring", "worn_out")]
    assert {"expected", "confirmed"} <= {verdict.basis for verdict in worn}
    assert all(v.ask_again_at_ms is None or v.ask_again_at_ms > v.time_ms for v in worn)
    assert any(v.ask_again_at_ms for v in worn)
    assert all(v.high < 0.95 for v in worn if v.basis == "expected")


def test_nobody_tires_nobody_is_accused():
    said = verdicts(town(wear=0.0))
    assert not [v for v in said if v.state in ("tiring", "worn_out", "rising")]
    assert any(v.state == "fresh" for v in said)


def test_verdicts_come_in_the_order_of_their_times():
    times = [verdict.time_ms for verdict in verdicts(town(wear=0.3))]
    assert times == sorted(times)


@pytest.mark.parametrize("price, action", [(0.0, "keep"), (100.0, "stop")])
def test_the_price_of_an_exit_flips_the_action(price, action):
    rows = [(one, responses, 5) for one, responses, _ in town(wear=0.0)]
    last = verdicts(rows, exit_price=price)[-1]
    assert last.action in (action, "wait") if action == "keep" else last.action == action


def test_one_call_does_not_flip_a_series_of_many_audiences():
    rng = np.random.Generator(np.random.PCG64(8))
    rows, number = [], 0
    for client in range(600):
        day = client * 0.2
        for _ in range(1 + client % 3):
            one = appeal(number, day, "bank", "call", f"c{client:03}", reach=1.0)
            rows.append((one, int(rng.random() < 0.1), 0))
            number, day = number + 1, day + 0.5
    said = verdicts(rows)
    assert len(said) < 40
    assert not [v for v in said if v.basis == "confirmed"]


def test_where_nobody_is_new_no_forecast_says_that_repeats_do_better():
    rng = np.random.Generator(np.random.PCG64(11))
    rows = [
        (appeal(n, 0.25 * n, kind=f"tag{rng.integers(25)}"), rng.poisson(20.0 * 1.004**n), 0)
        for n in range(400)
    ]
    said = verdicts(rows)
    assert said and not [v for v in said if (v.state, v.basis) == ("rising", "expected")]


def test_before_some_appeals_have_been_seen_no_forecast_says_that_repeats_do_better():
    rows = [
        (appeal(n, 8.0 + 0.3 * n, kind=f"tag{n}"), int(20 * 1.3 ** min(n, 12)), 0)
        for n in range(38)
    ]
    said = verdicts(rows)
    assert said and not [v for v in said if (v.state, v.basis) == ("rising", "expected")]


def test_a_newcomer_in_a_hundred_makes_first_appeals_known():
    design = Design()
    for n in range(200):
        design.learn(n, f"s{n}", 0.0, 5.0, None)
    assert design.nobody_is_new()
    design.learn(201, "newcomer", 0.0, 0.0, None)
    assert not design.nobody_is_new()
