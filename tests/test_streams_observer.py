"""The observer: its counters are the stream's fates, what is over goes away, and it stays small."""

from __future__ import annotations

import timeit
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from monitoring import fetch, free_port
from prometheus_client import CollectorRegistry, generate_latest

from metrics.exporter import Exporter
from replay.driver import Progress, Replayed, replay
from replay.output import Output
from replay.reader import read_lines, source_names
from replay.simulate import write_simulation
from replay.watch import Watch, watching
from streams.events import Estimate, Verdict
from streams.observed import REASON_AXES, Rows, Sums, current_verdicts, series_rows
from streams.observer import Observer
from streams.pipeline import Pipeline
from streams.settings import ConfigError, Settings
from streams.telemetry import CollectorProgress

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000


def rows_of(exporter: Exporter, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in exporter.collect()
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exporter, Pipeline, Replayed]:
    """Return what was shown at the end of a small replay with some rejects."""
    folder = tmp_path_factory.mktemp("observed")
    write_simulation("classic", 3, 120, folder)
    events = folder / "events.jsonl"
    events.write_text("not JSON\n" + events.read_text(encoding="utf-8"), encoding="utf-8")
    exporter, pipeline = Exporter(), Pipeline(Settings())
    watch = Watch(pipeline, exporter)
    replayed = replay(
        pipeline,
        {source_names([str(events)])[0]: read_lines(str(events))},
        Output(None),
        step_ms=watch.step_ms,
        on_facts=watch.on_facts,
        on_progress=watch.on_progress,
    )
    watch.finish()
    return exporter, pipeline, replayed


def test_counters_add_up_to_the_fates(watched: tuple[Exporter, Pipeline, Replayed]) -> None:
    exporter, _, replayed = watched
    read = rows_of(exporter, "askagain_events_total")
    assert sum(read.values()) == replayed.fates["read"]
    assert read["appeals",] == replayed.fates["appeals"]
    rejects = rows_of(exporter, "askagain_rejects_total")
    assert {name: number for (name,), number in rejects.items()} == {"not_json": 1.0}
    appeals = rows_of(exporter, "askagain_appeals_total")
    assert sum(appeals.values()) == replayed.fates["appeals"]
    # Those of the last checkpoints; what came since is counted with the next.
    seen = sum(rows_of(exporter, "askagain_responses_total").values())
    assert 0.9 * replayed.fates["responses"] < seen <= replayed.fates["responses"]


def test_series_and_verdicts_agree(watched: tuple[Exporter, Pipeline, Replayed]) -> None:
    exporter, pipeline, _ = watched
    verdicts = pipeline.learner.communities["simulated"].series.verdicts()
    assert sum(rows_of(exporter, "askagain_series").values()) == len(verdicts)
    shown = rows_of(exporter, "askagain_series_retention_ratio")
    unlabelled = rows_of(exporter, "askagain_series_unlabelled")["simulated",]
    assert len(shown) + unlabelled == len(verdicts)
    by_name = {(one.appealer, one.kind): one.retention for one in verdicts}
    assert all(by_name[labels[2:]] == value for labels, value in shown.items())


def test_every_learned_metric_is_there(watched: tuple[Exporter, Pipeline, Replayed]) -> None:
    exporter, _, _ = watched
    for name in (
        "askagain_kind_retention_low_ratio",
        "askagain_axis_half_life_high_seconds",
        "askagain_first_response_ratio",
        "askagain_level_ratio",
        "askagain_completion_ratio",
        "askagain_surge_ratio",
        "askagain_under_way_response_ratio",
        "askagain_model_log_score",
        "askagain_forecast_inside_ratio",
        "askagain_model_drift",
    ):
        assert rows_of(exporter, name), name
    repeats = {labels[3] for labels in rows_of(exporter, "askagain_kind_retention_ratio")}
    assert repeats == {str(repeat) for repeat in range(2, 11)}
    scores = {labels[1] for labels in rows_of(exporter, "askagain_model_log_score")}
    assert {"askagain", "always_as_new"} <= scores


def observer() -> tuple[Observer, Exporter]:
    exporter = Exporter()
    return Observer(exporter, Settings(), "1", lambda: NOW_MS), exporter


def progress(partition: int, **fates: int) -> CollectorProgress:
    return CollectorProgress(partition, NOW_MS - 5_000, 7, 3, 2, 1, fates)


def test_what_a_restored_collector_had_counted_is_not_counted_again() -> None:
    watching_it, exporter = observer()
    watching_it.collector(progress(0, responses=1_000_000, late=5))
    watching_it.collector(progress(0, responses=1_000_010, late=6))
    assert rows_of(exporter, "askagain_events_total") == {("rejected",): 1.0, ("responses",): 10.0}
    assert rows_of(exporter, "askagain_event_lag_seconds") == {("collector", "0"): 5.0}


def test_a_partition_that_went_elsewhere_is_shown_no_more() -> None:
    watching_it, exporter = observer()
    for partition in (0, 1):
        watching_it.collector(progress(partition, responses=1))
    watching_it.forget_collector(0)
    assert rows_of(exporter, "askagain_open_appeals") == {("1",): 3.0}
    assert list(rows_of(exporter, "askagain_watermark_timestamp_seconds")) == [("collector", "1")]


def estimate(stage: str, mean: float, low: float, high: float, responses: int = 0) -> Estimate:
    return Estimate("c", "a1", stage, NOW_MS, 0.5, 0.4, 0.6, mean, low, high, responses)


def test_an_appeal_is_low_when_even_the_most_is_far_below_the_least() -> None:
    watching_it, _ = observer()
    watching_it.facts(0, [estimate("prior", 100.0, 50.0, 150.0)])
    outlook = watching_it._of(0).outlooks["a1"]
    assert outlook.as_new == 200.0
    watching_it.facts(0, [estimate("early", 40.0, 30.0, 49.0)])
    assert not outlook.low
    watching_it.facts(0, [estimate("early", 10.0, 5.0, 24.0)])
    assert outlook.low
    watching_it.facts(0, [estimate("final", 10.0, 5.0, 24.0, 10)])
    assert not watching_it._of(0).outlooks


def verdict(number: int, state: str, basis: str, retention: float) -> Verdict:
    reason = f"{list(REASON_AXES)[number % 3]}: 3 appeals in 9 days"
    low, high = retention * 0.8, retention * 1.2
    when = NOW_MS - DAY_MS
    name = f"appealer {number}"
    return Verdict(
        when, "c", name, "k", 3, state, basis, retention, low, high, 30.0, reason, "rest", NOW_MS
    )


def test_confirmed_and_worst_come_first() -> None:
    verdicts = [
        verdict(0, "fresh", "expected", 0.1),
        verdict(1, "worn_out", "expected", 0.2),
        verdict(2, "tiring", "confirmed", 0.6),
        verdict(3, "worn_out", "confirmed", 0.3),
    ]
    rows = Rows()
    series_rows(rows, verdicts, lambda _: Sums(), NOW_MS, 3)
    shown = [labels[2] for labels in rows["askagain_series_retention_ratio"]]
    assert shown == ["appealer 3", "appealer 2", "appealer 1"]
    assert rows["askagain_series_unlabelled"] == {("c",): 1.0}
    assert sum(rows["askagain_series"].values()) == 4.0
    assert rows["askagain_worn_series"] == {
        ("c", "k", "kind"): 1.0,
        ("c", "k", "crowd"): 1.0,
        ("c", "k", "own"): 1.0,
    }


def test_a_series_is_over_when_nobody_goes_on_and_its_rest_has_passed(
    watched: tuple[Exporter, Pipeline, Replayed],
) -> None:
    community = watched[1].learner.communities["simulated"]
    verdicts = community.series.verdicts()
    until_ms = watched[1].learner.watermark_ms()
    assert current_verdicts(community, until_ms) == verdicts
    later_ms = until_ms + 92 * DAY_MS
    resting = [one for one in verdicts if (one.ask_again_at_ms or 0) > later_ms]
    assert current_verdicts(community, later_ms) == resting


def test_reasons_name_the_axis_as_verdicts_do() -> None:
    from models.verdict import Standing, Thresholds, rule

    for axis in ("own", "kind", "crowd"):
        standing = Standing("fresh", 1.0, 4, 0.31, 0.22, 0.44, 0.52, appeals=3, days=9.0)
        ruling = rule(msgspec.structs.replace(standing, **{axis: -1.1}), Thresholds())
        assert REASON_AXES[ruling.reason.partition(":")[0]] == axis


def test_a_hundred_thousand_series_stay_small_and_quick() -> None:
    states = (("worn_out", "confirmed"), ("tiring", "expected"), ("fresh", "expected"))
    verdicts = [
        verdict(number, *states[number % 3], 0.2 + number % 97 / 100.0) for number in range(100_000)
    ]
    registry = CollectorRegistry()
    exporter = Exporter(registry)
    tracemalloc.start()
    rows = Rows()
    series_rows(rows, verdicts, lambda _: None, NOW_MS, 50)
    for name, table in rows.items():
        exporter.replace(name, table, "learner 0")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    text = generate_latest(registry)
    assert min(timeit.repeat(lambda: generate_latest(registry), number=1, repeat=3)) < 0.2
    assert len(text) < 1_000_000 and kept < 2_000_000
    assert rows_of(exporter, "askagain_series_unlabelled") == {("c",): 99_950.0}


def test_metrics_are_served_while_a_replay_runs_and_written_when_it_ends(tmp_path: Path) -> None:
    write_simulation("classic", 3, 40, tmp_path)
    events, file, port = str(tmp_path / "events.jsonl"), tmp_path / "metrics.txt", free_port()
    pipeline = Pipeline(Settings())
    scraped: list[bytes] = []
    with watching(pipeline, openmetrics=file, serve_at=f":{port}") as watch:
        assert watch is not None

        def on_progress(progress: Progress) -> None:
            watch.on_progress(progress)
            if len(scraped) < 3:
                scraped.append(fetch(f"http://127.0.0.1:{port}/metrics"))

        replay(
            pipeline,
            {source_names([events])[0]: read_lines(events)},
            Output(None),
            step_ms=watch.step_ms,
            on_facts=watch.on_facts,
            on_progress=on_progress,
        )
    assert all(b"askagain_events_total{" in text for text in scraped) and len(scraped) == 3
    assert fetch(f"http://127.0.0.1:{port}/metrics") is None
    text = file.read_text(encoding="utf-8")
    assert 'askagain_events_total{fate="appeals"} 40.0' in text and text.endswith("# EOF\n")


def test_wrong_addresses_and_folders_are_said_before_anything_is_read(tmp_path: Path) -> None:
    for serve_at in ("9108", "localhost:no", ":70000", "256.0.0.1:1"):
        with (
            pytest.raises(ConfigError, match="metrics to"),
            watching(Pipeline(Settings()), serve_at=serve_at),
        ):
            pass
    with (
        pytest.raises(ConfigError, match="metrics to"),
        watching(Pipeline(Settings()), openmetrics=tmp_path / "none" / "metrics.txt"),
    ):
        pass
