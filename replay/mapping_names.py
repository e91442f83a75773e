"""Names in a mapping: placeholders, kinds of files by their endings, a CSV file's header."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

import zstandard

from streams.settings import ConfigError

__all__ = ["CSV", "JSON", "PARQUET", "expanded", "header", "is_file_name", "suffix"]

CSV = (".csv", ".tsv", ".txt")
JSON = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
_PACKED = (".gz", ".zst")
_SEPARATORS = (",", "\t", ";", "|")
_HEADER_CHARACTERS_MAX = 1_000_000


def expanded(text: str, where: str, *, in_sql: bool = False) -> str:
    """Return `text` with its placeholders replaced.

    `${NAME}` is an environment variable, `${package:NAME}` the folder of an installed package.

    >>> expanded("calls.csv", "bank.toml: appeals.from")
    'calls.csv'

    Raises
    ------
    ConfigError
        The variable is not set, or the package not installed.
    """

    def value(found: re.Match[str]) -> str:
        named = found[1]
        given = _package(named[8:]) if named.startswith("package:") else os.environ.get(named)
        if not given:
            wanted = (
                f"the package {named[8:]!r} to be installed"
                if named.startswith("package:")
                else f"the environment variable {named} to be set"
            )
            raise ConfigError(f"{where}: {text!r}: expected {wanted}")
        return given.replace("'", "''") if in_sql else given

    return re.sub(r"\$\{([^}]*)\}", value, text)


def header(path: Path, where: str) -> tuple[list[str], str]:
    """Return the column names, and of _SEPARATORS that which the first line has most of."""
    openers: dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".zst": zstandard.open}
    opener = openers.get(path.suffix.lower(), open)
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="replace") as lines:
            line = lines.readline(_HEADER_CHARACTERS_MAX)
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise ConfigError(f"{where}: cannot read {str(path)!r}: {error}") from None
    separator = max(_SEPARATORS, key=line.count)
    names = next(csv.reader([line], delimiter=separator), [])
    if not names or "" in names or len({name.lower() for name in names}) < len(names):
        raise ConfigError(
            f"{where}: {path.name}: expected a first line of different column names, "
            f"got {line[:200]!r}"
        )
    return names, separator


def _package(name: str) -> str | None:
    found = importlib.util.find_spec(name)
    places = found.submodule_search_locations if found else None
    return next(iter(places)) if places else None


def suffix(name: str) -> str:
    """Return a file name's ending, packed or not.

    >>> suffix("Calls.CSV.gz")
    '.csv'
    """
    name = name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


def is_file_name(origin: str) -> bool:
    """Return whether this names files, rather than being a table expression."""
    return suffix(origin) in CSV + JSON + PARQUET
