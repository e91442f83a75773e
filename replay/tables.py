"""Files, table expressions and databases as relations of DuckDB, with their damage known.

Nothing is left to sniffing, because what a sniffer sees depends on where in a file the odd row
stands. The header line decides a CSV file's separator, its fields are quoted as RFC 4180 says (`"`,
doubled inside), and every value has its say in a column's type (replay.mapping_types). JSON is
DuckDB's, read from the whole file; Parquet and databases bring their own types.
"""

from __future__ import annotations

import contextlib
import glob
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb

from replay.mapping_names import CSV, JSON, PARQUET, expanded, header, is_file_name, suffix
from replay.mapping_types import quoted_name, text_columns
from streams.settings import ConfigError

__all__ = ["ROW", "Damage", "Relation", "Tables", "quoted", "shipped_map"]

ROW = "askagain_row"
# An excerpt of a damaged row; as long as the codec's.
EXCERPT_CHARACTERS = 500


class Damage(NamedTuple):
    """A row that could not even be split into columns: its number, and its beginning as text."""

    row: int
    event: str


class Relation(NamedTuple):
    """Something to select from: `sql` stands after FROM.

    It has a column ROW (the data row, from 1) beside `columns` (name to type). `blank` is a
    condition that holds for rows that were no JSON. `texts` counts, for columns that were typed by
    their texts, the misfits: NULL there, and as text in `mapping_types.raw_name`.
    """

    name: str
    sql: str
    columns: dict[str, str]
    damaged: tuple[Damage, ...] = ()
    blank: str = "false"
    texts: dict[str, int] = {}


class Tables:
    """A DuckDB of one's own, off the network, that spills to disk beyond `memory_limit`.

    Parameters
    ----------
    folder
        What relative paths are relative to.
    attach
        A database file that table expressions may name tables of, opened for reading only.

    Raises
    ------
    ConfigError
        The limits are not DuckDB's, or the database cannot be opened.
    """

    def __init__(
        self, folder: Path, attach: str | None, *, threads: int, memory_limit: str
    ) -> None:
        self.folder = folder
        self.attached = attach is not None
        self._files = contextlib.ExitStack()
        self._made = 0
        spill = self._files.enter_context(tempfile.TemporaryDirectory(prefix="askagain-"))
        try:
            self._connection = duckdb.connect(
                ":memory:", config=_config(threads, memory_limit, spill)
            )
            self._files.callback(self._connection.close)
            if attach is not None:
                path = folder / expanded(attach, "attach")
                self._connection.execute(f"ATTACH {quoted(str(path))} AS attached (READ_ONLY)")
            self._connection.execute("SET GLOBAL TimeZone = 'UTC'")
            self._connection.execute("SET lock_configuration = true")
        except duckdb.Error as error:
            self.close()
            raise ConfigError(
                f"{folder}: expected to open DuckDB, attach={attach!r}: {error}"
            ) from None

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the memory and the spilled files."""
        self._files.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own to the same tables: two results can be read at once."""
        cursor = self._connection.cursor()
        if self.attached:
            cursor.execute("USE attached")
        return cursor

    def open(self, origin: str | list[str], where: str) -> list[Relation]:
        """Return a relation for each file that `origin` names, or one for a table expression.

        Raises
        ------
        ConfigError
            A file is missing or unreadable; `where` says which key named it.
        """
        if isinstance(origin, str) and not is_file_name(origin):
            with _readable(origin, where):
                return [self._expression(origin, where)]
        patterns = [origin] if isinstance(origin, str) else origin
        relations = []
        for path in [path for pattern in patterns for path in self._paths(pattern, where)]:
            with _readable(str(path), where):
                relations.append(self._file(path, where))
        return relations

    def probe(self, relation: Relation) -> Callable[[list[str]], list[str]]:
        """Return what tells the types of SQL expressions over the relation's columns."""
        table = self._new_table()
        cursor = self.cursor()
        cursor.execute(f"CREATE TABLE {table} AS SELECT * FROM {relation.sql} LIMIT 0")

        def types_of(expressions: list[str]) -> list[str]:
            # TRY is how they will be evaluated, and does not take everything: subqueries, random().
            tried = ", ".join([*expressions, *(f"TRY({one})" for one in expressions)])
            rows = cursor.execute(_single(f"DESCRIBE SELECT {tried} FROM {table} AS t")).fetchall()
            return [str(row[1]) for row in rows[: len(expressions)]]

        return types_of

    def _paths(self, pattern: str, where: str) -> list[Path]:
        path = self.folder / expanded(pattern, where)
        found = [path] if path.is_file() else [Path(p) for p in sorted(glob.glob(str(path)))]
        if not found:
            raise ConfigError(
                f"{where}: no file {str(path)!r}; expected one relative to {str(self.folder)!r}"
            )
        for one in found:
            if not is_file_name(one.name):
                raise ConfigError(
                    f"{where}: {one.name!r}: expected a name ending in one of"
                    f" {', '.join(CSV + JSON + PARQUET)} (and .gz or .zst)"
                )
        return found

    def _expression(self, origin: str, where: str) -> Relation:
        text = self._anchored(expanded(origin, where, in_sql=True))
        if re.match(r"(?i)(select|with|from|values|pivot)\b", text):
            text = f"({text}\n)"
        sql = f"(SELECT row_number() OVER () AS {ROW}, * FROM {text}\n)"
        return Relation(origin, sql, self._columns(sql))

    def _anchored(self, text: str) -> str:
        """Make file names in an expression relative to the folder, not to the working directory."""

        def anchored(found: re.Match[str]) -> str:
            path = self.folder / found[1].replace("''", "'")
            here = is_file_name(path.name) and (path.is_file() or glob.glob(str(path)))
            return quoted(str(path)) if here else found[0]

        return re.sub(r"'((?:[^']|'')*)'", anchored, text)

    def _file(self, path: Path, where: str) -> Relation:
        ending = suffix(path.name)
        if ending in PARQUET:
            sql = f"(SELECT file_row_number + 1 AS {ROW}, * FROM read_parquet({quoted(str(path))}))"
            return Relation(self._told(path), sql, self._columns(sql))
        return self._json(path) if ending in JSON else self._csv(path, where)

    def _told(self, path: Path) -> str:
        """What rejects call a file: the same on every machine."""
        inside = path.is_relative_to(self.folder)
        return path.relative_to(self.folder).as_posix() if inside else path.name

    def _new_table(self) -> str:
        self._made += 1
        return f"memory.main.table_{self._made}"

    def _columns(self, sql: str) -> dict[str, str]:
        described = _single(f"DESCRIBE SELECT * EXCLUDE ({ROW}) FROM {sql}")
        rows = self.cursor().execute(described).fetchall()
        return {row[0]: row[1] for row in rows}

    def _json(self, path: Path) -> Relation:
        table = self._new_table()
        form = "auto" if suffix(path.name) == ".json" else "newline_delimited"
        self._connection.execute(
            f"CREATE TABLE {table} AS SELECT row_number() OVER () AS {ROW}, * FROM "
            f"read_json({quoted(str(path))}, format = '{form}', ignore_errors = true, "
            "sample_size = -1)"
        )
        columns = self._columns(table)
        # Columns of mixed JSON become text, without quotes, and are typed as a CSV's.
        plain = ", ".join(
            f"{quoted_name(name)} ->> '$' AS {quoted_name(name)}"
            for name, kind in columns.items()
            if kind == "JSON"
        )
        if plain:
            mixed, table = table, self._new_table()
            self._connection.execute(
                f"CREATE TABLE {table} AS SELECT * REPLACE ({plain}) FROM {mixed}"
            )
            self._connection.execute(f"DROP TABLE {mixed}")
            columns = self._columns(table)
        relation = self._typed(Relation(self._told(path), table, columns))
        blank = " AND ".join(f"{quoted_name(column)} IS NULL" for column in columns)
        return relation._replace(blank=f"({blank})")

    def _csv(self, path: Path, where: str) -> Relation:
        table, reader = self._new_table(), self._connection
        names, separator = header(path, where)
        beyond = _beyond(names)
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in (*names, beyond))
        # Rows too short end in NULLs; rows too long show in the column beyond.
        reader.execute(
            f"CREATE TABLE {table} AS SELECT row_number() OVER () AS {ROW}, * FROM read_csv("
            f"{quoted(str(path))}, auto_detect = false, header = true, columns = {{{columns}}}, "
            f"delim = {quoted(separator)}, quote = '\"', escape = '\"', "
            "null_padding = true, parallel = false, strict_mode = false, "
            "ignore_errors = true, store_rejects = true, rejects_limit = 0, "
            f"rejects_table = 'rejects_{self._made}', rejects_scan = 'scan_{self._made}')"
        )
        damaged = self._damaged(table, f"rejects_{self._made}", beyond)
        return self._typed(
            Relation(self._told(path), table, dict.fromkeys(names, "VARCHAR"), damaged)
        )

    def _typed(self, relation: Relation) -> Relation:
        """Give the text columns of a table the types that their values have."""
        names = [name for name, kind in relation.columns.items() if kind == "VARCHAR"]
        found = {
            column.name: column for column in text_columns(self._connection, relation.sql, names)
        }
        chosen = ", ".join(
            found[name].sql if name in found else quoted_name(name) for name in relation.columns
        )
        return relation._replace(
            sql=f"(SELECT {ROW}, {chosen} FROM {relation.sql})",
            columns={n: found[n].type if n in found else k for n, k in relation.columns.items()},
            texts={n: column.misfits for n, column in found.items() if column.type != "VARCHAR"},
        )

    def _damaged(self, table: str, rejects: str, beyond: str) -> tuple[Damage, ...]:
        """Return the rows that do not fit the header, and number the others as in the file."""
        cut = f"left(%s, {EXCERPT_CHARACTERS})"
        lines = self._connection.execute(
            f"SELECT line - 1, {cut % 'any_value(csv_line)'} FROM {rejects} "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        if lines:
            self._connection.execute(
                f"UPDATE {table} SET {ROW} = numbers.row FROM (SELECT row, row_number() OVER "
                f"(ORDER BY row) AS kept FROM range(1, (SELECT count(*) + {len(lines)} + 1 FROM "
                f"{table})) all_rows(row) ANTI JOIN (SELECT line - 1 AS row FROM {rejects}) "
                f"USING (row)) numbers WHERE numbers.kept = {table}.{ROW}"
            )
        text = cut % "CAST(to_json(t) AS VARCHAR)"
        longer = self._connection.execute(
            f"DELETE FROM {table} AS t WHERE {quoted_name(beyond)} IS NOT NULL "
            f"RETURNING {ROW}, {text}"
        ).fetchall()
        return tuple(Damage(row, event or "") for row, event in sorted(lines + longer))


@contextlib.contextmanager
def _readable(origin: str, where: str) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise ConfigError(f"{where}: cannot read {origin!r}: {error}") from None


def quoted(text: str) -> str:
    """Return `text` as a SQL string.

    >>> quoted("d'or.csv")
    "'d''or.csv'"
    """
    return "'" + text.replace("'", "''") + "'"


def shipped_map(name: str) -> Path | None:
    """Return the mapping file of this name that comes with the package, or None.

    >>> shipped_map("bank").name
    'bank.toml'
    """
    path = Path(__file__).parent / "maps" / f"{name.removesuffix('.toml')}.toml"
    return path if path.is_file() else None


def _single(sql: str) -> str:
    """Return `sql` if it is one statement: what a mapping says may read, and do nothing else."""
    statements = len(duckdb.extract_statements(sql))
    if statements != 1:
        raise duckdb.ParserException(f"expected one expression, got {statements} statements")
    return sql


def _config(
    threads: int, memory_limit: str, spill: str
) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": threads,
        "memory_limit": memory_limit,
        "temp_directory": spill,
        "preserve_insertion_order": "true",
        # A table name must not find a variable of ours.
        "python_enable_replacements": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
    }


def _beyond(names: list[str]) -> str:
    beyond = "askagain_beyond"
    while beyond in names:
        beyond += "_"
    return beyond
