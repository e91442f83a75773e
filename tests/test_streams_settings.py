"""Settings: from three places in rising order; what is wrong says what, where, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.settings import ConfigError, Settings, duration_ms, load_settings, settings_from


@pytest.mark.parametrize(
    ("text", "ms"),
    [("0s", 0), ("250ms", 250), ("90s", 90_000), ("5m", 300_000), ("2w", 1_209_600_000)],
)
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text, "x") == ms


@pytest.mark.parametrize(
    "text", ["", "7", "d7", "-1d", "7 d", "1.5h", "7d ", "1y", 7, None, 30 * "9"]
)
def test_not_durations(text: Any) -> None:
    with pytest.raises(ConfigError, match=r"horizon: expected a duration such as"):
        duration_ms(text, "horizon")


def write(folder: Path, text: str) -> Path:
    path = folder / "askagain.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_command_line_goes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[settings]\nhorizon = "3d"\nworn_out_below = 0.3\nevidence_min = 5\n')
    environment = {"ASKAGAIN_HORIZON": "2d", "ASKAGAIN_WORN_OUT_BELOW": "0.2", "OTHER": "1"}
    got = load_settings(path, environment, {"horizon": "1d", "until_next_appeal": "true"})
    assert got.horizon_ms == 86_400_000
    assert (got.worn_out_below, got.evidence_min, got.until_next_appeal) == (0.2, 5.0, True)
    assert got.fresh_above == Settings().fresh_above


def test_without_a_file_the_defaults_hold() -> None:
    assert load_settings(None, {}, {}) == Settings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"horizn": "1d"}, "unknown setting 'horizn', expected one of .*'horizon'"),
        ({"horizon_ms": 5}, "unknown setting 'horizon_ms'"),
        ({"horizon": 7}, "horizon: expected a duration"),
        ({"horizon": "1s"}, "horizon: expected from 1m to 732d, got 1s"),
        ({"horizon": "200w"}, "horizon: expected from 1m"),
        ({"horizon": "1h", "allowed_lateness": "2h"}, "at most the horizon .1h., got 2h"),
        ({"worn_out_below": 0.9}, "expected in rising order, got 0.9, 0.85, 1.15"),
        ({"worn_out_below": "x"}, "worn_out_below"),
        ({"worn_out_below": -1}, "worn_out_below"),
        ({"false_discovery_rate": 1}, "false_discovery_rate"),
        ({"open_appeals_max": 0}, "open_appeals_max"),
        ({"exit_price": float("nan")}, "exit_price"),
        ({"exit_price": float("inf")}, "exit_price"),
        ({"evidence_min": float("inf")}, "evidence_min"),
        ({"rising_above": float("inf")}, "rising_above"),
    ],
)
def test_a_wrong_setting_says_what_and_where(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^here: .*{message}"):
        settings_from(values, "here")


@pytest.mark.parametrize("text", ["[settings", "settings = 3", "[settings]\nhorizon = [1]"])
def test_a_wrong_file_says_so(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match="askagain.toml"):
        load_settings(path, {}, {})


def test_an_absent_or_binary_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a readable TOML file"):
        load_settings(tmp_path / "absent.toml", {}, {})
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="expected a readable TOML file"):
        load_settings(path, {}, {})


def test_a_wrong_variable_names_the_environment() -> None:
    with pytest.raises(ConfigError, match="^environment: horizon"):
        load_settings(None, {"ASKAGAIN_HORIZON": "soon"}, {})


_CHANGES: dict[str, Any] = {
    "horizon_ms": 86_400_000,
    "allowed_lateness_ms": 0,
    "until_next_appeal": True,
    "fresh_above": 0.8,
    "worn_out_below": 0.3,
    "rising_above": 1.2,
    "false_discovery_rate": 0.05,
}


@given(st.sampled_from(msgspec.structs.fields(Settings)))
def test_the_fingerprint_changes_with_every_setting(field: Any) -> None:
    value = _CHANGES.get(field.name, getattr(Settings(), field.name) + 1)
    changed = msgspec.structs.replace(Settings(), **{field.name: value})
    assert changed.fingerprint() != Settings().fingerprint()
    assert len(changed.fingerprint()) == 16
