"""Panels, queries and variables, as all our dashboards have them.

A name that a user chose may hold quotes, so it stands in a query only as `${name:doublequote}`,
which escapes them (the exporter has seen to backslashes and newlines); a series stands there as its
digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
    trend,
)
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = ["Line", "board", "choice", "curve", "figures", "lines", "names", "rows", "within"]

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
COMMUNITY = "community=${community:doublequote}"
KIND = f"{COMMUNITY},kind=${{kind:doublequote}}"
HIDDEN = {"legend": True, "tooltip": False, "viz": False}
BAND = {"custom.lineWidth": 0, "custom.fillOpacity": 15, "custom.hideFrom": HIDDEN}


class Line(NamedTuple):
    """A query and what its lines are called."""

    query: str
    name: str = ""


def within(name: str, unit: str, labels: str, called: str) -> list[Line]:
    """Return an estimate and the band of its 90 % interval: `low` and `high` are its edges."""
    return [
        Line(f"{name}_{unit}{{{labels}}}", called),
        Line(f"{name}_low_{unit}{{{labels}}}", "low"),
        Line(f"{name}_high_{unit}{{{labels}}}", "high"),
    ]


def board(uid: str, title: str, text: str, variables: Iterable[Any]) -> dashboard.Dashboard:
    """Begin a dashboard; panels are added in reading order."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(text)
        .tags(["askagain"])
        .timezone("utc")
        .refresh("30s")
        .time("now-24h", "now")
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_to_others())
        .with_variable(dashboard.DatasourceVariable("source").label("Source").type("prometheus"))
    )
    for variable in variables:
        made.with_variable(variable)
    return made


def names(name: str, label: str, query: str, regex: str = "") -> dashboard.QueryVariable:
    """Return a variable that offers what a query finds, for one to be chosen."""
    variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE)
    variable.query(query).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.regex(regex).sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)


def choice(name: str, label: str, *values: str) -> dashboard.CustomVariable:
    """Return a variable with a few values; the first is chosen."""
    current = models.VariableOption(selected=True, text=values[0], value=values[0])
    return dashboard.CustomVariable(name).label(label).values(",".join(values)).current(current)


def lines(
    title: str,
    text: str,
    queries: Iterable[Line],
    unit: str = "short",
    *,
    width: int = 12,
    stacked: bool = False,
    logarithmic: bool = False,
) -> timeseries.Panel:
    """Return values over time; lines called `low` and `high` are drawn as a band."""
    panel = timeseries.Panel().title(title).description(text).datasource(SOURCE).unit(unit)
    panel.height(8).span(width).fill_opacity(25 if stacked else 0).span_nulls(True)
    panel.show_points(shapes.VisibilityMode.NEVER)
    if stacked:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    if logarithmic:
        scale = common.ScaleDistributionConfig().type(shapes.ScaleDistribution.LOG).log(10)
        panel.scale_distribution(scale)
    for target in _targets(queries):
        panel.with_target(target)
    _draw_band(panel)
    return panel


def curve(
    title: str, text: str, x: str, queries: list[Line], unit: str = "percentunit", width: int = 12
) -> trend.Panel:
    """Return a curve over a label's numbers, as of now, with its band."""
    panel = trend.Panel().title(title).description(text).datasource(SOURCE).unit(unit)
    panel.height(9).span(width).x_field(x).min(0)
    for target in _targets(queries, at_once=True):
        panel.with_target(target)
    columns = {f"Value #{chr(65 + i)}": line.name for i, line in enumerate(queries)}
    if len(queries) == 1:
        columns["Value"] = queries[0].name
    number = {"targetField": x, "destinationType": "number"}
    for step, options in (
        ("joinByField", {"byField": x, "mode": "outer"}),
        ("convertFieldType", {"conversions": [number]}),
        ("sortBy", {"sort": [{"field": x}]}),
        ("filterFieldsByName", {"include": {"names": [x, *columns]}}),
        ("organize", {"renameByName": columns}),
    ):
        panel.with_transformation(models.DataTransformerConfig(id_val=step, options=options))
    _draw_band(panel)
    return panel


def figures(
    title: str, text: str, queries: list[Line], unit: str = "short", width: int = 6
) -> stat.Panel:
    """Return a few numbers, as of now."""
    panel = stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit)
    panel.height(4).span(width).graph_mode(shapes.BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for target in _targets(queries, instant=True):
        panel.with_target(target)
    return panel


def rows(
    title: str, text: str, queries: list[Line], join: str, hide: Iterable[str] = (), width: int = 24
) -> table.Panel:
    """Return a table of labels and values, joined by a label; each query's name is a column's."""
    panel = table.Panel().title(title).description(text).datasource(SOURCE)
    panel.height(9).span(width)
    for target in _targets(queries, at_once=True):
        panel.with_target(target)
    columns = {f"Value #{chr(65 + i)}": line.name for i, line in enumerate(queries) if line.name}
    hidden = dict.fromkeys(("Time", *(f"Time {i + 1}" for i in range(len(queries))), *hide), True)
    if len(queries) > 1:
        options = {"byField": join, "mode": "outer"}
        panel.with_transformation(
            models.DataTransformerConfig(id_val="joinByField", options=options)
        )
    arranged = {"renameByName": columns, "excludeByName": hidden}
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=arranged))
    return panel


def _targets(
    queries: Iterable[Line], *, at_once: bool = False, instant: bool = False
) -> Iterable[prometheus.Dataquery]:
    for index, line in enumerate(queries):
        query = prometheus.Dataquery().expr(line.query).ref_id(chr(65 + index)).datasource(SOURCE)
        if at_once:
            query.format(PromQueryFormat.TABLE)
        if at_once or instant:
            query.instant()
        else:
            query.range()
        yield query.legend_format(line.name or "__auto")


def _draw_band(panel: timeseries.Panel | trend.Panel) -> None:
    edge = [models.DynamicConfigValue(id_val=key, value=value) for key, value in BAND.items()]
    fill = models.DynamicConfigValue(id_val="custom.fillBelowTo", value="low")
    panel.override_by_name("low", edge)
    panel.override_by_name("high", [*edge, fill])


def _to_others() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("askagain").type(models.DashboardLinkType.DASHBOARDS)
    return link.tags(["askagain"]).include_vars(True).keep_time(True)
