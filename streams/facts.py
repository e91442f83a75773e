"""Facts to bytes: a line of JSON each, as PRODUCT.md has it, six significant digits to a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from models.dates import rfc3339_all
from models.digits import six_digits
from streams.learner import Fact

__all__ = ["encode_fact", "encode_facts"]

_encode_lines = msgspec.json.Encoder().encode_lines


class _Line(NamedTuple):
    """How a type of facts is written: the struct that is, and which of its fields are what."""

    struct: type[msgspec.Struct]
    names: tuple[str, ...]
    times: tuple[int, ...]
    numbers: tuple[int, ...]


def encode_facts(facts: Iterable[Fact]) -> dict[type[Fact], bytes]:
    """Write facts, by type, a line each, in their order.

    Raises
    ------
    ValueError
        If a number is not finite: msgspec would write it as null, and nobody would see.
    """
    by_type: dict[type[Fact], list[Fact]] = {}
    for fact in facts:
        by_type.setdefault(type(fact), []).append(fact)
    return {kind: _encoded(kind, some) for kind, some in by_type.items()}


def encode_fact(fact: Fact) -> bytes:
    """Write a fact as its line, without the line's end; see `encode_facts`."""
    return _encoded(type(fact), [fact])[:-1]


def _encoded(kind: type[Fact], facts: Sequence[Fact]) -> bytes:
    line = _line(kind)
    columns: list[Sequence[Any]] = list(zip(*map(astuple, facts), strict=True))
    times = [time for at in line.times for time in columns[at] if time is not None]
    written = iter(rfc3339_all(times))
    for at in line.times:
        columns[at] = [None if time is None else next(written) for time in columns[at]]
    numbers = [value for at in line.numbers for value in columns[at]]
    try:
        rounded = _rounded(numbers)
    except ValueError as error:
        raise ValueError(_blame(kind, facts, str(error))) from None
    count = len(facts)
    for nth, at in enumerate(line.numbers):
        columns[at] = rounded[nth * count : (nth + 1) * count]
    # A list, for msgspec 0.22 never frees what it takes from an iterator.
    return _encode_lines(list(map(line.struct, *columns)))


def _rounded(numbers: list[Any]) -> list[Any]:
    """Round what is a float; an integer where a float may be is written as it is."""
    if set(map(type, numbers)) <= {float}:
        return six_digits(numbers)
    floats = iter(six_digits([value for value in numbers if isinstance(value, float)]))
    return [next(floats) if isinstance(value, float) else value for value in numbers]


def _blame(kind: type[Fact], facts: Sequence[Fact], what: str) -> str:
    names = _line(kind).names
    for fact in facts:
        for name, value in zip(names, astuple(fact), strict=True):
            if isinstance(value, float) and not math.isfinite(value):
                return f"{kind.__name__}.{name}: expected a finite number, got {value}"
    return f"{kind.__name__}: {what}"


@cache
def _line(kind: type[Fact]) -> _Line:
    fields = msgspec.structs.fields(kind)
    names = tuple(field.name.removesuffix("_ms") for field in fields)
    # What is None is not written: so it is made the default of all.
    struct = msgspec.defstruct(
        f"{kind.__name__}Line",
        [(name, Any, None) for name in names],
        omit_defaults=True,
        gc=False,
    )
    times = tuple(at for at, field in enumerate(fields) if field.name.endswith("_ms"))
    numbers = tuple(at for at, field in enumerate(fields) if field.type is float)
    return _Line(struct, names, times, numbers)
