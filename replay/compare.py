"""Compares, on real events, the model with simpler ones: how well each foretold the responses, and
what each makes of retention by repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from replay.compare_curves import curves_of, why_not_within
from replay.compare_fit import batch_log_scores
from replay.compare_table import LearnedTable, Listener
from replay.driver import Progress, Replayed, replay
from replay.evaluate_figures import Figure, clustered_mean
from replay.output import Output
from streams.collector import Block
from streams.pipeline import Pipeline
from streams.settings import ConfigError, Settings

__all__ = ["Comparison", "compare_models", "learn_from"]

Floats = NDArray[np.float64]

# The batch regression is fitted on the first part, and all are compared on the rest.
TRAINING_SHARE = 0.5
REFITS = 12
APPEALS_MIN = 50
MODEL = "askagain"
BATCH, BATCH_REFITTED = "batch", f"batch, refitted {REFITS} times"


class Comparison(NamedTuple):
    """What was compared. Log scores are in nats an appeal; `ahead` is by how much the model's is
    greater, appeal by appeal, with its interval.

    log_scores : by model, `all` appeals and the `later` half: `log_score`, `ahead`.
    curves : by axis, rows of retention by repeat.
    """

    appeals: int
    later: int
    clustered_by: str
    log_scores: dict[str, dict[str, dict[str, Figure]]]
    curves: dict[str, list[dict[str, Any]]]
    not_computed: dict[str, str]


def learn_from(
    sources: dict[str, Iterator[Block]],
    settings: Settings,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[Listener, Replayed]:
    """Replay events, and note what the models learned from.

    Raises
    ------
    ConfigError
        If there are too few appeals to compare anything.
    """
    listener, pipeline = Listener(), Pipeline(settings)
    pipeline.learner.before_learning = listener
    pipeline.learner.register.on_scores = listener.note_scores
    with Output(None) as output:
        replayed = replay(pipeline, sources, output, on_progress=on_progress)
    if len(listener.asks) < APPEALS_MIN:
        raise ConfigError(
            f"evaluate: expected at least {APPEALS_MIN} appeals to learn from, "
            f"got {len(listener.asks)}"
        )
    return listener, replayed


def compare_models(
    listener: Listener, *, on_fit: Callable[[int, int], None] = lambda done, total: None
) -> Comparison:
    """Fit the batch regression to what the models learned from, and compare them all."""
    table = listener.table()
    first = _split(table)
    return Comparison(
        appeals=table.appeals,
        later=table.appeals - first,
        clustered_by=table.clustered_by,
        log_scores=_log_scores(table, first, on_fit),
        curves={axis: curves_of(table, listener, axis) for axis in _axes(table)},
        not_computed=_not_computed(table),
    )


def _split(table: LearnedTable) -> int:
    """Return the number of the first appeal of the later part; what was learned at once stays."""
    first = int(table.appeals * TRAINING_SHARE)
    return int(np.searchsorted(table.time_days, table.time_days[first], side="left")) or first


def _log_scores(
    table: LearnedTable, first: int, on_fit: Callable[[int, int], None]
) -> dict[str, dict[str, dict[str, Figure]]]:
    ours = table.log_scores[MODEL]
    found: dict[str, dict[str, dict[str, Figure]]] = {}
    for name, scores in table.log_scores.items():
        found[name] = {
            "all": _against(ours, scores, table, 0),
            "later": _against(ours, scores[first:], table, first),
        }
    found[BATCH] = {"later": _against(ours, batch_log_scores(table, first), table, first)}
    refitted = batch_log_scores(table, first, REFITS, on_fit)
    found[BATCH_REFITTED] = {"later": _against(ours, refitted, table, first)}
    return found


def _against(ours: Floats, scores: Floats, table: LearnedTable, first: int) -> dict[str, Figure]:
    clusters = table.cluster[first:]
    return {
        "log_score": clustered_mean(scores, clusters),
        "ahead": clustered_mean(ours[first:] - scores, clusters),
    }


def _axes(table: LearnedTable) -> list[str]:
    """Return the axes to draw: the kind's only where it tells another story than the own one's."""
    return ["own"] if np.array_equal(table.repeat, table.kind_repeat) else ["own", "kind"]


def _not_computed(table: LearnedTable) -> dict[str, str]:
    why = why_not_within(table)
    return {} if why is None else {"retention within audiences": why}
