"""Mapping files: any table into events. Every value is a SQL expression, evaluated by DuckDB.

    [appeals]
    from = "calls.csv.gz"       # a file, a glob, a list of them, or a table expression of DuckDB
    appeal_id = "appeal_id"
    time = "time"               # a timestamp (naive: UTC), a date, Unix seconds, or RFC 3339 text
    appealer = "'bank'"
    [responses]
    from = "subscriptions.csv.gz"
    appeal_id = "appeal_id"
    time = "time"

Further keys of `[appeals]`: kind, audience, community, reach, community_size, where, and a table
`[appeals.attributes]` of name = expression. Of `[responses]`: response_id, responder, value, count,
exit, where; and instead of appeal_id `attribute = "last-touch"` with `audience`. `[[responses]]`,
more than once, reads several tables of responses. Beside them stand `attach = "history.duckdb"`,
whose tables `from` may then name, and `[settings]`, to be laid over the program's settings.

`where` keeps the rows for which it holds; the others are no events. A `count` of 0 is no response
and is rejected: `where = "clicks > 0"` says that such rows are none. A mapped `reach` or `count`
that is NULL is rejected as missing, because an unknown reach is not 1; `coalesce(reach, 1)` says
otherwise. `${NAME}` in `from` and `attach` stands for an environment variable, `${package:NAME}`
for the folder of an installed Python package. A table expression's rows are numbered as DuckDB
gives them, and only ORDER BY makes that a promise.

Columns of CSV and JSON files have the type of at least 95 % of their values (replay.mapping_types).
A row in which an expression uses one of the others, or fails, is rejected as `wrong_type`, and the
run goes on. A text wanted by a column's name alone is taken as it was written: "007" stays so.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from replay.mapping_file import MappedTable, Mapping, load_mapping
from replay.mapping_rows import Block, Event, Rows, appeal_rows, merged, response_rows
from replay.mapping_sql import (
    APPEAL,
    RESPONSE,
    Field,
    column_quoted,
    last_touch,
    row_select,
    type_class,
)
from replay.tables import Relation, Tables
from streams.events import Rejected
from streams.settings import ConfigError

__all__ = [
    "Block",
    "Description",
    "Mapping",
    "SourceCount",
    "describe",
    "load_mapping",
    "read_mapped",
]

BATCH_ROWS = 65_536
_FIRST_EVENTS = 3
_WHAT_IF_UNSAID = {"kind": "'default'", "community": "'default'", "reach": "1.0"}
_AUDIENCE = Field("audience", "text")


class SourceCount(NamedTuple):
    """The fates of a file's rows: `rows` = `left_out` by `where` + `events` + `rejected`.

    The rejected are counted by "reason:field".
    """

    table: str
    source: str
    rows: int
    left_out: int
    events: int
    rejected: dict[str, int]


class Description(NamedTuple):
    """A mapping tried on its tables: the fate of every row, and the first events."""

    sources: list[SourceCount]
    first: list[Event]


class _Query(NamedTuple):
    """What gives one kind of events: SQL, the sources by number, and the order of equal times."""

    sql: str
    relations: list[tuple[str, Relation]]
    order: str

    @property
    def names(self) -> list[str]:
        return [relation.name for _, relation in self.relations]


def read_mapped(
    path: Path, *, horizon_ms: int, threads: int = 2, memory_limit: str = "2GB"
) -> Iterator[Block]:
    """Read the events that a mapping file makes of its tables, sorted by time.

    What has no usable time comes first. Ties: appeals before responses, then by id, then by place.
    DuckDB sorts and spills to disk beyond `memory_limit`, so the tables need not fit in memory.
    Every row not left out by `where` is one event or one `Rejected`.

    Parameters
    ----------
    horizon_ms
        How long after an appeal last-touch attribution may still name it, in milliseconds.

    Raises
    ------
    ConfigError
        The mapping is wrong, a file is missing, or an expression does not fit its columns.
    """
    mapping = load_mapping(path)
    with Tables(path.parent, mapping.attach, threads=threads, memory_limit=memory_limit) as tables:
        yield from _blocks(mapping, tables, *_queries(mapping, tables, horizon_ms))


def describe(
    path: Path, *, horizon_ms: int, threads: int = 2, memory_limit: str = "2GB"
) -> Description:
    """Try a mapping: count every row's fate, source by source, and return the first three events.

    Raises
    ------
    ConfigError
        As `read_mapped`.
    """
    mapping = load_mapping(path)
    with Tables(path.parent, mapping.attach, threads=threads, memory_limit=memory_limit) as tables:
        queries = _queries(mapping, tables, horizon_ms)
        counts = [count for query in queries for count in _counts(tables, query)]
        blocks = _blocks(mapping, tables, *queries)
        events = (e for block in blocks for e in block.events if not isinstance(e, Rejected))
        return Description(counts, list(islice(events, _FIRST_EVENTS)))


def _queries(mapping: Mapping, tables: Tables, horizon_ms: int) -> tuple[_Query, _Query]:
    appeals = _appeal_query(mapping.appeals, tables)
    extra = sorted({name for one in mapping.responses for name in one.expressions} - {"audience"})
    selects: list[str] = []
    relations: list[tuple[str, Relation]] = []
    for table in mapping.responses:
        sql, found = _response_select(table, tables, extra, len(relations), appeals, horizon_ms)
        selects.append(sql)
        relations += found
    order = "appeal_id" + (", response_id" if "response_id" in extra else "")
    return appeals, _Query(f"({' UNION ALL '.join(selects)})", relations, order)


def _appeal_query(table: MappedTable, tables: Tables) -> _Query:
    said = _WHAT_IF_UNSAID | {"audience": table.expressions["appealer"]} | table.expressions
    attributes = (Field(name, "attribute", absent="NULL") for name in said if "." in name)
    fields = [(field, said[field.name]) for field in (*APPEAL, *attributes) if field.name in said]
    relations = tables.open(table.origin, f"{table.key}: from")
    selects = [
        row_select("appeal", relation, i, table.where, _typed(table, tables, relation, fields))
        for i, relation in enumerate(relations)
    ]
    sql = f"({' UNION ALL '.join(select.sql for select in selects)})"
    return _Query(sql, [("appeals", relation) for relation in relations], "appeal_id")


def _response_select(
    table: MappedTable,
    tables: Tables,
    extra: list[str],
    offset: int,
    appeals: _Query,
    horizon_ms: int,
) -> tuple[str, list[tuple[str, Relation]]]:
    """Return the SELECT of one table, with the columns that any of them has, and its relations."""
    said = table.expressions | ({"appeal_id": ""} if table.last_touch else {})
    fields = [
        (field, said.get(field.name, "1" if field.name == "count" else field.absent or ""))
        for field in RESPONSE
        if field.name in extra or field.name == "appeal_id"
    ]
    if table.last_touch:
        fields = [(_AUDIENCE, said["audience"]), *fields[1:]]
    relations = tables.open(table.origin, f"{table.key}: from")
    selects = [
        row_select(
            "response", relation, offset + i, table.where, _typed(table, tables, relation, fields)
        )
        for i, relation in enumerate(relations)
    ]
    sql = f"({' UNION ALL '.join(select.sql for select in selects)})"
    if table.last_touch:
        sql = last_touch(sql, appeals.sql, horizon_ms)
    columns = ["source", "row", "fault", "event", "time_ms", "appeal_id"]
    columns += [name for name in extra if name not in ("time", "appeal_id")]
    named = ", ".join(f'"{name}"' for name in columns)
    return f"(SELECT {named} FROM {sql})", [("responses", relation) for relation in relations]


def _typed(
    table: MappedTable, tables: Tables, relation: Relation, fields: list[tuple[Field, str]]
) -> list[tuple[Field, str, str]]:
    """Try every expression on an empty table of the same columns, and add the class of its type."""
    expressions = [column_quoted(field, said, relation) for field, said in fields]
    keys = [field.name for field, _ in fields]
    asked = {key: f"(\n{said}\n)" for key, said in zip(keys, expressions, strict=True)}
    if table.where is not None:
        asked["where"] = f"CAST((\n{table.where}\n) AS BOOLEAN)"
    typed = []
    types = _types(table, tables.probe(relation), relation, asked)
    for (field, _), expression, name in zip(fields, expressions, types, strict=False):
        found = type_class(field.rule, name)
        if found is None:
            raise ConfigError(
                f"{table.key}: {field.name} = {expression!r}: its type is {name}, expected one that"
                f" makes a {field.rule}; CAST(... AS ...) changes it ({relation.name})"
            )
        typed.append((field, expression, found))
    return typed


def _types(
    table: MappedTable,
    probe: Callable[[list[str]], list[str]],
    relation: Relation,
    asked: dict[str, str],
) -> list[str]:
    """Return the types of all expressions, or say which one is wrong."""
    with contextlib.suppress(duckdb.Error):
        return probe(list(asked.values()))
    types = []
    for key, sql in asked.items():
        try:
            types += probe([sql])
        except duckdb.Error as error:
            columns = ", ".join(f"{name} {kind}" for name, kind in relation.columns.items())
            raise ConfigError(
                f"{table.key}: {key}: {error}\nexpected a SQL expression over the columns {columns}"
                f" of {relation.name}"
            ) from None
    return types


def _blocks(
    mapping: Mapping, tables: Tables, appeals: _Query, responses: _Query
) -> Iterator[Block]:
    yield from _damage_blocks(appeals, responses)
    yield from merged(
        mapping.path.name,
        _streamed(tables, appeals, appeal_rows, f"{mapping.path}: [appeals]"),
        _streamed(tables, responses, response_rows, f"{mapping.path}: [responses]"),
    )


def _streamed(
    tables: Tables,
    query: _Query,
    made: Callable[[pa.RecordBatch, list[str]], Rows],
    where: str,
) -> Iterator[Rows]:
    order = ", ".join(f"{key} NULLS FIRST" for key in ("time_ms", *query.order.split(", ")))
    sql = f"SELECT * FROM {query.sql} ORDER BY {order}, source, row"
    names = query.names
    cursor = tables.cursor()
    try:
        for batch in cursor.sql(sql).to_arrow_reader(BATCH_ROWS):
            if batch.num_rows:
                yield made(batch, names)
    except duckdb.Error as error:
        raise ConfigError(f"{where}: DuckDB stopped: {error}") from None
    finally:
        cursor.close()


def _damage_blocks(*queries: _Query) -> Iterator[Block]:
    """What could not be split into columns has no time, and comes first."""
    for query in queries:
        for _, relation in query.relations:
            if relation.damaged:
                events: list[Event] = [
                    Rejected(relation.name, damage.row, "wrong_type", None, damage.event)
                    for damage in relation.damaged
                ]
                yield Block(relation.name, [damage.row for damage in relation.damaged], events)


def _counts(tables: Tables, query: _Query) -> Iterator[SourceCount]:
    fates: list[Counter[str | None]] = [Counter() for _ in query.relations]
    with tables.cursor() as cursor:
        grouped = f"SELECT source, fault, count(*) FROM {query.sql} GROUP BY ALL ORDER BY ALL"
        for source, fault, n in cursor.execute(grouped).fetchall():
            fates[source][fault] = n
        for (table, relation), fate in zip(query.relations, fates, strict=True):
            row = cursor.execute(f"SELECT count(*) FROM {relation.sql}").fetchone()
            damaged = len(relation.damaged)
            rows = (row[0] if row else 0) + damaged
            events = fate.pop(None, 0)
            rejected = {str(fault).removesuffix(":"): n for fault, n in fate.items()}
            if damaged:
                rejected["wrong_type"] = damaged
            left_out = rows - events - sum(rejected.values())
            yield SourceCount(table, relation.name, rows, left_out, events, rejected)
