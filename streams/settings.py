"""Settings: one frozen struct, read from askagain.toml, the environment and the command line, in
rising order.

Durations are written "90s", "5m", "12h", "7d" or "2w" under the field's name without its `_ms`.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

__all__ = ["ConfigError", "Settings", "duration_ms", "load_settings", "settings_from"]

Positive = Annotated[int, msgspec.Meta(gt=0)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Ratio = Annotated[float, msgspec.Meta(gt=0)]

_UNITS_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_HORIZON_MS_MAX = 2 * 366 * 86_400_000
_HORIZON_MS_MIN = 60_000


class ConfigError(Exception):
    """A setting or a mapping is wrong. The message says what came, what was expected, and where."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changes an answer. Its fingerprint stands in every summary."""

    # A response counts while its appeal is younger than this.
    horizon_ms: Positive = 7 * 86_400_000
    # How much older than the newest event of its source an event may be and still count.
    allowed_lateness_ms: NotNegative = 3_600_000
    # Count responses only until the same audience's next appeal.
    until_next_appeal: bool = False
    # Live only: how far ahead of the log's own time an event may claim to be.
    future_skew_ms: Positive = 5 * 60_000

    # Verdict thresholds (PRODUCT: Verdicts), as retention.
    fresh_above: Ratio = 0.85
    worn_out_below: Ratio = 0.4
    rising_above: Ratio = 1.15
    recovery_ratio: Ratio = 1.15
    evidence_min: Ratio = 20.0
    false_discovery_rate: Share = 0.10
    # What an exit costs, in the unit of `value` (or in responses where nothing carries a value).
    exit_price: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    # Limits. 1 M open appeals of about 1 kB are 1 GB a partition; a held response takes about 200
    # B.
    open_appeals_max: Positive = 1_000_000
    held_responses_max: Positive = 1_000_000
    # Ids of responses to open appeals, about 0.2 kB each: 1 GB a partition.
    response_ids_max: Positive = 5_000_000
    # About 2 kB each (two stocks on the grid of half-lives, a random effect).
    appealers_max: Positive = 200_000
    audiences_max: Positive = 500_000
    responders_max: Positive = 100_000
    # Hashes of responders kept an appeal, to know which appealers answer others: 64 are 5 kB, for
    # they are cut to size when there are twice as many.
    responders_sampled: Positive = 64

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"{name}: expected a finite number, got {getattr(self, name)}")
        if not _HORIZON_MS_MIN <= self.horizon_ms <= _HORIZON_MS_MAX:
            raise ConfigError(f"horizon: expected from 1m to 732d, got {_text_ms(self.horizon_ms)}")
        if self.allowed_lateness_ms > self.horizon_ms:
            raise ConfigError(
                "allowed_lateness: expected at most the horizon "
                f"({_text_ms(self.horizon_ms)}), got {_text_ms(self.allowed_lateness_ms)}"
            )
        if not self.worn_out_below < self.fresh_above < self.rising_above:
            raise ConfigError(
                "worn_out_below, fresh_above, rising_above: expected in rising order, got "
                f"{self.worn_out_below}, {self.fresh_above}, {self.rising_above}"
            )

    def fingerprint(self) -> str:
        """Return 16 hex digits that change when any setting does."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


def duration_ms(text: object, name: str) -> int:
    """Read a duration.

    >>> duration_ms("7d", "horizon")
    604800000
    """
    found = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d|w)", text) if isinstance(text, str) else None
    if found is None:
        raise ConfigError(f'{name}: expected a duration such as "90s", "12h" or "7d", got {text!r}')
    return int(found[1]) * _UNITS_MS[found[2]]


def settings_from(values: Mapping[str, Any], where: str, base: Settings | None = None) -> Settings:
    """Return `base` with `values` laid over it.

    Raises
    ------
    ConfigError
        Names the setting, what was expected, what came, and `where`.
    """
    known = {field.name for field in msgspec.structs.fields(Settings)}
    merged = msgspec.structs.asdict(base or Settings())
    for name, value in values.items():
        if name + "_ms" in known:
            merged[name + "_ms"] = duration_ms(value, f"{where}: {name}")
        elif name in known and not name.endswith("_ms"):
            merged[name] = value
        else:
            names = sorted(field.removesuffix("_ms") for field in known)
            raise ConfigError(f"{where}: unknown setting {name!r}, expected one of {names}")
    try:
        return msgspec.convert(merged, Settings, strict=False)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from None


def load_settings(
    path: Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any],
    mapped: Mapping[str, Any] | None = None,
) -> Settings:
    """Read a mapping's settings, a file's, ASKAGAIN_* variables, `overrides` (name to text)."""
    settings = settings_from(mapped or {}, "mapping", Settings())
    if path is not None:
        settings = settings_from(_table(path), str(path), settings)
    known = {f.name.removesuffix("_ms") for f in msgspec.structs.fields(Settings)}
    named = {name: environment.get(f"ASKAGAIN_{name.upper()}") for name in sorted(known)}
    given = {name: value for name, value in named.items() if value is not None}
    settings = settings_from(given, "environment", settings)
    return settings_from(overrides, "command line", settings)


def _table(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8")).get("settings", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: expected a readable TOML file, got: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: settings: expected a table, got {values!r}")
    return values


def _text_ms(ms: int) -> str:
    for unit in ("w", "d", "h", "m", "s"):
        if ms and ms % _UNITS_MS[unit] == 0:
            return f"{ms // _UNITS_MS[unit]}{unit}"
    return f"{ms}ms"
