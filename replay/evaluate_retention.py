"""How far what was said of retention lies from the truth, and how often its intervals hold it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.evaluate_figures import Figure, clustered_mean
from replay.evaluate_heard import STAGES, Ledger

__all__ = ["by_repeat", "count_coverage", "retention_errors"]

REPEAT_MAX = 10
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def retention_errors(ledger: Ledger, retention: Floats) -> dict[str, dict[str, Figure]]:
    """Compare estimates with the truth, over all repeats from the cold start.

    Returns
    -------
    By stage: `error`, the mean absolute error of log retention; `bias`, the mean error; `coverage`,
    the share of 90 % intervals that hold the truth; and `always_as_new`, the error of somebody who
    always says 1, on the same appeals. Intervals of the figures take appealers as clusters.
    """
    repeats = (ledger.repeat > 1) & np.isfinite(retention)
    return {stage: _errors(ledger, retention, stage, repeats) for stage in STAGES}


def _errors(ledger: Ledger, retention: Floats, stage: str, among: Flags) -> dict[str, Figure]:
    said = ledger.said[stage]
    among = among & np.isfinite(said.retention)
    truth, clusters = retention[among], ledger.appealer[among]
    error = np.log(said.retention[among] / truth)
    held = (said.low[among] <= truth) & (truth <= said.high[among])
    return {
        "error": clustered_mean(np.abs(error), clusters),
        "bias": clustered_mean(error, clusters),
        "coverage": clustered_mean(held.astype(np.float64), clusters),
        "always_as_new": clustered_mean(np.abs(np.log(truth)), clusters),
    }


def count_coverage(ledger: Ledger) -> dict[str, Figure]:
    """Return, by stage, the share of 90 % intervals of the responses that hold those that came.

    Over all appeals that reached their horizon, first ones too. `final` is left out: by then the
    responses are known, and its interval is that of another appeal like it.
    """
    figures = {}
    for stage in STAGES[:2]:
        said = ledger.said[stage]
        among = np.isfinite(ledger.responses) & np.isfinite(said.expected_low)
        came = ledger.responses[among]
        held = (said.expected_low[among] <= came) & (came <= said.expected_high[among])
        figures[stage] = clustered_mean(held.astype(np.float64), ledger.appealer[among])
    return figures


def by_repeat(ledger: Ledger, retention: Floats) -> list[dict[str, Any]]:
    """Return true and estimated retention (geometric means, prior and final) at repeats 1 to 10."""
    rows: list[dict[str, Any]] = []
    for repeat in range(1, REPEAT_MAX + 1):
        among = (ledger.repeat == repeat) & np.isfinite(retention)
        row: dict[str, Any] = {"repeat": repeat, "truth": _mean(retention, among, ledger)}
        for stage in ("prior", "final"):
            row[stage] = _mean(ledger.said[stage].retention, among, ledger)
        rows.append(row)
    return rows


def _mean(values: Floats, among: Flags, ledger: Ledger) -> Figure:
    """Return the geometric mean of ratios."""
    among = among & np.isfinite(values)
    mean = clustered_mean(np.log(values[among]), ledger.appealer[among])
    value, low, high = (
        None if number is None else float(np.exp(number))
        for number in (mean.value, mean.low, mean.high)
    )
    return Figure(value, low, high, mean.n)
