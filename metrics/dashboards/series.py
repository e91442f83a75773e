"""One appealer and kind: what was asked, what came against what was expected, and when to go on."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from metrics.dashboards.parts import COMMUNITY, Line, board, figures, lines, names, rows, within

__all__ = ["series"]

# Hexadecimal digits only: no name can break out of it.
SERIES = 'series="$series"'
# The list says "appealer / kind" and chooses by digest. The digest stands behind whatever users
# named; what is greedy before it takes all of that.
OFFERED = (
    f"query_result(label_join(askagain_series_info{{{COMMUNITY}}}, "
    '"name", " / ", "appealer", "kind"))'
)
TAKEN = '/name="(?<text>.*?)",reason=.*series="(?<value>[0-9a-f]{12})"/'


def series() -> dashboard.Dashboard:
    """Return the dashboard that a series' alert leads to."""
    made = board(
        "askagain-series",
        "askagain: series",
        "One appealer's appeals of one kind. The series that matter most are offered.",
        [
            names("community", "Community", "label_values(askagain_appeals_total, community)"),
            names("series", "Series", OFFERED, TAKEN),
        ],
    )
    _verdict(made)
    _course(made)
    return made


def _verdict(made: dashboard.Dashboard) -> None:
    made.with_panel(
        figures(
            "Retention",
            "Response relative to what a first appeal would draw now, with its 90 % interval.",
            within("askagain_series_retention", "ratio", SERIES, "retention"),
            "percentunit",
            width=8,
        )
    )
    date = (
        f"(max(askagain_series_wait_seconds{{{SERIES}}}) "
        '+ max(askagain_watermark_timestamp_seconds{stage="learner"})) * 1000'
    )
    made.with_panel(
        figures(
            "Ask again",
            "From when asking again is expected to work.",
            [Line(date, "from")],
            "dateTimeAsIso",
            width=8,
        )
    )
    made.with_panel(
        figures(
            "Appeals",
            "Appeals of the series so far.",
            [Line(f"askagain_series_repeat{{{SERIES}}}", "appeals")],
            width=8,
        )
    )
    made.with_panel(
        rows(
            "Verdict",
            "In words. Basis expected: a forecast from all appeals, not yet shown by these.",
            [Line(f"askagain_series_info{{{SERIES}}}")],
            "series",
            hide=("__name__", "instance", "job", "Value", "community"),
        ).height(4)
    )


def _course(made: dashboard.Dashboard) -> None:
    made.with_panel(
        lines(
            "Retention",
            "With its 90 % interval.",
            within("askagain_series_retention", "ratio", SERIES, "retention"),
            "percentunit",
        )
    )
    made.with_panel(
        lines(
            "Responses, against expectation",
            "Of closed appeals, since counting began: what came, what was expected beforehand, and "
            "what would have been expected were nobody tired.",
            [
                Line(f"askagain_series_responses_total{{{SERIES}}}", "came"),
                Line(f"askagain_series_expected_responses_total{{{SERIES}}}", "expected"),
                Line(f"askagain_series_as_new_responses_total{{{SERIES}}}", "as new"),
            ],
        )
    )
    made.with_panel(
        lines(
            "Evidence",
            "E-value against the series being as fresh as ever. 20 is enough for a single series.",
            [Line(f"askagain_series_evidence{{{SERIES}}}", "e-value")],
            logarithmic=True,
        )
    )
    made.with_panel(
        lines(
            "Rest still needed",
            "Event time until asking again is expected to work.",
            [Line(f"askagain_series_wait_seconds{{{SERIES}}}", "rest")],
            "s",
        )
    )
