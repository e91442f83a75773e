"""What a ledger says of its appeals, and when; and what a model sees of them."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import HORIZON_MS, HOUR_MS, START_MS, small_settings

from models.design import read_appeal
from streams.ask import Ask
from streams.collector import Block, Collector
from streams.events import Appeal, Response, Tick
from streams.learner import Envelope
from streams.ledger import LEARNING_SHARE, Ledger
from streams.register import Register
from streams.settings import Settings
from streams.turns import Closed, Halfway, Put, Ripe, Turn

FAR = Tick(START_MS + 5 * HORIZON_MS)


def appeal(name: str, hours: float, **more: object) -> Appeal:
    given: dict[str, object] = {
        "appealer": "ann",
        "kind": "help",
        "audience": "friends",
        "community": "town",
        "reach": 50.0,
        "community_size": None,
        "attributes": {},
        **more,
    }
    return Appeal(name, START_MS + round(hours * HOUR_MS), **given)  # type: ignore[arg-type]


def answers(one: Appeal, *minutes: float) -> list[Response]:
    return [Response(one.appeal_id, one.time_ms + round(60_000 * late)) for late in minutes]


def turns(events: list[Appeal | Response], **settings: object) -> list[Turn]:
    """Drive events through a collector and a register."""
    chosen = small_settings(**settings)
    collector, register = Collector(chosen), Register(chosen, ["0"])
    ordered = [*sorted(events, key=lambda event: event.time_ms), FAR]
    collector.receive(Block("s", range(len(ordered)), ordered))
    register.receive(Envelope("0", 0, collector.watermark_ms(), collector.messages))
    return register.turns


def test_an_appeal_has_its_turns_in_order() -> None:
    one = appeal("a", 0.0)
    said = turns([one, *answers(one, 1, 2, 3, 5, 30)])
    kinds = [type(turn) for turn in said]
    assert kinds == [kind for kind in (Put, Halfway, Ripe, Closed) if kind in kinds]
    put, ripe, closed = said[0], said[-2], said[-1]
    assert isinstance(put, Put) and put.ask.appeal == one
    assert isinstance(ripe, Ripe) and 0.0 < ripe.share <= 1.0
    assert isinstance(closed, Closed) and (closed.responses, closed.exits) == (5, 0)
    assert closed.time_ms == one.time_ms + HORIZON_MS


def test_an_appeal_is_ripe_when_nearly_all_is_in_or_at_its_end() -> None:
    one = appeal("a", 0.0)
    for turn in turns([one, *answers(one, *np.linspace(1.0, 50.0, 40))]):
        if isinstance(turn, Ripe):
            assert turn.share >= LEARNING_SHARE or turn.time_ms == one.time_ms + HORIZON_MS


def test_the_audiences_next_appeal_ends_the_last_one() -> None:
    first, second = appeal("a", 0.0), appeal("b", 0.25)
    late = answers(first, 16, 17, 18)
    (ripe,) = [
        turn
        for turn in turns([first, second, *answers(first, 1), *late], until_next_appeal=True)
        if isinstance(turn, Ripe) and turn.appeal_id == "a"
    ]
    assert ripe.responses == 1 and ripe.share < 1.0


def test_what_is_cut_off_at_once_has_shown_nothing() -> None:
    first, second = appeal("a", 0.0), appeal("b", 1e-6)
    ripe = [
        turn
        for turn in turns([first, second, *answers(first, 10)], until_next_appeal=True)
        if isinstance(turn, Ripe) and turn.appeal_id == "a"
    ]
    assert [(turn.responses, turn.share) for turn in ripe] == [(0, 0.0)]


@pytest.mark.parametrize("attributes", [{}, {"brand": 1.0, "age": 30.0}])
@pytest.mark.parametrize("reciprocity", [0.0, 1.7])
def test_the_model_sees_what_it_would_read_off_the_features(
    attributes: dict[str, float], reciprocity: float
) -> None:
    stocks = np.random.default_rng(3).uniform(0.0, 4.0, (3, 22))
    ask = Ask(appeal("a", 3.5, attributes=attributes), stocks.tobytes(), 4, 3, reciprocity)
    for share, seen in ((1.0, ask.seen), (0.25, ask.seen_at(0.25))):
        read = read_appeal(ask.features(share))
        assert (seen.time_days, seen.unit, seen.kind) == (read.time_days, read.unit, read.kind)
        assert (seen.stocks == read.stocks).all() and (seen.values == read.values).all()
        assert seen.attributes == read.attributes
        assert seen.log_exposure == pytest.approx(read.log_exposure, abs=1e-12)


def test_an_unknown_appeals_checkpoint_says_nothing() -> None:
    one = appeal("a", 0.0)
    collector = Collector(small_settings())
    collector.receive(Block("s", range(2), [one, FAR]))
    ledger, said = Ledger("town", Settings(), None), list[Turn]()
    for message in collector.messages[1:]:
        ledger.apply(message, said)
    assert said == []
