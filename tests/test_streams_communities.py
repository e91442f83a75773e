"""Communities hear turns: whatever batches they come in, and whatever is restored in between."""

from __future__ import annotations

import random

import numpy as np
import pytest

from models.effects import LOADING, Effects
from models.forecast import Features, Forecast
from models.stock import HALF_LIVES_DAYS
from streams.codec import rfc3339
from streams.collector import Block
from streams.contest import Contest
from streams.events import Appeal, Response, Tick
from streams.facts import encode_fact
from streams.fit import Fit
from streams.pipeline import Pipeline, PipelineState
from streams.settings import Settings
from streams.state import pack, unpack

DAY_MS = 86_400_000
START_MS = 1_230_768_000_000
SETTINGS = Settings()
Event = Appeal | Response | Tick


def asked(name: str, day: float, appealer: str, responses: int, kind: str = "k") -> list[Event]:
    time_ms = START_MS + round(day * DAY_MS)
    one = Appeal(name, time_ms, appealer, kind, appealer, "town", 100.0, None, {})
    return [one, *(Response(name, time_ms + 60_000 * (n + 1)) for n in range(responses))]


def in_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.time_ms)


def said(
    events: list[Event], cuts: list[int], restore_at: int | None = None
) -> tuple[list[bytes], bytes]:
    """Return facts and the state at the end; blocks end at `cuts`, after one of which the pipeline
    is restored from its state.
    """
    pipeline, facts = Pipeline(SETTINGS), []
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        pipeline.receive(Block("s", range(start, end), events[start:end]))
        facts += [encode_fact(fact) for fact in pipeline.take()[0]]
        if end == restore_at:
            pipeline = Pipeline(SETTINGS, 1, unpack(pack(pipeline.state()), PipelineState))
    return facts, pack(pipeline.state())


def test_an_id_may_be_used_again_though_all_turns_come_at_once() -> None:
    events = in_order(
        [*asked("x", 0, "ann", 20), *asked("x", 40, "bob", 7), *asked("z", 100, "ann", 3)]
    )
    at_once, _ = said(events, [])
    assert at_once == said(events, list(range(1, len(events))))[0]
    finals = [fact for fact in at_once if b'"stage":"final"' in fact]
    assert [b'"responses":20' in finals[0], b'"responses":7' in finals[1]] == [True, True]
    assert rfc3339(START_MS + 47 * DAY_MS).encode() in finals[1]


def test_series_that_come_back_after_half_a_year_are_restored_as_they_were() -> None:
    rng, events = random.Random(5), list[Event]()
    for person in range(6):
        days = [person * 0.1 + 2.0 * n for n in range(8)] + [100.0 + person, 195.0 + 9.0 * person]
        for n, day in enumerate([*days, 300.0 + person]):
            events += asked(f"{person}.{n}", day, f"p{person}", rng.randrange(5, 30))
    events = in_order([*events, Tick(START_MS + 400 * DAY_MS)])
    cuts = list(range(40, len(events), 40))
    straight = said(events, cuts)
    assert straight[0] == said(events, [])[0]
    for cut in cuts[::3]:
        assert said(events, cuts, restore_at=cut) == straight


@pytest.mark.parametrize("interrupted_at", [1, 63, 64, 65, 100])
def test_where_scores_are_interrupted_leaves_no_trace(interrupted_at: int) -> None:
    straight, parted = (Fit(), Contest()), (Fit(), Contest())
    for n in range(150):
        stocks = np.full(len(HALF_LIVES_DAYS), n % 3 + 0.5)
        x = Features(
            time_days=n / 3.0,
            appealer=f"a{n % 7}",
            kind="k",
            audience="x",
            exposure=100.0,
            own=stocks,
            kind_stock=stocks,
            crowd=stocks,
            repeat=1 + n % 3,
            reciprocity=0.0,
            attributes={},
        )
        forecast = Forecast(0.9, 0.8, 1.0, 9.0 + n % 5, 3.0, 19.0, 0.1)
        for fit, contest in (straight, parted):
            fit.learn(3 + n % 11, forecast, -2.0 - 0.1 * (n % 7), n)
            contest.learn(x, 3 + n % 11)
        if n == interrupted_at:
            parted = Fit(parted[0].state()), Contest(parted[1].state())
    for one, other in zip(straight, parted, strict=True):
        assert pack(one.state()) == pack(other.state())
    (fit, contest), (other_fit, other_contest) = straight, parted
    assert fit.summary(contest.log_scores()) == other_fit.summary(other_contest.log_scores())


def test_what_is_known_of_units_stays_one_array_as_it_grows() -> None:
    effects = Effects(1000, (1.0, 0.5))
    for n in range(100):
        effects.touch(f"u{n}", float(n))
        effects.fit(16 + n)
    restored = Effects(1000, (1.0, 0.5))
    restored.restore(effects.state())
    for one in (effects, restored):
        row, capacity = one.find("u99"), one.loading.shape[2]
        one.mean[row] = 1.0, 2.0
        one.covariance[row] = [[3.0, 4.0], [5.0, 6.0]]
        one.prior_sds[row] = 7.0, 8.0
        one.loading[row, 0], one.loading[row, 1] = 9.0, 10.0
        assert one.packed[row, :LOADING].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert set(one.packed[row, LOADING : LOADING + capacity]) == {9.0}
        assert set(one.packed[row, LOADING + capacity :]) == {10.0}
