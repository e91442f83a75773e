"""Reading a mapping file, and checking all of it that can be checked without its tables."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from replay.mapping_sql import APPEAL, RESPONSE
from streams.settings import ConfigError

__all__ = ["MappedTable", "Mapping", "load_mapping"]

ATTRIBUTES_MAX = 32
_KEYS = {
    "appeals": {field.name for field in APPEAL} | {"from", "where", "attributes"},
    "responses": {field.name for field in RESPONSE} | {"from", "where", "attribute", "audience"},
}


class MappedTable(NamedTuple):
    """One `[appeals]` or `[responses]`: its place, origin, condition, expressions by field."""

    key: str
    origin: str | list[str]
    where: str | None
    expressions: dict[str, str]
    last_touch: bool = False


class Mapping(NamedTuple):
    """A mapping file, checked as far as it can be without its tables."""

    path: Path
    attach: str | None
    settings: dict[str, Any]
    appeals: MappedTable
    responses: tuple[MappedTable, ...]


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises
    ------
    ConfigError
        It is not TOML, or a key is unknown, missing or of the wrong type.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: expected a readable TOML file, got: {error}") from None
    _check_keys(document, {"appeals", "responses", "attach", "settings"}, f"{path}")
    attach, settings = document.get("attach"), document.get("settings", {})
    if not isinstance(attach, str | None) or not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected attach = a file name and [settings] = a table")
    responses = document.get("responses")
    several = responses if isinstance(responses, list) else [responses]
    return Mapping(
        path,
        attach,
        settings,
        _table(document.get("appeals"), f"{path}: [appeals]", "appeals"),
        tuple(_table(one, f"{path}: [responses]", "responses") for one in several),
    )


def _check_keys(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}, expected one of {sorted(known)}")


def _table(given: object, where: str, kind: str) -> MappedTable:
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: expected a table, got {given!r}")
    _check_keys(given, _KEYS[kind], where)
    touched = _is_last_touch(given, where) if kind == "responses" else False
    needed = ["from", "time"] + (["audience"] if touched else ["appeal_id"])
    for key in needed + (["appealer"] if kind == "appeals" else []):
        if key not in given:
            raise ConfigError(f"{where}: missing key {key!r}")
    origin = given["from"]
    listed = origin if isinstance(origin, list) else [origin]
    if not listed or not all(isinstance(one, str) and one for one in listed):
        raise ConfigError(f"{where}: from: expected a text or a list of texts, got {origin!r}")
    said = {k: v for k, v in given.items() if k not in ("from", "attribute", "attributes")}
    expressions = {key: _expression(value, f"{where}: {key}") for key, value in said.items()}
    condition = expressions.pop("where", None)
    expressions |= _attribute_expressions(given.get("attributes", {}), f"{where}: attributes")
    return MappedTable(where, origin, condition, expressions, touched)


def _is_last_touch(given: dict[str, Any], where: str) -> bool:
    attribute = given.get("attribute")
    if attribute not in (None, "last-touch"):
        raise ConfigError(f'{where}: attribute: expected "last-touch", got {attribute!r}')
    if attribute and "appeal_id" in given:
        raise ConfigError(f"{where}: expected appeal_id or last-touch attribution, got both")
    if not attribute and "audience" in given:
        raise ConfigError(f'{where}: audience: expected attribute = "last-touch" with it')
    return attribute is not None


def _expression(value: object, where: str) -> str:
    """TOML's numbers and booleans are SQL's too."""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: expected a SQL expression, got {value!r}")
    return value.strip()


def _attribute_expressions(given: object, where: str) -> dict[str, str]:
    if not isinstance(given, dict) or len(given) > ATTRIBUTES_MAX:
        raise ConfigError(f"{where}: expected a table of at most {ATTRIBUTES_MAX}, got {given!r}")
    for name in given:
        if not re.fullmatch(r"[\w -]{1,64}", name):
            raise ConfigError(
                f"{where}: {name!r}: expected a name of up to 64 letters, digits, _, - and spaces"
            )
    return {f"attributes.{n}": _expression(v, f"{where}: {n}") for n, v in given.items()}
