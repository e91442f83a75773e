"""Wear-out per appeal of stock and half-lives: what was learned beside what is true."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Any

import numpy as np

from replay.evaluate_figures import Figure
from replay.evaluate_truth import Truth

__all__ = ["compare_parameters", "why_not_comparable"]

# The truth's word for an axis, and the model's.
AXES = {"own": "own", "kind": "kind", "crowd": "crowd"}
# Settings that make wear-out differ from appealer to appealer, and the value at which they do not.
UNEQUAL = {
    "strength_log_sd": 0.0,
    "immune_share": 0.0,
    "brand_strength": 1.0,
    "human_strength": 1.0,
    "reciprocity_relief": 0.0,
    "cliff_stock": None,
}


def why_not_comparable(truth: Truth) -> str | None:
    """Return why no single wear-out is true of everybody, or None."""
    if not any(f"beta_{axis}" in truth.settings for axis in AXES):
        return "the truth has no settings beta_own, beta_kind, beta_crowd"
    for name, equal in UNEQUAL.items():
        if truth.settings.get(name, equal) != equal:
            return f"wear-out differs between appealers or has a cliff: {name} is set"
    return None


def compare_parameters(summary: Mapping[str, Any], truth: Truth) -> list[dict[str, Any]]:
    """Compare what a model's summary says with the truth, axis by axis.

    Parameters
    ----------
    summary
        Of models.retention: `wear_out` and `half_life_days`.

    Returns
    -------
    A row an axis the truth knows: true and learned wear-out (the mean over kinds, and of their
    limits, which is wider than the mean's own), and half-life in days with `factor`, by how much it
    is off. An axis that does not wear out has no half-life to be found.
    """
    rows = []
    for axis, name in AXES.items():
        beta = truth.settings.get(f"beta_{axis}")
        if beta is None:
            continue
        row = {"axis": axis, "wear_out_true": beta, "wear_out": _wear_out(summary, name)}
        half_life_days = truth.settings.get(f"half_life_{axis}_days")
        if beta > 0.0 and half_life_days is not None:
            learned = summary["half_life_days"][name]
            factor = exp(abs(log(learned["estimate"] / half_life_days)))
            row |= {
                "half_life_days_true": half_life_days,
                "half_life_days": Figure(learned["estimate"], learned["low"], learned["high"], 1),
                "half_life_factor": factor,
            }
        rows.append(row)
    return rows


def _wear_out(summary: Mapping[str, Any], axis: str) -> Figure:
    of_axis = [row for row in summary["wear_out"] if row["axis"] == axis]
    if not of_axis:
        return Figure(None, None, None, 0)
    value, low, high = (
        float(np.mean([row[key] for row in of_axis])) for key in ("per_unit", "low", "high")
    )
    return Figure(value, low, high, len(of_axis))
