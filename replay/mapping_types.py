"""Types for columns of text: decided by every value, so that no odd row far down changes the rest.

A column becomes whole numbers, numbers, booleans or times if at least 95 % of its values are; what
does not fit is known as a misfit, and is a fault only of rows and fields that use it. One value
that a type would change ("007", twenty digits) vetoes it: such columns hold names, not numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

__all__ = ["TextColumn", "quoted_name", "raw_name", "text_columns"]

FITTING_SHARE_MIN = 0.95
# Rows that choose the types worth trying on all the others; there the share need not be kept.
_SAMPLE_ROWS = 2048
_SAMPLE_SHARE_MIN = 0.5


class _Type(NamedTuple):
    """Tests on a text `{0}`: is it of the type, and if so, would it not come back the same?"""

    name: str
    fits: str
    veto: str


_TYPES = (
    _Type(
        "BIGINT",
        "TRY_CAST({0} AS BIGINT) IS NOT NULL AND NOT contains({0}, '.')",
        "CAST(TRY_CAST({0} AS BIGINT) AS VARCHAR) <> {0} AND NOT contains({0}, '.')",
    ),
    # A double keeps fifteen digits; a leading zero or plus marks ids and telephones.
    _Type(
        "DOUBLE",
        "TRY_CAST({0} AS DOUBLE) IS NOT NULL",
        "regexp_matches({0}, '^([+]|-?0[0-9]|-?[0-9]{{16}})')",
    ),
    _Type("BOOLEAN", "lower({0}) IN ('true', 'false')", "false"),
    _Type("TIMESTAMPTZ", "isfinite(TRY_CAST({0} AS TIMESTAMPTZ))", "false"),
)


class TextColumn(NamedTuple):
    """A column of text and the type it turned out to hold; `misfits` of its values do not."""

    name: str
    type: str
    misfits: int

    @property
    def sql(self) -> str:
        """The typed column, and its text beside it."""
        name = quoted_name(self.name)
        if self.type == "VARCHAR":
            return name
        return f"TRY_CAST({name} AS {self.type}) AS {name}, {name} AS {raw_name(self.name)}"


class _Count(NamedTuple):
    """How many values a column has, fit a type, and veto it."""

    column: str
    type: str
    values: int
    fits: int
    vetoes: int

    @property
    def misfits(self) -> int:
        return self.values - self.fits

    def holds(self, share: float) -> bool:
        return 0 < self.values and not self.vetoes and self.fits >= share * self.values


def text_columns(
    connection: duckdb.DuckDBPyConnection, table: str, names: Sequence[str]
) -> list[TextColumn]:
    """Return the type of each text column in `names`: the one with the fewest misfits."""
    every = [(name, kind.name) for name in names for kind in _TYPES]
    likely = _likely(connection, table, every)
    held = [c for c in _counted(connection, table, likely) if c.holds(FITTING_SHARE_MIN)]
    columns = []
    for name in names:
        of_it = [count for count in held if count.column == name]
        best = min(of_it, key=lambda count: count.misfits, default=None)
        columns.append(
            TextColumn(name, best.type, best.misfits) if best else TextColumn(name, "VARCHAR", 0)
        )
    return columns


def _likely(
    connection: duckdb.DuckDBPyConnection, table: str, every: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the types that the first rows do not rule out: trying all on all rows is slow."""
    few = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {_SAMPLE_ROWS + 1})"
    if (connection.execute(few).fetchone() or (0,))[0] <= _SAMPLE_ROWS:
        return every
    sample = f"(SELECT * FROM {table} LIMIT {_SAMPLE_ROWS})"
    return [
        (count.column, count.type)
        for count in _counted(connection, sample, every)
        if count.holds(_SAMPLE_SHARE_MIN) or not count.values
    ]


def _counted(
    connection: duckdb.DuckDBPyConnection, source: str, pairs: Sequence[tuple[str, str]]
) -> list[_Count]:
    if not pairs:
        return []
    types = {kind.name: kind for kind in _TYPES}
    tests = ", ".join(
        f"count({name}), count(*) FILTER ({kind.fits.format(name)}), "
        f"count(*) FILTER ({kind.veto.format(name)})"
        for name, kind in ((quoted_name(column), types[type_name]) for column, type_name in pairs)
    )
    counts = connection.execute(f"SELECT {tests} FROM {source}").fetchone() or ()
    return [
        _Count(*pair, *counts[3 * i : 3 * i + 3])  # three counts a pair
        for i, pair in enumerate(pairs)
    ]


def quoted_name(column: str) -> str:
    """Return a column's name as SQL.

    >>> quoted_name("left")
    '"left"'
    """
    return '"' + column.replace('"', '""') + '"'


def raw_name(column: str) -> str:
    """Return the name, as SQL, of the column that keeps the text of a typed one."""
    return quoted_name(f"askagain_raw_{column}")
