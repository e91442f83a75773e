"""A mapping's tables as SQL: every row comes out as an event's columns, or with its fault.

A fault is "reason:field" in the codec's vocabulary. An expression that fails on a row (TRY) is that
row's fault and does not stop the run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from replay.mapping_types import quoted_name, raw_name
from replay.tables import ROW, Relation
from streams.codec import TIME_MS_MAX, TIME_MS_MIN

__all__ = [
    "APPEAL",
    "RESPONSE",
    "Field",
    "Select",
    "column_quoted",
    "last_touch",
    "row_select",
    "type_class",
]

NAME_CHARACTERS_MAX = 256
ATTRIBUTE_CHARACTERS_MAX = 64
EXCERPT_CHARACTERS = 500
SIZE_MAX = 1e12
COUNT_MAX = 10**9


class Field(NamedTuple):
    """One field of an event: its rule, and what NULL means there, in SQL (None: a fault)."""

    name: str
    rule: str
    absent: str | None = None


# A mapped `reach` or `count` that is NULL is a fault: an unknown reach taken for 1 would go
# straight into the answer.
APPEAL = (
    Field("appeal_id", "text"),
    Field("time", "time"),
    Field("appealer", "text"),
    Field("kind", "text", absent="'default'"),
    Field("audience", "text", absent="c_appealer"),
    Field("community", "text", absent="'default'"),
    Field("reach", "size"),
    Field("community_size", "size", absent="NULL"),
)
RESPONSE = (
    Field("appeal_id", "text"),
    Field("time", "time"),
    Field("response_id", "text", absent="NULL"),
    Field("responder", "text", absent="NULL"),
    Field("value", "value", absent="NULL"),
    Field("count", "count"),
    Field("exit", "boolean", absent="false"),
)

_WHERE = Field("where", "boolean")

_CLASSES = {
    "text": ("VARCHAR", "ENUM", "UUID", '"NULL"', "CHAR"),
    "json": ("JSON",),
    "boolean": ("BOOLEAN",),
    "time": ("TIMESTAMP", "DATE"),
    "integer": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT")
    + ("UINTEGER", "UBIGINT", "UHUGEINT"),
    "number": ("FLOAT", "DOUBLE", "DECIMAL", "BIGNUM"),
}
_ACCEPTED = {
    "text": ("text", "json", "integer"),
    "time": ("text", "json", "integer", "number", "time"),
    "size": ("text", "json", "integer", "number"),
    "value": ("text", "json", "integer", "number"),
    "count": ("text", "json", "integer", "number"),
    "boolean": ("text", "json", "integer", "boolean"),
    "attribute": ("text", "json", "integer", "number", "boolean"),
}


class Select(NamedTuple):
    """A SELECT of events: `columns` are those after `source, row, fault, event, time_ms`."""

    sql: str
    columns: tuple[str, ...]


class _Asked(NamedTuple):
    """A field as a mapping asks for it: its expression and the class of that expression's type."""

    field: Field
    expression: str
    kind: str
    bare: bool
    misfits: tuple[str, ...]

    @property
    def raw(self) -> str:
        return f'"r_{self.field.name}"'

    @property
    def clean(self) -> str:
        return f'"c_{self.field.name}"'

    @property
    def misfit(self) -> str:
        return f'"m_{self.field.name}"'


def type_class(rule: str, type_name: str) -> str | None:
    """Return the class of a DuckDB type, or None where a field of this rule cannot be made of it.

    >>> type_class("time", "TIMESTAMP WITH TIME ZONE"), type_class("text", "DOUBLE")
    ('time', None)
    """
    if type_name.endswith("]"):
        return None
    for kind, names in _CLASSES.items():
        if type_name.split("(")[0].split(" ")[0] in names or (
            kind == "time" and type_name.startswith("TIMESTAMP")
        ):
            return kind if kind in _ACCEPTED[rule] else None
    return None


def column_quoted(field: Field, expression: str, relation: Relation) -> str:
    """Return the expression; quoted if it is but a column's name: `left` is a word of SQL.

    A name is taken as it was written, even if its column holds numbers.
    """
    found = [column for column in relation.columns if column.lower() == expression.lower()]
    if found and found[0] in relation.texts and field.rule == "text":
        return raw_name(found[0])
    return quoted_name(found[0]) if found else expression


def row_select(
    event: str,
    relation: Relation,
    source: int,
    where: str | None,
    fields: Sequence[tuple[Field, str, str]],
) -> Select:
    """Return the SELECT that makes events of `relation`'s rows.

    Parameters
    ----------
    event
        "appeal" or "response".
    source
        The number by which the rows' source is known.
    fields
        Field, expression and class of its type, as far as the mapping gives them.
    """
    bare = {name(column) for column in relation.columns for name in (quoted_name, raw_name)}
    asked = [
        _Asked(field, said, kind, said in bare, _misfitting(relation, said))
        for field, said, kind in fields
    ]
    condition = _Asked(
        _WHERE, where or "true", "boolean", False, _misfitting(relation, where or "")
    )
    raw = ", ".join(
        f"{_tried(one)} AS {one.raw}, {_misfit(one)} AS {one.misfit}" for one in (*asked, condition)
    )
    rows = f"(SELECT {ROW}, {relation.blank} AS is_blank, {raw} FROM {relation.sql} AS t)"
    no_answer = f"{condition.raw} IS NULL OR {condition.misfit} IS NOT NULL"
    kept = f"WHERE is_blank OR {no_answer} OR {condition.raw}.v"
    cleaned = ", ".join(f"{_cleaned(one)} AS {one.clean}" for one in asked)
    faults = [("not_json:", "is_blank"), ("wrong_type:where", no_answer)]
    faults += [fault for one in asked for fault in _faults(one)]
    cases = " ".join(f"WHEN {test} THEN '{fault}'" for fault, test in faults)
    columns = [(one.field.name, _final(one)) for one in asked if one.field.name != "time"]
    final = ", ".join(f'{value} AS "{name}"' for name, value in columns)
    return Select(
        f"(SELECT {source} AS source, {ROW} AS row, fault, "
        f"CASE WHEN fault IS NOT NULL THEN {_excerpt(event, asked)} END AS event, "
        f"{_final_time()} AS time_ms, {final} FROM (SELECT *, CASE {cases} END AS fault "
        f"FROM (SELECT *, {cleaned} FROM {rows} {kept})))",
        tuple(name for name, _ in columns),
    )


def last_touch(responses: str, appeals: str, horizon_ms: int) -> str:
    """Return `responses`, in which `audience` stands, with the `appeal_id` of its latest appeal.

    That is the latest at or before the response, if younger than the horizon; of several at the
    same instant the one with the greatest id.
    """
    latest = (
        f"(SELECT audience, time_ms, max(appeal_id) AS appeal_id FROM {appeals} "
        "WHERE fault IS NULL GROUP BY audience, time_ms)"
    )
    joined = (
        f"(SELECT r.*, CASE WHEN r.time_ms - a.time_ms < {horizon_ms} THEN a.appeal_id END "
        f"AS appeal_id FROM {responses} AS r ASOF LEFT JOIN {latest} AS a "
        "ON r.audience = a.audience AND r.time_ms >= a.time_ms)"
    )
    seen = "{'type': 'response', 'audience': audience, 'time_ms': time_ms}"
    lost = "fault IS NULL AND appeal_id IS NULL"
    return (
        "(SELECT * REPLACE ("
        f"CASE WHEN {lost} THEN 'unknown_appeal:audience' ELSE fault END AS fault, "
        f"CASE WHEN {lost} THEN CAST(to_json({seen}) AS VARCHAR) ELSE event END AS event) "
        f"FROM {joined})"
    )


def _misfitting(relation: Relation, expression: str) -> tuple[str, ...]:
    """Return the columns with misfits that an expression mentions."""
    return tuple(
        column
        for column, misfits in relation.texts.items()
        if misfits and re.search(rf"(?<!\w){re.escape(column)}(?!\w)", expression, re.IGNORECASE)
    )


def _misfit(one: _Asked) -> str:
    """The text that is not of its column's type, in the first column used that has one; or NULL."""
    if not one.misfits:
        return "CAST(NULL AS VARCHAR)"
    texts = (f"CASE WHEN {quoted_name(c)} IS NULL THEN {raw_name(c)} END" for c in one.misfits)
    return f"coalesce({', '.join(texts)})"


def _tried(one: _Asked) -> str:
    return one.expression if one.bare else f"TRY({{'v': (\n{one.expression}\n)}})"


def _value(one: _Asked) -> str:
    value = one.raw if one.bare else f"{one.raw}.v"
    return f"({value} ->> '$')" if one.kind == "json" else value


def _cleaned(one: _Asked) -> str:
    value, rule = _value(one), one.field.rule
    if rule in ("text", "boolean"):
        target = "VARCHAR" if rule == "text" else "BOOLEAN"
        return f"TRY_CAST({value} AS {target})"
    if rule == "time":
        return _milliseconds(value, one.kind)
    if rule == "attribute" and one.kind in ("text", "json"):
        return f"CAST({value} AS VARCHAR)"
    return f"TRY_CAST({value} AS DOUBLE)"


def _milliseconds(value: str, kind: str) -> str:
    """Unix milliseconds as a double, as the codec: times rounded down, seconds to the nearest."""
    moment = f"floor(epoch_us(TRY_CAST({value} AS TIMESTAMPTZ)) / 1000.0)"
    seconds = f"round_even(TRY_CAST({value} AS DOUBLE) * 1000, 0)"
    if kind == "time":
        return moment
    return seconds if kind in ("integer", "number") else f"coalesce({moment}, {seconds})"


def _faults(one: _Asked) -> list[tuple[str, str]]:
    """Return (fault, condition) in the order in which they are looked for."""
    name, clean, value = one.field.name, one.clean, _value(one)
    written = f"{value} IS NOT NULL"
    if one.kind in ("text", "json"):
        written = f"trim(CAST({value} AS VARCHAR)) <> ''"
    found = [(f"wrong_type:{name}", f"{one.misfit} IS NOT NULL")] if one.misfits else []
    if not one.bare:
        found.append((f"wrong_type:{name}", f"{one.raw} IS NULL"))
    if one.field.absent is None:
        found.append((f"missing_field:{name}", f"coalesce(NOT ({written}), true)"))
    if one.field.rule == "text":
        return [*found, (f"too_long:{name}", f"length({clean}) > {NAME_CHARACTERS_MAX}")]
    if one.field.rule == "attribute" and one.kind in ("text", "json"):
        return [*found, (f"too_long:{name}", f"length({clean}) > {ATTRIBUTE_CHARACTERS_MAX}")]
    found.append((f"wrong_type:{name}", f"{clean} IS NULL AND {written}"))
    if one.field.rule == "boolean":
        return found
    return found + [(f"{reason}:{name}", test) for reason, test in _ranges(one.field.rule, clean)]


def _ranges(rule: str, clean: str) -> list[tuple[str, str]]:
    outside = {
        "time": f"{clean} < {TIME_MS_MIN} OR {clean} >= {TIME_MS_MAX}",
        "size": f"{clean} <= 0 OR {clean} > {SIZE_MAX}",
        "value": f"{clean} < 0 OR {clean} > {SIZE_MAX}",
        "count": f"{clean} < 1 OR {clean} > {COUNT_MAX}",
        "attribute": "false",
    }
    tests = [("not_finite", f"NOT isfinite({clean})"), ("out_of_range", outside[rule])]
    whole = ("wrong_type", f"{clean} <> floor({clean})")
    return [*tests, whole] if rule == "count" else tests


def _final(one: _Asked) -> str:
    if one.field.rule == "count":
        return f"CASE WHEN fault IS NULL THEN CAST({one.clean} AS BIGINT) END"
    if one.field.rule == "text" and one.field.absent is not None:
        return f"CASE WHEN trim({one.clean}) <> '' THEN {one.clean} ELSE {one.field.absent} END"
    if one.field.absent not in (None, "NULL"):
        return f"coalesce({one.clean}, {one.field.absent})"
    return one.clean


def _final_time() -> str:
    """Faulty times come first, as NULL."""
    inside = f"c_time >= {TIME_MS_MIN} AND c_time < {TIME_MS_MAX}"
    return f"CASE WHEN {inside} THEN CAST(c_time AS BIGINT) END"


def _shown(one: _Asked) -> str:
    if not one.misfits:
        return _value(one)
    return f"coalesce(to_json({one.misfit}), to_json({_value(one)}))"


def _excerpt(event: str, asked: Sequence[_Asked]) -> str:
    fields = ", ".join(f"'{one.field.name}': {_shown(one)}" for one in asked)
    return f"left(CAST(to_json({{'type': '{event}', {fields}}}) AS VARCHAR), {EXCERPT_CHARACTERS})"
