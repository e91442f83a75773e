"""The overview: which kinds wear out, the curve by repeat, the level, and what is alarming."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from metrics.dashboards.parts import (
    COMMUNITY,
    KIND,
    Line,
    board,
    choice,
    curve,
    figures,
    lines,
    names,
    rows,
    within,
)

__all__ = ["overview"]

AXIS = "axis=${axis:doublequote}"


def overview() -> dashboard.Dashboard:
    """Return the dashboard for whoever asks: does asking again still work?"""
    made = board(
        "askagain-overview",
        "askagain: overview",
        "Which kinds of appeal wear out, how fast, and whether everybody fell at once.",
        [
            names("community", "Community", "label_values(askagain_appeals_total, community)"),
            names(
                "kind", "Kind", f"label_values(askagain_kind_retention_ratio{{{COMMUNITY}}}, kind)"
            ),
            choice("axis", "Axis", "kind", "own", "crowd"),
        ],
    )
    _now(made)
    _wear_out(made)
    _level_and_pace(made)
    _series(made)
    _stream(made)
    return made


def _now(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Now"))
    made.with_panel(
        figures(
            "Alerts",
            "Alerts of askagain that fire.",
            [Line('count(ALERTS{alertname=~"Askagain.+",alertstate="firing"}) or vector(0)')],
        )
    )
    down = 'state=~"tiring|worn_out"'
    made.with_panel(
        figures(
            "Series worn, confirmed",
            "Series whose own responses say that they tire or are worn out.",
            [Line(f'sum(askagain_series{{{COMMUNITY},{down},basis="confirmed"}}) or vector(0)')],
        )
    )
    made.with_panel(
        figures(
            "Level",
            "Everybody's response relative to normal.",
            [Line(f"askagain_level_ratio{{{COMMUNITY}}}", "level")],
            "percentunit",
        )
    )
    made.with_panel(
        figures(
            "Appeals under way",
            "Appeals that still draw responses.",
            [Line(f"sum(askagain_under_way_appeals{{{COMMUNITY}}})", "appeals")],
        )
    )
    made.with_panel(
        rows(
            "Firing",
            "What metrics/RUNBOOK.md says of each: what it means, what to look at, what to do.",
            [Line('ALERTS{alertname=~"Askagain.+",alertstate="firing"}')],
            "alertname",
            hide=("__name__", "instance", "job", "Value", "alertstate", "about"),
        ).height(5)
    )


def _wear_out(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Wear-out"))
    labels = f'{COMMUNITY},{AXIS},repeat="5"'
    made.with_panel(
        rows(
            "Kinds at the fifth appeal",
            "What a fifth appeal gets of a first one's responses, by one axis alone.",
            [
                Line(f"avg by (kind) (askagain_kind_retention_ratio{{{labels}}})", "retention"),
                Line(f"avg by (kind) (askagain_kind_retention_low_ratio{{{labels}}})", "low"),
                Line(f"avg by (kind) (askagain_kind_retention_high_ratio{{{labels}}})", "high"),
                Line(f"avg by (kind) (askagain_first_response_ratio{{{COMMUNITY}}})", "first"),
            ],
            "kind",
            width=12,
        )
    )
    made.with_panel(
        curve(
            "Retention by repeat: $kind, $axis",
            "Share of a first appeal's responses that each repeat gets, at the usual gap.",
            "repeat",
            [
                Line(f"avg by (repeat) ({line.query})", line.name)
                for line in within(
                    "askagain_kind_retention", "ratio", f"{KIND},{AXIS}", "retention"
                )
            ],
        )
    )


def _level_and_pace(made: dashboard.Dashboard) -> None:
    made.with_panel(
        lines(
            "Level",
            "What happens to everybody at once, relative to normal; 90 % interval.",
            within("askagain_level", "ratio", COMMUNITY, "level"),
            "percentunit",
        )
    )
    made.with_panel(
        lines(
            "What others leave: $kind",
            "What a newcomer's first appeal gets, by the crowd's use of the kind alone.",
            within("askagain_crowd_retention", "ratio", KIND, "retention"),
            "percentunit",
        )
    )
    made.with_panel(
        lines(
            "Half-life of wear-out: $axis",
            "How long a rest must be to halve it; 90 % interval.",
            within("askagain_axis_half_life", "seconds", f"{COMMUNITY},{AXIS}", "half-life"),
            "s",
        )
    )
    made.with_panel(
        curve(
            "Completion",
            "Share of the final response that has arrived by an age (seconds).",
            "age_seconds",
            [Line(f"avg by (age_seconds) (askagain_completion_ratio{{{COMMUNITY}}})", "arrived")],
        )
    )
    made.with_panel(
        lines(
            "Surge: $kind",
            "Share of the responses that earlier ones set off; kept apart from wear-out.",
            within("askagain_surge", "ratio", KIND, "surge"),
            "percentunit",
        )
    )


def _series(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Series"))
    made.with_panel(
        lines(
            "Series by state",
            "Expected: a forecast from all appeals. Confirmed: the series' own responses say so.",
            [
                Line(
                    f"sum by (state, basis) (askagain_series{{{COMMUNITY}}})",
                    "{{state}}, {{basis}}",
                )
            ],
            stacked=True,
        )
    )
    made.with_panel(
        lines(
            "Tired series by cause",
            "Own: too many appeals. Kind: too many of this kind. Crowd: too many others.",
            [Line(f"sum by (axis) (askagain_worn_series{{{COMMUNITY}}})", "{{axis}}")],
        )
    )
    table = rows(
        "Series that matter most",
        "Confirmed and worst first. A click shows the series.",
        [
            Line(f"askagain_series_info{{{COMMUNITY}}}"),
            Line(f"max by (series) (askagain_series_retention_ratio{{{COMMUNITY}}})", "retention"),
            Line(f"max by (series) (askagain_series_evidence{{{COMMUNITY}}})", "evidence"),
            Line(f"max by (series) (askagain_series_wait_seconds{{{COMMUNITY}}})", "wait (s)"),
        ],
        "series",
        hide=("__name__", "instance", "job", "Value #A", "community"),
    )
    made.with_panel(
        table.data_links(
            [
                dashboard.DashboardLink("Show this series").url(
                    "/d/askagain-series?var-community=${community}&var-series=${__data.fields.series}"
                )
            ]
        )
    )


def _stream(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Stream"))
    for what in ("appeals", "responses", "exits"):
        made.with_panel(
            lines(
                f"{what.capitalize()} a day",
                f"{what.capitalize()} by kind.",
                [
                    Line(
                        f"sum by (kind) (rate(askagain_{what}_total{{{COMMUNITY}}}"
                        "[$__rate_interval])) * 86400",
                        "{{kind}}",
                    )
                ],
                width=8,
            )
        )
    made.with_panel(
        lines(
            "Appeals under way, against expectation",
            "Responses so far to those expected at the appeals' ages.",
            [Line(f"askagain_under_way_response_ratio{{{COMMUNITY}}}", "{{kind}}")],
            "percentunit",
        )
    )
    made.with_panel(
        lines(
            "Responses to first appeals",
            "A person reached.",
            [Line(f"askagain_first_response_ratio{{{COMMUNITY}}}", "{{kind}}")],
            "percentunit",
        )
    )
