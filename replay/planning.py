"""What if: an appealer asks every so many days from now on. `askagain plan`."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import msgspec
import numpy as np
from rich.bar import Bar
from rich.markup import escape
from rich.table import Table

from models.plan import Plan, plan_cadence
from models.wear import draw_wear
from replay.report import wide_console
from streams.codec import rfc3339
from streams.community import Community
from streams.events import Appeal
from streams.pipeline import Pipeline
from streams.settings import ConfigError

__all__ = ["plan_series", "print_plan", "save_plan"]

DRAWS = 2000
BAR_CHARACTERS = 30
SEED = 2009


def plan_series(
    pipeline: Pipeline, appealer: str, kind: str, horizon_days: float, every_days: list[float]
) -> Plan:
    """Compare cadences for a series that the pipeline has seen, from the end of the stream on.

    Raises
    ------
    ConfigError
        If the series is unknown; names some that are known.
    """
    community, latest = _find(pipeline, appealer, kind)
    ledger = pipeline.learner.ledgers[community.name]
    now_ms = pipeline.learner.watermark_ms()
    x = ledger.suppose(msgspec.structs.replace(latest, time_ms=now_ms, appeal_id=""))
    rng = np.random.Generator(np.random.PCG64(SEED))
    model = community.model
    wear = draw_wear(model, x, rng, DRAWS)
    forecast = model.forecast_one(x)
    log_first = np.log(forecast.mean) - np.log(forecast.retention)
    spread = sqrt(max(_log_sd(forecast.mean, forecast.mean_high) ** 2 - 1.0 / model.size, 1e-4))
    first = np.exp(rng.normal(log_first - spread**2 / 2.0, spread, size=DRAWS))
    return plan_cadence(
        every_days,
        horizon_days,
        first,
        wear.stocks,
        wear.rates,
        wear.half_lives_days,
        model.size,
        rng,
    )


def _log_sd(mean: float, high: float) -> float:
    """Return the sd of the log of a count, read off the upper end of its 90 % interval."""
    return float(np.log((high + 1.0) / (mean + 1.0))) / 1.645


def _find(pipeline: Pipeline, appealer: str, kind: str) -> tuple[Community, Appeal]:
    known = []
    for _, community in sorted(pipeline.learner.communities.items()):
        series = community.series.find(appealer, kind)
        if series is not None and series.latest is not None:
            return community, series.latest
        known += [(v.appealer, v.kind) for v in community.series.verdicts()[:5]]
    raise ConfigError(
        f"plan: expected a series that the events hold, got {appealer!r} and {kind!r}; "
        f"for example {known[:5]}"
    )


def print_plan(plan: Plan, appealer: str, kind: str, now_ms: int) -> None:
    """Print the cadences compared, a bar for each interval, the best, and what it rests on."""
    console = wide_console()
    table = Table(title=f"{escape(appealer)}, {escape(kind)}, from {rfc3339(now_ms)[:10]}")
    for name in ("every", "asks", "responses expected", "90 %", "an ask", "best in"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", width=BAR_CHARACTERS)
    most = max(one.high for one in plan.cadences)
    for one in plan.cadences:
        table.add_row(
            f"{one.every_days:g} d",
            str(one.asks),
            f"{one.expected:,.0f}",
            f"{one.low:,.0f} to {one.high:,.0f}",
            f"{one.per_ask:,.1f}",
            f"{one.best_share:.0%}",
            Bar(most or 1.0, one.low, one.high, width=BAR_CHARACTERS),
            style="bold" if one is plan.best else "",
        )
    console.print(table)
    console.print(f"Best: every {plan.best.every_days:g} days. It rests on: {escape(plan.note)}.")


def save_plan(plan: Plan, path: Path) -> None:
    """Draw the cadences with their 90 % intervals into a picture file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    days = [one.every_days for one in plan.cadences]
    low, high = [one.low for one in plan.cadences], [one.high for one in plan.cadences]
    axes.fill_between(days, low, high, alpha=0.2, label="90 % of the counts to come")
    axes.plot(days, [one.expected for one in plan.cadences], marker="o", label="expected")
    axes.axvline(plan.best.every_days, linestyle=":", color="black", label="best")
    axes.set(xlabel="days between asks", ylabel="responses in all", ylim=(0, None))
    axes.legend()
    figure.savefig(path)
