"""Documentation that cannot rot: what exists is documented, and what is documented works."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import typer

from replay import cli_evaluate, cli_live, cli_metrics
from replay.cli import app
from replay.output import FILES
from streams.codec import decode_event
from streams.settings import Settings, settings_from

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    whole = typer.Typer()
    whole.registered_commands = list(app.registered_commands)
    for module in (cli_evaluate, cli_live, cli_metrics):
        module.register(whole)
    return sorted(name for name in typer.main.get_command(whole).commands)


def test_every_command_is_in_the_readme():
    missing = [name for name in commands() if f"askagain {name}" not in README]
    assert missing == ["demo"]  # which stands there as `make demo`


def test_every_file_written_is_in_the_readme():
    for name in (*FILES.values(), "summary.json", "run.json"):
        assert f"`{name}`" in README


def test_the_events_shown_can_be_read():
    shown = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert len([decode_event(line.encode()) for line in shown[1].splitlines()]) == 2


def test_the_settings_shown_exist():
    shown = re.search(r"```toml\n\[settings\]\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    names = re.findall(r"^(\w+) =", shown[1], re.MULTILINE)
    known = {field.name.removesuffix("_ms") for field in msgspec.structs.fields(Settings)}
    assert names and set(names) <= known
    assert settings_from({}, "nowhere") == Settings()


def test_linked_files_exist():
    for target in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / target).exists(), target
