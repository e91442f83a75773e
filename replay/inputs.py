"""Where events come from, as the command line names it: files, a mapping, or Kafka's topics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from replay.reader import read_lines, source_names
from streams.collector import Block
from streams.settings import ConfigError, Settings

if TYPE_CHECKING:
    from replay.mapping_rows import Block as MappedBlock

__all__ = ["Inputs", "KafkaSpan"]

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
        named = [bool(self.paths), self.map_file is not None, self.kafka is not None]
        if sum(named) != 1:
            raise ConfigError("expected files of events, --map or --from-kafka: one of the three")
        if self.kafka is not None:
            with _from_kafka(self.kafka, self.settings_of({})) as sources:
                yield self.settings_of({}), sources
        elif self.map_file is not None:
            yield _mapped(self.map_file, self.settings_of)
        else:
            names = zip(source_names(self.paths), self.paths, strict=True)
            yield self.settings_of({}), {name: read_lines(path) for name, path in names}


def _mapped(map_file: Path, settings_of: SettingsOf) -> tuple[Settings, Sources]:
    from replay.mapping import load_mapping, read_mapped
    from replay.tables import shipped_map

    map_file = shipped_map(str(map_file)) or map_file
    settings = settings_of(load_mapping(map_file).settings)
    blocks = read_mapped(map_file, horizon_ms=settings.horizon_ms)
    return settings, {map_file.name: _numbered(map_file.name, blocks)}


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
