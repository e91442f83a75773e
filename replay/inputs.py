"""Where events come from, as the command line names it: files, a mapping, or Kafka's topics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from replay.reader import read_lines, read_plain_lines, source_names
from streams.collector import Block
from streams.lines import Lines
from streams.settings import ConfigError, Settings

if TYPE_CHECKING:
    from replay.mapping_rows import Block as MappedBlock

__all__ = ["Inputs", "KafkaSpan", "open_lines", "open_sources"]

SettingsOf = Callable[[dict[str, Any]], Settings]
Sources = dict[str, Iterator[Block]]


class KafkaSpan(NamedTuple):
    """The topics of a worker, between two times of the log (RFC 3339), or from end to end."""

    config: Path | None
    since: str | None
    until: str | None


class Inputs(NamedTuple):
    """Exactly one of files ("-" is standard input), a mapping file, or topics.

    `settings_of` makes the settings out of those that a mapping brings along.
    """

    paths: list[str]
    map_file: Path | None
    kafka: KafkaSpan | None
    settings_of: SettingsOf

    @contextmanager
    def open(self) -> Iterator[tuple[Settings, Sources]]:
        """Give settings and sources.

        Raises
        ------
        ConfigError
            If not exactly one input is named, or it is not there.
        """
        settings = self.settings()
        if self.kafka is None:
            yield settings, open_sources(settings, self.paths, self.map_file)
            return
        with _from_kafka(self.kafka, settings) as sources:
            yield settings, sources

    def settings(self) -> Settings:
        """Return the settings, of which a mapping may bring some along.

        Raises
        ------
        ConfigError
            If not exactly one input is named, or a setting or the mapping is wrong.
        """
        named = [bool(self.paths), self.map_file is not None, self.kafka is not None]
        if sum(named) != 1:
            raise ConfigError("expected files of events, --map or --from-kafka: one of the three")
        if self.map_file is None:
            return self.settings_of({})
        from replay.mapping_file import load_mapping

        return self.settings_of(load_mapping(_found(self.map_file)).settings)

    def names(self) -> list[str]:
        """Return what files and mapped tables are called as sources.

        Raises
        ------
        ConfigError
            If a file is missing or named twice.
        """
        if self.map_file is None:
            return source_names(self.paths)
        return [_found(self.map_file).name]


def open_sources(settings: Settings, paths: list[str], map_file: Path | None) -> Sources:
    """Return what reads the files, or the tables that the mapping names.

    Raises
    ------
    ConfigError
        If a file is missing or named twice, or a mapping is wrong.
    """
    if map_file is None:
        names = zip(source_names(paths), paths, strict=True)
        return {name: read_lines(path) for name, path in names}
    from replay.mapping import read_mapped

    found = _found(map_file)
    blocks = read_mapped(found, horizon_ms=settings.horizon_ms)
    return {found.name: _numbered(found.name, blocks)}


def open_lines(
    settings: Settings, paths: list[str], map_file: Path | None
) -> Mapping[str, Iterator[Block | Lines]]:
    """Return the same as `open_sources`, with plain lines of files left as they are."""
    if map_file is not None:
        return open_sources(settings, paths, map_file)
    names = zip(source_names(paths), paths, strict=True)
    return {name: read_plain_lines(path) for name, path in names}


def _found(map_file: Path) -> Path:
    from replay.tables import shipped_map

    return shipped_map(str(map_file)) or map_file


def _numbered(name: str, blocks: Iterator[MappedBlock]) -> Iterator[Block]:
    """Number sorted rows as they come; a reject still names the file and row where it stood."""
    start = 0
    for block in blocks:
        end = start + len(block.events)
        yield Block(name, range(start, end), block.events, block.sources, block.lines)
        start = end


@contextmanager
def _from_kafka(span: KafkaSpan, settings: Settings) -> Iterator[Sources]:
    from replay.from_kafka import kafka_sources, log_time_ms
    from streams.kafka_config import load_kafka

    since_ms = None if span.since is None else log_time_ms(span.since)
    until_ms = None if span.until is None else log_time_ms(span.until)
    config = load_kafka(span.config, os.environ)
    with kafka_sources(config, settings, since_ms, until_ms) as sources:
        yield sources
