"""Dashboards: what is committed is what the code makes, and every panel finds data."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from monitoring import METRICS, Prometheus, alerting, fetch, wait_for

from metrics.catalog import CATALOG
from replay.simulate import write_simulation

FOLDER = METRICS / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))
KIND = 'say "please" </script> \N{ROCKET} ${kind} $kind'
APPEALER = 'the "one" \\ and\nonly </script>'


def targets(path: Path) -> list[tuple[str, dict[str, Any]]]:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return [(panel["title"], one) for panel in panels for one in panel.get("targets", ())]


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


# As Grafana does it.


def doublequoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def filled_in(expression: str, values: dict[str, str]) -> str:
    """Put variables into a query, in one pass: what a value holds is not looked at again."""
    builtin = {"__rate_interval": "1m", "__interval": "15s", "__range": "5m"}

    def one(found: re.Match[str]) -> str:
        name, form = found["plain"] or found["name"], found["form"]
        if name in builtin:
            return builtin[name]
        return doublequoted(values[name]) if form == "doublequote" else values[name]

    pattern = r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::(?P<form>\w+))?\})"
    return re.sub(pattern, one, expression)


def offered(prometheus: Prometheus, variable: dict[str, Any], values: dict[str, str]) -> list[Any]:
    """Return what a query variable offers: label_values or query_result, then its regex."""
    query = filled_in(variable["query"], values)
    if inner := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
        return sorted({row["metric"][inner[2]] for row in prometheus.query(inner[1])})
    inner = re.fullmatch(r"query_result\((.*)\)", query)
    assert inner, query
    taken = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    found = []
    for row in prometheus.query(inner[1]):
        labels = ",".join(f'{name}="{text}"' for name, text in sorted(row["metric"].items()))
        match = taken.search(f"{{{labels}}} {row['value'][1]} {row['value'][0]}")
        assert match, labels
        found.append((match["text"], match["value"]))
    return found


def chosen(prometheus: Prometheus, path: Path) -> dict[str, str]:
    values: dict[str, str] = {}
    for variable in json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "query":
            offers = offered(prometheus, variable, values)
            strange = [one for one in offers if '"' in (one if isinstance(one, str) else one[0])]
            first = (strange or offers)[0]
            values[name] = first if isinstance(first, str) else first[1]
        elif variable["type"] == "custom":
            values[name] = variable["current"]["value"]
    return values


@pytest.mark.integration
def test_every_panel_finds_data_after_a_replay_of_strange_names(tmp_path: Path) -> None:
    strange_world(tmp_path)
    with alerting(tmp_path, "classic", 0) as (_, prometheus, heard):
        wait_for("an alert", lambda: heard.firing("AskagainResponseRateFalling"))
        time.sleep(3)
        empty = []
        for path in FILES:
            values = chosen(prometheus, path)
            assert values.get("kind", KIND) == KIND
            for title, target in targets(path):
                query = filled_in(target["expr"], values)
                if not found(prometheus, query, instant=target.get("instant", False)):
                    empty.append((path.stem, title, query))
        assert not empty
        assert (
            fetch(f"{prometheus.url}/api/v1/targets")["data"]["activeTargets"][0]["health"] == "up"
        )


def found(prometheus: Prometheus, query: str, *, instant: bool) -> list[Any]:
    if instant:
        return prometheus.query(query)
    now_s = time.time()
    return prometheus.range(query, now_s - 60.0, now_s, 2.0)


def strange_world(folder: Path) -> None:
    """Write a classic world with rejects in which a kind and an appealer have strange names."""
    write_simulation("classic", 7, 700, folder)
    events = folder / "events.jsonl"
    text = events.read_text(encoding="utf-8")
    text = text.replace('"kind-0"', json.dumps(KIND)).replace('"p0000089"', json.dumps(APPEALER))
    first = text.split("\n", 1)[0]
    events.write_text("not JSON\n" + first + "\n" + text, encoding="utf-8")
