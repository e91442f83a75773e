"""What the exporter shows: the golden exposition, strange names, limits, and how long it takes."""

from __future__ import annotations

import shutil
import subprocess
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from metrics.catalog import CATALOG, PREFIX, Metric
from metrics.exporter import OTHER, VALUE_BYTES_MAX, Exporter, label_value, series_id

NASTY = [
    'say "please"',
    "two\nlines",
    "back\\slash",
    "\N{FACE WITH TEARS OF JOY}\N{WOMAN}\u200d\N{ROCKET}",
    "n" * 256,
    "n" * 255 + "m",
    "\N{PILE OF POO}" * 256,
    '"' * 256,
    "</script><script>alert(1)</script>",
    "{{ .Labels }} $kind ${kind} %d",
    "\u202eright to left",
    "a\x00b\x7f\x85",
    "",
]
# The one place where a person may be named: the few series that matter most.
SERIES_ONLY = {"appealer", "series", "reason", "action"}


def shown(exporter: Exporter) -> bytes:
    registry = CollectorRegistry()
    registry.register(exporter)
    return generate_latest(registry)


def rows(text: bytes, name: str) -> list[tuple[dict[str, str], float]]:
    families = text_string_to_metric_families(text.decode())
    samples = (sample for family in families for sample in family.samples)
    return [(sample.labels, sample.value) for sample in samples if sample.name == name]


def every_metric(exporter: Exporter) -> None:
    """Give every metric of the catalogue two rows."""
    for number, metric in enumerate(CATALOG.values(), start=1):
        labels = tuple(f"some {name}" for name in metric.labels)
        if metric.type == "histogram":
            exporter.observe(metric.name, 0.03, *labels)
        elif metric.type == "counter":
            exporter.add(metric.name, number, *labels)
            exporter.add(metric.name, number / 4, *(f'{text} "x" \\ \n' for text in labels))
        elif metric.name != "askagain_labels_dropped":
            nasty = tuple(f"{text} </script>" for text in labels)
            exporter.replace(metric.name, {labels: number / 8, nasty: 1e300})


def test_exposition_is_the_golden_one(golden: Callable[[str, bytes], None]) -> None:
    exporter = Exporter(kinds_max=2)
    every_metric(exporter)
    golden("exposition.txt", shown(exporter))


def test_promtool_finds_nothing_to_complain_of() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: sh tests/tools.sh")
    exporter = Exporter()
    every_metric(exporter)
    run = subprocess.run([promtool, "check", "metrics"], input=shown(exporter), capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@pytest.mark.parametrize("metric", CATALOG.values(), ids=CATALOG)
def test_catalogue_keeps_the_conventions(metric: Metric) -> None:
    assert metric.name.startswith(PREFIX)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert metric.help.endswith(".") and "\n" not in metric.help
    assert not {"responder", "audience", "appeal_id"} & set(metric.labels)
    of_series = metric.name.startswith("askagain_series_")
    assert of_series or not SERIES_ONLY & set(metric.labels) - {"reason"}
    assert bool(metric.buckets) == (metric.type == "histogram")


@pytest.mark.parametrize("name", NASTY)
def test_strange_names_come_out_as_they_are_or_marked(name: str) -> None:
    exporter = Exporter()
    labels = (series_id("c", name, name), "c", name, name)
    exporter.replace("askagain_series_retention_ratio", {labels: 0.5})
    [(found, value)] = rows(shown(exporter), "askagain_series_retention_ratio")
    assert value == 0.5
    assert found.get("appealer", "") == found.get("kind", "") == label_value(name)
    assert len(label_value(name).encode()) + label_value(name).count('"') <= VALUE_BYTES_MAX
    assert "\\" not in label_value(name) and "\n" not in label_value(name)


def test_two_names_never_become_one() -> None:
    names = [*NASTY, "two\rlines", "two\ufffdlines", "n" * 257]
    assert len({label_value(name) for name in names}) == len(names)
    pairs = [("a", "bc", "d"), ("ab", "c", "d"), ("a", "b", "cd")]
    assert len({series_id(*pair) for pair in pairs}) == 3


def test_kinds_beyond_the_cap_are_counted_together_and_left_out() -> None:
    exporter = Exporter(kinds_max=3)
    for kind in range(10):
        exporter.add("askagain_appeals_total", 1, "c", f"k{kind}")
    exporter.replace("askagain_first_response_ratio", {("c", f"k{n}"): 0.1 for n in range(10)})
    text = shown(exporter)
    appeals = {labels["kind"]: value for labels, value in rows(text, "askagain_appeals_total")}
    assert appeals == {"k0": 1, "k1": 1, "k2": 1, OTHER: 7}
    kinds = [labels["kind"] for labels, _ in rows(text, "askagain_first_response_ratio")]
    assert kinds == ["k0", "k1", "k2"]
    assert rows(text, "askagain_labels_dropped") == [({"label": "kind"}, 7.0)]


def test_communities_beyond_the_cap_leave_no_kinds() -> None:
    exporter = Exporter(communities_max=2)
    for community in range(5):
        exporter.add("askagain_appeals_total", 1, f"c{community}", "k")
    found = [labels["community"] for labels, _ in rows(shown(exporter), "askagain_appeals_total")]
    assert found == ["c0", "c1", OTHER]


def test_what_an_owner_says_no_more_goes_away() -> None:
    exporter = Exporter()
    name = "askagain_level_ratio"
    exporter.replace(name, {("a",): 1.0, ("b",): 2.0}, "learner 0")
    exporter.replace(name, {("c",): 3.0}, "learner 1")
    exporter.replace(name, {("b",): 4.0}, "learner 0")
    assert {r["community"]: v for r, v in rows(shown(exporter), name)} == {"b": 4.0, "c": 3.0}
    exporter.forget("learner 0")
    assert {r["community"]: v for r, v in rows(shown(exporter), name)} == {"c": 3.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.add("askagain_appeals_total", float("nan"), "c", "k"), "finite amount"),
        (lambda e: e.add("askagain_appeals_total", -1, "c", "k"), "finite amount"),
        (lambda e: e.add("askagain_appeals_total", 1, "c"), "expected labels"),
        (lambda e: e.add("askagain_level_ratio", 1, "c"), "expected a counter"),
        (lambda e: e.replace("askagain_nothing", {("c",): 1.0}), "of the catalogue"),
        (lambda e: e.replace("askagain_level_ratio", {("c",): float("inf")}), "finite value"),
        (lambda e: e.observe("askagain_apply_duration_seconds", float("nan"), "c"), "finite"),
    ],
)
def test_what_is_not_in_the_catalogue_or_not_finite_is_refused(
    call: Callable[[Exporter], Any], message: str
) -> None:
    exporter = Exporter()
    with pytest.raises(ValueError, match=message):
        call(exporter)
    assert shown(exporter) == b""


def test_full_exposition_stays_small_and_quick() -> None:
    """All caps full, with the longest names: what VALUE_BYTES_MAX reckons."""
    exporter = Exporter()
    kinds = [("\N{ROCKET}" * 250 + str(n % 20), '"' * 250 + str(n)) for n in range(50)]
    for metric in CATALOG.values():
        if metric.type == "histogram" or metric.name == "askagain_labels_dropped":
            continue
        if "appealer" in metric.labels:
            some = [(series_id(*k, "a"), k[0], k[1] + "a", k[1]) for k in kinds]
            table = {(*k, *("r" * 250 for _ in metric.labels[4:])): 0.123456789012 for k in some}
        elif "repeat" in metric.labels:
            axes = ("own", "kind", "crowd")
            table = {(*k, a, str(r)): 0.1234567 for k in kinds[:20] for a in axes for r in range(9)}
        elif "kind" in metric.labels:
            further = [("w" * 9, "b" * 9)[: len(metric.labels) - 2] for _ in range(1)]
            table = {(*k, *more): 1234567.0 for k in kinds for more in further}
        else:
            continue
        exporter.replace(metric.name, table)
    text = shown(exporter)
    assert min(timeit.repeat(lambda: shown(exporter), number=1, repeat=3)) < 0.2
    assert 300_000 < len(text) < 1_000_000
