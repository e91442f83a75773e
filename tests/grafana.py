"""What Grafana makes of a dashboard's variables and queries, as far as our dashboards need it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from monitoring import METRICS, Prometheus

FILES = sorted((METRICS / "dashboards").glob("*.json"))


def targets(path: Path) -> list[tuple[str, dict[str, Any]]]:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return [(panel["title"], one) for panel in panels for one in panel.get("targets", ())]


def doublequoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def filled_in(expression: str, values: dict[str, str], rate_interval: str = "1m") -> str:
    """Put variables into a query, in one pass: what a value holds is not looked at again."""
    builtin = {"__rate_interval": rate_interval}

    def one(found: re.Match[str]) -> str:
        name, form = found["plain"] or found["name"], found["form"]
        if name in builtin:
            return builtin[name]
        return doublequoted(values[name]) if form == "doublequote" else values[name]

    pattern = r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::(?P<form>\w+))?\})"
    return re.sub(pattern, one, expression)


def offered(
    prometheus: Prometheus, variable: dict[str, Any], values: dict[str, str], at_s: float | None
) -> list[Any]:
    """Return what a query variable offers: label_values or query_result, then its regex."""
    query = filled_in(variable["query"], values)
    if inner := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
        return sorted({row["metric"][inner[2]] for row in prometheus.query(inner[1], at_s)})
    inner = re.fullmatch(r"query_result\((.*)\)", query)
    assert inner, query
    taken = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    found = []
    for row in prometheus.query(inner[1], at_s):
        labels = ",".join(f'{name}="{text}"' for name, text in sorted(row["metric"].items()))
        match = taken.search(f"{{{labels}}} {row['value'][1]} {row['value'][0]}")
        assert match, labels
        found.append((match["text"], match["value"]))
    return found


def chosen(prometheus: Prometheus, path: Path, at_s: float | None = None) -> dict[str, str]:
    """Return a value for every variable, one with quotes in it where there is one."""
    values: dict[str, str] = {}
    for variable in json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "query":
            offers = offered(prometheus, variable, values, at_s)
            strange = [one for one in offers if '"' in (one if isinstance(one, str) else one[0])]
            first = (strange or offers)[0]
            values[name] = first if isinstance(first, str) else first[1]
        elif variable["type"] == "custom":
            values[name] = variable["current"]["value"]
    return values


def empty_panels(
    prometheus: Prometheus, at_s: float, span_s: float, rate_interval: str
) -> list[tuple[str, str, str]]:
    """Return file, title and query of every query that finds nothing in the time before `at_s`."""
    empty = []
    for path in FILES:
        values = chosen(prometheus, path, at_s)
        for title, target in targets(path):
            query = filled_in(target["expr"], values, rate_interval)
            if target.get("instant"):
                found = prometheus.query(query, at_s)
            else:
                found = prometheus.range(query, at_s - span_s, at_s, span_s / 30.0)
            if not found:
                empty.append((path.stem, title, query))
    return empty
