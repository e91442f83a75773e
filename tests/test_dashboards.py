"""Dashboards: what is committed is what the code makes, and every panel finds data."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from grafana import FILES, chosen, empty_panels, targets
from monitoring import METRICS, alerting, wait_for

from metrics.catalog import CATALOG
from replay.simulate import write_simulation

KIND = 'say "please" </script> \N{ROCKET} ${kind} $kind'
APPEALER = 'the "one" \\ and\nonly </script>'


def test_committed_files_are_what_the_code_makes() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="pip install -e .[dev]")
    from metrics.dashboards.write import texts

    made = texts()
    assert sorted(made) == [path.name for path in FILES]
    for path in FILES:
        message = f"{path.name}: python -m metrics.dashboards.write"
        assert path.read_text(encoding="utf-8") == made[path.name], message


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_metric_shown_exists(path: Path) -> None:
    rules = (METRICS / "rules" / "askagain.yml").read_text(encoding="utf-8")
    for _, target in targets(path):
        for name in re.findall(r"\baskagain_\w+", target["expr"]):
            assert re.sub(r"_bucket$", "", name) in CATALOG, name
        for name in re.findall(r"askagain:[\w:]+", target["expr"]):
            assert f"- record: {name}\n" in rules, name


def test_every_metric_is_shown_somewhere_or_said_to_be_for_rules() -> None:
    shown = "".join(target["expr"] for path in FILES for _, target in targets(path))
    rules = (METRICS / "rules" / "askagain.yml").read_text(encoding="utf-8")
    assert [name for name in CATALOG if name not in shown + rules] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_say_what_they_show_and_have_numbers(path: Path) -> None:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert all(panel["description"].endswith(".") and panel["title"] for panel in shown)
    corners = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(corners)) == len(corners)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.integration
def test_every_panel_finds_data_after_a_replay_of_strange_names(tmp_path: Path) -> None:
    strange_world(tmp_path)
    with alerting(tmp_path, "classic", 0) as (_, prometheus, heard):
        wait_for("an alert", lambda: heard.firing("AskagainResponseRateFalling"))
        wait_for("a scrape", lambda: prometheus.query("askagain_appeals_total"))
        empty = empty_panels(prometheus, time.time(), 60.0, "1m")
        if empty:  # the first scrapes may have been slow
            time.sleep(5)
            empty = empty_panels(prometheus, time.time(), 60.0, "1m")
        assert empty == []
        assert chosen(prometheus, FILES[0])["kind"] == KIND


def strange_world(folder: Path) -> None:
    """Write a classic world with rejects in which a kind and an appealer have strange names."""
    write_simulation("classic", 7, 700, folder)
    events = folder / "events.jsonl"
    text = events.read_text(encoding="utf-8")
    text = text.replace('"kind-0"', json.dumps(KIND)).replace('"p0000089"', json.dumps(APPEALER))
    first = text.split("\n", 1)[0]
    events.write_text("not JSON\n" + first + "\n" + text, encoding="utf-8")
