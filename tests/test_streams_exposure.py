"""What is felt of earlier appeals: sums over all of them, one by one, say the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.stock import HALF_LIVES_DAYS, Stock
from streams.events import Appeal
from streams.exposure import Exposure, ExposureState
from streams.state import pack, unpack

DAY_MS = 86_400_000
START_MS = -70 * 365 * DAY_MS  # long before 1970, when stocks that are not there begin
HALF_LIVES_MS = HALF_LIVES_DAYS * DAY_MS

few = st.sampled_from("ab")
puts = st.lists(st.tuples(st.integers(0, 100), few, few, few), max_size=20)


def appeals(some: list[tuple[int, str, str, str]]) -> list[Appeal]:
    return [
        Appeal(str(number), START_MS + half_days * DAY_MS // 2, *names, "c", 1.0, None, {})
        for number, (half_days, *names) in enumerate(sorted(some))
    ]


def summed(earlier: list[Appeal], time_ms: int) -> np.ndarray:
    stock = np.zeros(len(HALF_LIVES_DAYS))
    for other in earlier:
        stock += 0.5 ** ((time_ms - other.time_ms) / HALF_LIVES_MS)
    return stock


@given(puts)
def test_what_is_felt_is_the_sum_over_strictly_earlier_appeals(
    some: list[tuple[int, str, str, str]],
) -> None:
    exposure, put = Exposure(100, 100), appeals(some)
    for appeal in put:
        earlier = [other for other in put if other.time_ms < appeal.time_ms]
        who, kind, audience = appeal.appealer, appeal.kind, appeal.audience
        own = [o for o in earlier if (o.appealer, o.audience) == (who, audience)]
        crowd = [o for o in earlier if o.kind == kind and o.appealer != who]
        felt = exposure.feel(appeal)
        of_kind = [o for o in own if o.kind == kind]
        expected = [summed(some, appeal.time_ms) for some in (own, of_kind, crowd)]
        np.testing.assert_allclose(felt.stocks, expected, rtol=1e-9, atol=1e-12)
        assert (felt.repeat, felt.kind_repeat) == (len(own) + 1, len(of_kind) + 1)
        assert crowd or not felt.stocks[2].any()  # nobody is not nearly nobody


@given(puts, st.integers(0, 20), st.integers(1, 4))
def test_a_restart_leaves_no_trace(
    some: list[tuple[int, str, str, str]], cut: int, limit: int
) -> None:
    whole, part = Exposure(limit, limit), Exposure(limit, limit)
    for appeal in appeals(some)[:cut]:
        whole.feel(appeal)
        part.feel(appeal)
    part = Exposure(limit, limit, unpack(pack(part.state()), ExposureState))
    for appeal in appeals(some)[cut:]:
        assert part.feel(appeal).stocks.tobytes() == whole.feel(appeal).stocks.tobytes()
    assert pack(part.state()) == pack(whole.state())


def test_a_stock_fades_by_half_in_its_half_life() -> None:
    stock = Stock()
    stock.add(START_MS)
    stock.add(START_MS + DAY_MS)
    assert stock.appeals == 2
    assert stock.at(START_MS + 2 * DAY_MS)[0] == 0.75
