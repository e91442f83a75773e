"""Facts to bytes: six digits to a number, no null for a NaN, many at once as one by one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.dates import rfc3339_all
from models.digits import six_digits
from streams.codec import rfc3339
from streams.events import Estimate, Level, Verdict
from streams.facts import encode_fact, encode_facts

LEVEL = Level(0, "c", 1 / 3, 0.2, 123456789.0)
ESTIMATE = Estimate("c", "a", "prior", 1, 0.5, 0.25, 1.0, 10.0, 5.0, 20.0, 3)
VERDICT = Verdict(0, "c", "x", "k", 2, "fresh", "expected", 1.0, 0.9, 1.1, 2.0, "why", "keep")


def test_facts_are_written_with_six_digits_and_without_what_is_not_there() -> None:
    assert encode_fact(LEVEL) == (
        b'{"time":"1970-01-01T00:00:00Z","community":"c",'
        b'"factor":0.333333,"low":0.2,"high":123457000.0}'
    )
    assert b"ask_again" not in encode_fact(VERDICT)
    dated = msgspec.structs.replace(VERDICT, ask_again_at_ms=1)
    assert b'"ask_again_at":"1970-01-01T00:00:00.001Z"' in encode_fact(dated)


@pytest.mark.parametrize("fact", [LEVEL, ESTIMATE, VERDICT])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_is_not_finite_is_refused(fact: Any, bad: float) -> None:
    numbers = [f for f in fact.__struct_fields__ if isinstance(getattr(fact, f), float)]
    assert numbers
    for name in numbers:
        with pytest.raises(ValueError, match=rf"{type(fact).__name__}\.{name}: expected a finite"):
            encode_fact(msgspec.structs.replace(fact, **{name: bad}))


def test_numbers_of_numpy_are_numbers() -> None:
    same = msgspec.structs.replace(LEVEL, factor=np.float64(1 / 3))
    assert encode_fact(same) == encode_fact(LEVEL)


finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
times_ms = st.integers(-(10**12), 4 * 10**12)
dates_ms = st.none() | times_ms
numbers = finite | st.floats(0.0, 1e6) | st.integers(0, 10**9)  # an integer may stand for a float
facts = st.one_of(
    st.builds(Level, times_ms, names, *[numbers] * 3),
    st.builds(Estimate, names, names, names, times_ms, *[numbers] * 6, st.integers(0, 10**9)),
    st.builds(
        Verdict,
        times_ms,
        names,
        names,
        names,
        st.integers(1, 99),
        names,
        names,
        *[numbers] * 4,
        names,
        names,
        *[dates_ms] * 3,
    ),
)


def plainly(fact: Any) -> bytes:
    """The line as one would write it."""
    line = {}
    for name, value in zip(fact.__struct_fields__, msgspec.structs.astuple(fact), strict=True):
        if isinstance(value, float):
            line[name] = float(f"{value:.6g}")
        elif value is not None and name.endswith("_ms"):
            moment = str(np.datetime64(value, "ms")).removesuffix(".000")
            line[name.removesuffix("_ms")] = f"{moment}Z"
        elif value is not None:
            line[name] = value
    return msgspec.json.encode(line) + b"\n"


@given(st.lists(facts, max_size=8))
def test_many_are_written_as_one_by_one(some: list[Any]) -> None:
    lines = [plainly(fact) for fact in some]
    assert [encode_fact(fact) + b"\n" for fact in some] == lines
    for kind, together in encode_facts(some).items():
        own = [line for line, fact in zip(lines, some, strict=True) if type(fact) is kind]
        assert together == b"".join(own)


def rounded(values: list[float]) -> list[str]:
    return [repr(float(f"{value:.6g}")) for value in values]


@given(st.lists(finite))
@example([0.0, -0.0, 5e-324, 1.7976931348623157e308, 999999.5, 9999995.0, 1e22, 1e23, 1e-16])
def test_six_digits_are_those_of_python(values: list[float]) -> None:
    assert [repr(value) for value in six_digits(values)] == rounded(values)


@given(
    st.integers(10**5, 10**6),
    st.sampled_from(["", "5", "49999999999", "5000000001"]),
    st.integers(-40, 40),
    st.integers(-3, 3),
)
def test_numbers_next_to_a_tie_or_a_power_of_ten_are_too(
    digits: int, more: str, power: int, steps: int
) -> None:
    value = float(f"{digits}.{more}e{power}")
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    assert [repr(value) for value in six_digits([value, -value])] == rounded([value, -value])


@given(st.lists(st.integers(-62_135_596_800_000, 253_402_300_799_999) | times_ms))
@example([-62_135_596_800_000, 253_402_300_799_999, -1, 0, 951_782_400_000, 4_107_542_400_000])
def test_times_are_written_as_one_by_one(times: list[int]) -> None:
    assert rfc3339_all(times) == [rfc3339(time_ms) for time_ms in times]


@pytest.mark.parametrize("time_ms", [-62_135_596_800_001, 253_402_300_800_000])
def test_a_time_beyond_all_years_is_refused(time_ms: int) -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        encode_fact(msgspec.structs.replace(VERDICT, ask_again_at_ms=time_ms))
