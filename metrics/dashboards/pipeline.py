"""The pipeline: does it flow, what is thrown away, and does the model still fit?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from metrics.dashboards.parts import Line, board, figures, lines, rows

__all__ = ["pipeline"]


def pipeline() -> dashboard.Dashboard:
    """Return the dashboard for whoever runs it."""
    made = board(
        "askagain-pipeline",
        "askagain: pipeline",
        "Does the stream flow, what is rejected, does the model still fit?",
        [],
    )
    _flow(made)
    _held(made)
    _model(made)
    return made


def _flow(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Flow"))
    made.with_panel(
        figures(
            "Learned until",
            "Event time before which everything has been learned.",
            [Line('min(askagain_watermark_timestamp_seconds{stage="learner"}) * 1000', "until")],
            "dateTimeAsIso",
            width=8,
        )
    )
    made.with_panel(
        figures(
            "Rejected, last hour",
            "Share of the events read.",
            [Line("askagain:rejects:ratio1h or vector(0)", "rejected")],
            "percentunit",
            width=8,
        )
    )
    made.with_panel(
        figures(
            "Beyond labels",
            "Series and values without labels of their own: counted, not shown.",
            [
                Line("sum(askagain_series_unlabelled)", "series"),
                Line("sum by (label) (askagain_labels_dropped) or vector(0)", "{{label}}"),
            ],
            width=8,
        )
    )
    rate = "[$__rate_interval]"
    for title, text, line, unit in (
        (
            "Events read",
            "A second, by what became of them.",
            Line(f"sum by (fate) (rate(askagain_events_total{rate}))", "{{fate}}"),
            "cps",
        ),
        (
            "Rejects",
            "A second, by reason.",
            Line(f"sum by (reason) (rate(askagain_rejects_total{rate}))", "{{reason}}"),
            "cps",
        ),
        (
            "Event lag",
            "How far the watermark is behind: the allowed lateness, and what waits.",
            Line("askagain_event_lag_seconds", "{{stage}} {{partition}}"),
            "s",
        ),
        (
            "Lag in messages",
            "Messages in the log not read yet.",
            Line("askagain_lag_messages", "{{stage}} {{partition}}"),
            "short",
        ),
    ):
        made.with_panel(lines(title, text, [line], unit))


def _held(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Held"))
    made.with_panel(
        lines(
            "Held in memory",
            "Open appeals, responses whose appeal has not come, and events that were misplaced.",
            [
                Line("askagain_open_appeals", "open appeals {{partition}}"),
                Line("askagain_held_responses", "held responses {{partition}}"),
                Line("askagain_misplaced_events", "misplaced {{partition}}"),
            ],
        )
    )
    buckets = "sum by (le, stage) (rate(askagain_apply_duration_seconds_bucket[$__rate_interval]))"
    made.with_panel(
        lines(
            "Time to apply a block",
            "Half and 99 % are quicker than this.",
            [
                Line(f"histogram_quantile(0.5, {buckets})", "half, {{stage}}"),
                Line(f"histogram_quantile(0.99, {buckets})", "99 %, {{stage}}"),
            ],
            "s",
            logarithmic=True,
        )
    )


def _model(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Model"))
    made.with_panel(
        lines(
            "Log score",
            "Mean log predictive probability of late appeals: the highest foretells best.",
            [Line("askagain_model_log_score", "{{community}} {{model}}")],
        )
    )
    made.with_panel(
        lines(
            "Outcomes inside the 90 % interval",
            "Of late. 0.9 is right; the flag says that the watch on the fit has struck.",
            [
                Line("askagain_forecast_inside_ratio", "{{community}}"),
                Line("askagain_model_drift", "drift {{community}}"),
            ],
            "percentunit",
        )
    )
    made.with_panel(
        rows(
            "What runs",
            "Versions and fingerprints of settings. More than one of either is worth a look.",
            [
                Line("count by (version, fingerprint) (askagain_settings_info)", "workers"),
                Line("max by (fingerprint) (askagain_settings_info)"),
            ],
            "fingerprint",
            hide=("Value #B",),
        ).height(5)
    )
