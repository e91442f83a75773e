"""Where Kafka is and how to talk to it: the table [kafka] of askagain.toml, then ASKAGAIN_KAFKA_*.

Nothing here changes an answer; what does is in streams.settings. Secrets come by environment only,
so that no file has to hold one.
"""

from __future__ import annotations

import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from streams.settings import ConfigError, duration_ms

__all__ = ["KafkaConfig", "client_options", "load_kafka", "ssl_context"]

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")]
_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0)]

SECRETS = ("sasl_password", "ssl_password")


class KafkaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a worker is run. Fields ending in `_ms` are written as durations, without the ending."""

    bootstrap_servers: str = "127.0.0.1:9092"
    # Consumer group, and the beginning of the names of all topics that are the worker's own.
    application: _Name = "askagain"
    # Appeals and responses in one topic are read in the order in which they were written. Two
    # topics work too, but while a worker catches up one may be read far ahead of the other.
    appeals_topic: _Name = "askagain.events"
    responses_topic: _Name = "askagain.events"
    # For topics that are not there yet. What is there is taken as it is.
    partitions: _Count = 4
    learners: _Count = 4
    replication: _Count = 1

    # A partition in which nothing was written for so long gets a tick; 0: never.
    tick_after_ms: _Milliseconds = 60_000
    # How much work at most is done again after a crash. A snapshot that takes long is taken less
    # often: at most a twentieth of the time goes into them.
    snapshot_every_ms: Annotated[int, msgspec.Meta(gt=0)] = 30_000

    # After how long without a sign of life a worker's partitions are given to others.
    session_timeout_ms: Annotated[int, msgspec.Meta(ge=6_000)] = 15_000

    # /metrics, /health, /ready, /status. They show no event; still, loopback unless told otherwise.
    http_host: str = "127.0.0.1"
    http_port: _Port = 9108

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_password: str = ""

    def __repr__(self) -> str:
        """Show everything but secrets, so that neither logs nor traces hold them."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown |= {name: "***" for name in SECRETS if shown[name]}
        return f"KafkaConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def input_topics(self) -> list[str]:
        """Return the topics that events are read from, each once."""
        return list(dict.fromkeys((self.appeals_topic, self.responses_topic)))

    def topic(self, name: str) -> str:
        """Return the full name of one of the worker's own topics."""
        return f"{self.application}.{name}"


def load_kafka(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> KafkaConfig:
    """Read the table [kafka] of a file, then ASKAGAIN_KAFKA_* variables, then `overrides`.

    Raises
    ------
    ConfigError
        Names the field, what was expected, what came, and where.
    """
    values: dict[str, Any] = {}
    if path is not None:
        table = _table(path)
        for name in SECRETS:
            if name in table:
                raise ConfigError(
                    f"{path}: [kafka] {name}: expected in the environment only, "
                    f"as ASKAGAIN_KAFKA_{name.upper()}"
                )
        values |= _checked(table, f"{path}: [kafka]")
    given = {
        name: environment[f"ASKAGAIN_KAFKA_{name.upper()}"]
        for name in _names()
        if f"ASKAGAIN_KAFKA_{name.upper()}" in environment
    }
    values |= _checked(given, "environment: ASKAGAIN_KAFKA_*")
    values |= _checked(dict(overrides or {}), "command line")
    return msgspec.convert(values, KafkaConfig, strict=False)


def _names() -> list[str]:
    return [field.name.removesuffix("_ms") for field in msgspec.structs.fields(KafkaConfig)]


def _checked(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    fields = {field.name for field in msgspec.structs.fields(KafkaConfig)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if f"{name}_ms" in fields:
            zero = value in (0, "0")
            values[f"{name}_ms"] = 0 if zero else duration_ms(value, f"{where} {name}")
        elif name in fields:
            values[name] = value
        else:
            raise ConfigError(f"{where}: unknown setting {name!r}, expected one of {_names()}")
    try:
        msgspec.convert(values, KafkaConfig, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from None
    return values


def _table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("kafka", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: expected a readable TOML file, got: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: kafka: expected a table, got {table!r}")
    return table


def ssl_context(config: KafkaConfig) -> ssl.SSLContext | None:
    """Return the TLS context, or None where the protocol has none."""
    if not config.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=config.ssl_cafile or None)
        if config.ssl_certfile:
            context.load_cert_chain(
                config.ssl_certfile, config.ssl_keyfile or None, config.ssl_password or None
            )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"[kafka] ssl_*: expected readable certificates: {error}") from None
    return context


def client_options(config: KafkaConfig) -> dict[str, Any]:
    """Return what every Kafka client of ours is made with."""
    options: dict[str, Any] = {
        "bootstrap_servers": config.bootstrap_servers,
        "security_protocol": config.security_protocol,
        "ssl_context": ssl_context(config),
    }
    if config.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": config.sasl_mechanism,
            "sasl_plain_username": config.sasl_username,
            "sasl_plain_password": config.sasl_password,
        }
    return options
