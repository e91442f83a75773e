"""Every metric there is: name, type, labels, help. What is not in here cannot be exported.

Base units (seconds, ratios), one prefix, no person as a label: `appealer` stands only on the few
series that matter most (how many is the exporter's caller's choice), with `series`, a short digest
that queries can name whatever characters an appealer's name is made of.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["CATALOG", "PREFIX", "Metric"]

PREFIX = "askagain_"

# Where a decision changes: 10 ms is a block at full speed, 200 ms is what a scrape may take, 1 s
# delays nobody, 5 s is felt by Kafka's heartbeat (10 s session), 60 s is a rebalance.
APPLY_BUCKETS = (0.001, 0.01, 0.05, 0.2, 1.0, 5.0, 10.0, 60.0)

_KIND = ("community", "kind")
_CURVE = ("community", "kind", "axis", "repeat")
_SERIES = ("series", "community", "appealer", "kind")
_PARTITION = ("stage", "partition")


class Metric(NamedTuple):
    """One metric: what a sample is called, what it is, what tells its samples apart."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, labels: tuple[str, ...], text: str) -> list[Metric]:
    return [Metric(f"{PREFIX}{name}_total", "counter", labels, text)]


def _gauge(name: str, labels: tuple[str, ...], text: str) -> list[Metric]:
    return [Metric(PREFIX + name, "gauge", labels, text)]


def _interval(name: str, unit: str, labels: tuple[str, ...], text: str) -> list[Metric]:
    """Make three gauges: an estimate and the ends of its 90 % interval."""
    return [
        *_gauge(f"{name}_{unit}", labels, text),
        *_gauge(f"{name}_low_{unit}", labels, f"{text} Lower end of the 90 % interval."),
        *_gauge(f"{name}_high_{unit}", labels, f"{text} Upper end of the 90 % interval."),
    ]


_METRICS = [
    # What was asked and what came.
    *_counter("appeals", _KIND, "Appeals put."),
    *_counter("responses", _KIND, "Responses by the latest checkpoints, exits apart."),
    *_counter("exits", _KIND, "Responses that cost: unsubscribes, blocks, complaints."),
    *_counter("response_value", _KIND, "Value of the responses, in the stream's own unit."),
    *_gauge("exit_price", (), "What an exit costs, in responses or their value; 1: not set."),
    *_counter("events", ("fate",), "Events read, by what became of them."),
    *_counter("rejects", ("reason",), "Events rejected, by reason."),
    # What was learned.
    *_interval("kind_retention", "ratio", _CURVE, "Retention at a repeat, worn out on one axis."),
    *_interval("axis_half_life", "seconds", ("community", "axis"), "Rest that halves wear-out."),
    *_interval("crowd_retention", "ratio", _KIND, "What others' appeals leave a newcomer now."),
    *_gauge("first_response_ratio", _KIND, "Responses per person reached by first appeals."),
    *_interval("level", "ratio", ("community",), "Level of everybody's response; 1 is normal."),
    *_gauge("completion_ratio", ("community", "age_seconds"), "Share of responses in by an age."),
    *_interval("surge", "ratio", _KIND, "Share of responses set off by earlier ones."),
    # Series.
    *_gauge("series", (*_KIND, "state", "basis"), "Series by state and basis of their verdict."),
    *_gauge("worn_series", (*_KIND, "axis"), "Series tiring or worn out, by the axis that did it."),
    *_interval("series_retention", "ratio", _SERIES, "Retention of a series that matters most."),
    *_gauge("series_evidence", _SERIES, "E-value against the series being as fresh as ever."),
    *_gauge("series_wait_seconds", _SERIES, "Event time until asking again is expected to work."),
    *_gauge("series_repeat", _SERIES, "Which appeal of the series the verdict speaks of."),
    *_counter("series_responses", _SERIES, "Responses to the series' appeals, once closed."),
    *_counter("series_expected_responses", _SERIES, "Responses expected of them beforehand."),
    *_counter("series_as_new_responses", _SERIES, "Responses expected of them were nobody tired."),
    *_gauge(
        "series_info",
        (*_SERIES, "state", "basis", "action", "reason"),
        "The verdict in words; always 1.",
    ),
    # Appeals under way.
    *_gauge("under_way_appeals", _KIND, "Appeals still drawing responses."),
    *_gauge("under_way_response_ratio", _KIND, "Their responses to those expected at their ages."),
    *_gauge("under_way_low_appeals", _KIND, "Appeals heading for less than was thought possible."),
    # Is the model any good?
    *_gauge("model_log_score", ("community", "model"), "Mean log predictive probability of late."),
    *_gauge("forecast_inside_ratio", ("community",), "Outcomes of late inside the 90 % interval."),
    *_gauge("model_drift", ("community",), "1 while the model is found not to fit any more."),
    # Is the stream flowing?
    *_gauge("watermark_timestamp_seconds", _PARTITION, "Event time before which all is known."),
    *_gauge("event_lag_seconds", _PARTITION, "How far the watermark is behind the newest event."),
    *_gauge("lag_messages", _PARTITION, "Messages in the log not read yet."),
    *_gauge("open_appeals", ("partition",), "Appeals that still draw responses."),
    *_gauge("held_responses", ("partition",), "Responses held until their appeal comes."),
    *_gauge("misplaced_events", ("partition",), "Events that stood in the wrong partition."),
    *_gauge("series_unlabelled", ("community",), "Series beyond those that have labels."),
    *_gauge("labels_dropped", ("label",), "Values beyond the cap of a label, told apart to 10000."),
    Metric(
        f"{PREFIX}apply_duration_seconds",
        "histogram",
        ("stage",),
        "Time to apply a block of events or messages.",
        APPLY_BUCKETS,
    ),
    *_gauge("settings_info", ("version", "fingerprint"), "What runs, under which settings; 1."),
]

CATALOG: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
