"""What a retention model has learned, in words a report can print: rates, half-lives, retention by
repeat, doubts.
"""

from __future__ import annotations

from bisect import bisect_right
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any

from models.design import AXES
from models.gaussian import NORMAL_95
from models.layout import STEPS, Layout

if TYPE_CHECKING:
    from models.retention import PooledRetention

__all__ = ["summarise"]

KIND_AXIS = AXES.index("kind")
REPEATS = range(2, 11)
# An sd of the log retention at a typical stock above which nothing can be said: .25 leaves 1 and .6
# both possible.
UNTOLD_SD = 0.25
LOG_MAX = 300.0
MOVES_TOGETHER = 0.8  # correlation of level and crowd wear-out from which one may be the other


def summarise(model: PooledRetention) -> dict[str, Any]:
    """Return rates of wear-out, half-lives (days), retention by repeat, moderators, spreads and
    what cannot be told.

    Every quantity has a 90 % interval `low`, `high`. Retention by repeat is that of an appeal put
    at the typical gap after each of its forerunners, by one axis alone.
    """
    layout = model.layout
    return {
        "appeals": model.learned,
        "wear_out": [
            _wear_out(model, kind, axis) for kind in layout.at["kind"] for axis in range(3)
        ],
        "half_life_days": {
            name: _interval_of_log(*_moments(layout, layout.half_life + axis))
            for axis, name in enumerate(AXES)
        },
        "typical_gap_days": model.gaps.typical_days,
        "moderators": [_moderator(layout, name) for name in layout.at["attribute"]],
        "dispersion": {
            "estimate": model.size,
            "low": model.dispersion_quantile(0.05),
            "high": model.dispersion_quantile(0.95),
        },
        "luck_shared_at_a_moment": {
            "estimate": model.shared_luck.mean,
            "low": model.shared_luck.quantile(0.05),
            "high": model.shared_luck.quantile(0.95),
        },
        "appealer_sd": {
            "level": model.level_sd,
            "wear_out": model.strength.sd,
            "immune": model.strength.share,
        },
        "limits": {"crowded_out": dict(layout.crowded_out), "evicted": model.evicted},
        "cannot_tell": untold(model),
    }


def _wear_out(model: PooledRetention, kind: str, axis: int) -> dict[str, Any]:
    """Describe the wear-out of one kind on one axis: per appeal of stock, and by repeat."""
    layout = model.layout
    at = layout.at["kind"][kind] + 1 + axis
    entries = [layout.wear + axis, at]
    rate = float(layout.coefficients.mean[entries].sum())
    sd = sqrt(max(_variance(layout, entries, [1.0, 1.0]), 0.0))
    gap_days = model.gaps.typical_days if AXES[axis] != "crowd" else model.gaps.of_kind_days(kind)
    return {
        "kind": kind,
        "axis": AXES[axis],
        "per_unit": rate,
        "low": rate - NORMAL_95 * sd,
        "high": rate + NORMAL_95 * sd,
        "retention_by_repeat": [
            _retention(layout, entries, layout.half_life + axis, rate, gap_days, n) for n in REPEATS
        ],
    }


def _retention(
    layout: Layout, entries: list[int], half_life: int, rate: float, gap_days: float, repeat: int
) -> dict[str, float]:
    """Return retention at the n-th of equally spaced appeals; the variance by the delta method."""
    decay = gap_days / exp(float(layout.coefficients.mean[half_life])) * log(2.0)
    felt = [exp(-decay * j) for j in range(1, repeat)]
    stock = sum(felt)
    rise = sum(decay * j * f for j, f in enumerate(felt, start=1))
    weights = [-stock] * len(entries) + [-rate * rise]
    steps = _steps_passed(layout, stock) if half_life == layout.half_life + KIND_AXIS else []
    weights += [-1.0] * len(steps)
    wear = rate * stock + float(layout.coefficients.mean[steps].sum())
    variance = _variance(layout, [*entries, half_life, *steps], weights)
    return {"repeat": repeat} | _interval_of_log(-wear, sqrt(max(variance, 0.0)))


def _steps_passed(layout: Layout, stock: float) -> list[int]:
    """Return the coefficients of the steps of the kind axis that lie below a stock."""
    return list(range(layout.steps, layout.steps + bisect_right(STEPS, stock)))


def _moderator(layout: Layout, name: str) -> dict[str, Any]:
    """Describe what one more of an attribute, on its log scale, multiplies both by."""
    at, width = layout.at["attribute"][name], layout.scaling.width(name) or 1.0
    return {
        "name": name,
        "level": _interval_of_log(*(one / width for one in _moments(layout, at))),
        "wear_out": _interval_of_log(*(one / width for one in _moments(layout, at + 1))),
    }


def untold(model: PooledRetention) -> list[str]:
    """Return what the data cannot tell, and why, as sentences."""
    layout, found = model.layout, []
    for axis, name in enumerate(AXES):
        entry = layout.wear + axis
        variance = float(layout.coefficients.covariance[entry, entry])
        shrinkage = layout.shrinkage[f"wear {name}"]
        from_data = 1.0 / max(1.0 / variance - shrinkage.sd**-2, 1e-12)
        if sqrt(from_data) / shrinkage.unit > UNTOLD_SD:
            found.append(f"{name} wear-out: too few repeats, or rests that never varied")
    if abs(model.level_and_crowd) > MOVES_TOGETHER:
        found.append("crowd wear-out and level: they moved together")
    return found


def _moments(layout: Layout, index: int) -> tuple[float, float]:
    variance = float(layout.coefficients.covariance[index, index])
    return float(layout.coefficients.mean[index]), sqrt(max(variance, 0.0))


def _variance(layout: Layout, entries: list[int], weights: list[float]) -> float:
    covariance = layout.coefficients.covariance
    return float(
        sum(
            a * b * covariance[i, j]
            for i, a in zip(entries, weights, strict=True)
            for j, b in zip(entries, weights, strict=True)
        )
    )


def _interval_of_log(mean: float, sd: float) -> dict[str, float]:
    """Return the interval of exp(N(mean, sd^2)), as far as numbers go.

    One more of an attribute that hardly varies may be a hundred thousand of its widths.
    """
    reach = NORMAL_95 * sd
    limits = {"estimate": mean, "low": mean - reach, "high": mean + reach}
    return {name: exp(min(max(x, -LOG_MAX), LOG_MAX)) for name, x in limits.items()}
