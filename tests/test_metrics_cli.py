"""`askagain rules` and `askagain dashboards`: what they print and install is what is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from replay.cli_metrics import DASHBOARDS, METRICS, RULES, register
from streams.settings import ConfigError


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_rules_are_printed_as_they_are() -> None:
    assert run("rules").output == (METRICS / RULES[0]).read_text(encoding="utf-8")


def test_rules_link_to_the_runbook_where_it_is() -> None:
    output = run("rules", "--runbook", "https://wiki.example.org/r.md").output
    assert "runbook_url: https://wiki.example.org/r.md#askagainstreamstalled" in output
    assert "RUNBOOK.md" not in output.replace("runbook_url", "")


@pytest.mark.parametrize(("command", "names"), [("rules", RULES), ("dashboards", DASHBOARDS)])
def test_files_are_installed_and_not_replaced_unasked(
    tmp_path: Path, command: str, names: tuple[str, ...]
) -> None:
    assert run(command, tmp_path).exit_code == 0
    for name in names:
        assert (tmp_path / name).read_bytes() == (METRICS / name).read_bytes()
    assert run(command, tmp_path).exit_code == 0
    (tmp_path / names[0]).write_text("mine", encoding="utf-8")
    assert isinstance(run(command, tmp_path).exception, ConfigError)
    assert (tmp_path / names[0]).read_text(encoding="utf-8") == "mine"
    assert run(command, tmp_path, "--force").exit_code == 0
    assert (tmp_path / names[0]).read_bytes() == (METRICS / names[0]).read_bytes()


def test_dashboards_are_named_and_printed() -> None:
    assert run("dashboards").output.split() == ["overview", "series", "pipeline"]
    assert json.loads(run("dashboards", "--name", "series").output)["uid"] == "askagain-series"
    assert isinstance(run("dashboards", "--name", "none").exception, ConfigError)
