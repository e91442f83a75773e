"""Back-fill to the end: a question put to Prometheus about a past day gets that day's answer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from grafana import FILES, empty_panels, targets
from monitoring import METRICS, program, prometheus
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from metrics.exporter import Exporter
from metrics.openmetrics import Backfill
from replay.driver import replay
from replay.output import Output
from replay.reader import read_lines, source_names
from replay.simulate import write_simulation
from replay.watch import Watch
from streams.pipeline import Pipeline
from streams.settings import Settings

DAY_S = 86_400


class Heard(Backfill):
    """A back-fill that remembers what it wrote, by the midnight after: (name, labels) to value."""

    def __init__(self, exporter: Exporter, path: Path) -> None:
        super().__init__(exporter, path)
        self.days: dict[int, dict[tuple[str, ...], float]] = {}

    def write(self, time_ms: int) -> None:
        super().write(time_ms)
        self.days[-(-time_ms // 86_400_000) * DAY_S] = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in self.exporter.collect()
            for sample in family.samples
            if family.type != "histogram"
        }


class History(NamedTuple):
    """A file, and what was true when."""

    path: Path
    days: dict[int, dict[tuple[str, ...], float]]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("history")
    write_simulation("classic", 7, 150, folder)
    return written(folder, folder / "metrics.txt")


def written(folder: Path, path: Path) -> History:
    exporter, pipeline = Exporter(), Pipeline(Settings())
    events = str(folder / "events.jsonl")
    with Heard(exporter, path) as backfill:
        watch = Watch(pipeline, exporter, backfill)
        replay(
            pipeline,
            {source_names([events])[0]: read_lines(events)},
            Output(None),
            step_ms=watch.step_ms,
            on_facts=watch.on_facts,
            on_progress=watch.on_progress,
        )
        watch.finish()
    return History(path, backfill.days)


def test_the_file_is_openmetrics_with_the_streams_own_times(history: History) -> None:
    times: dict[tuple[str, ...], list[float]] = {}
    for family in text_string_to_metric_families(history.path.read_text(encoding="utf-8")):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.values()))
            times.setdefault(key, []).append(float(sample.timestamp))
            assert sample.value == then(history, float(sample.timestamp))[key]
    assert all(sorted(set(one)) == one for one in times.values())
    said = times[("askagain_events_total", "appeals")]
    gaps = [later - sooner for sooner, later in zip(said, said[1:], strict=False)]
    assert len(said) >= 15 and max(gaps) == DAY_S
    assert not any(name.startswith("askagain_apply") for name, *_ in times)


def test_the_file_is_the_same_again(history: History, tmp_path: Path) -> None:
    again = written(history.path.parent, tmp_path / "again.txt")
    assert again.path.read_bytes() == history.path.read_bytes()


def then(history: History, at_s: float) -> dict[tuple[str, ...], float]:
    """Return what was last said by then."""
    return history.days[max(day for day in history.days if day <= at_s)]


@pytest.mark.integration
def test_prometheus_answers_for_then(history: History, tmp_path: Path) -> None:
    make = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*make, history.path, tmp_path / "data"], check=True, capture_output=True)
    config = (METRICS / "prometheus-history.yml").read_text(encoding="utf-8")
    options = ["--query.lookback-delta=1439m", "--storage.tsdb.retention.time=100y"]
    with prometheus(tmp_path, config, *options) as running:
        days = sorted(history.days)
        for then_s in (days[len(days) // 3], days[2 * len(days) // 3]):
            for late_s in (0.0, 3600.0, 86_000.0):
                rows = running.query('{__name__=~"askagain_.+"}', then_s + late_s)
                assert rows_of(rows) == pytest.approx(history.days[then_s], rel=1e-12)
        empty = {query for *_, query in empty_panels(running, days[-1] + 60.0, 10.0 * DAY_S, "4d")}
        assert empty <= not_history()
        assert running.query("askagain_appeals_total") == []  # nothing is known of now


def not_history() -> set[str]:
    """Return the queries on rejects (there are none), on alerts, and on how long things took."""
    every = [target["expr"] for path in FILES for _, target in targets(path)]
    queries = (query.replace("$__rate_interval", "4d") for query in every)
    return {query for query in queries if re.search("apply_duration|_rejects_|^ALERTS", query)}


def rows_of(rows: list[dict[str, object]]) -> dict[tuple[str, ...], float]:
    found = {}
    for row in rows:
        labels = dict(row["metric"])  # type: ignore[call-overload]
        name = labels.pop("__name__")
        found[name, *sorted(labels.values())] = float(row["value"][1])  # type: ignore[index]
    return found
