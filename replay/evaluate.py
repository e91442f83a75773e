"""Replays a world of which the truth is known, and measures what was said of it against that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from replay.alarms import baseline_rules
from replay.driver import Progress, Replayed, replay
from replay.evaluate_alarms import (
    Alarms,
    Case,
    baseline_alarms,
    build_cases,
    score_alarms,
    verdict_alarms,
)
from replay.evaluate_figures import Figure
from replay.evaluate_heard import Heard, Key, Ledger, build_ledger
from replay.evaluate_kinds import KindWatch
from replay.evaluate_parameters import compare_parameters, why_not_comparable
from replay.evaluate_retention import by_repeat, count_coverage, retention_errors
from replay.evaluate_truth import Truth
from replay.output import Output
from streams.collector import Block
from streams.pipeline import Pipeline
from streams.settings import ConfigError, Settings

__all__ = ["Evaluation", "evaluate_world"]

# What the model says, by the basis of its verdicts.
MODEL_DETECTORS = {
    "expected": ("expected",),
    "confirmed": ("confirmed",),
    "either": ("expected", "confirmed"),
}


class Evaluation(NamedTuple):
    """What was measured. A figure that was not computed is missing; `not_computed` says why.

    retention, detectors : figures by stage, and by detector. kinds : see `KindWatch`.
    by_repeat, parameters, by_kind : rows.
    """

    scenario: str | None
    seed: int | None
    appeals: int
    repeats: int
    series: int
    series_with_onset: int
    retention: dict[str, dict[str, Figure]]
    counts: dict[str, Figure]
    by_repeat: list[dict[str, Any]]
    detectors: dict[str, dict[str, Figure]]
    parameters: dict[str, list[dict[str, Any]]]
    kinds: dict[str, Figure]
    by_kind: list[dict[str, Any]]
    not_computed: dict[str, str]


def evaluate_world(
    sources: dict[str, Iterator[Block]],
    settings: Settings,
    truth: Truth,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[Evaluation, Replayed]:
    """Replay events with the pipeline that the replay and the worker use, and measure.

    Raises
    ------
    ConfigError
        If the truth knows none of the appeals.
    """
    heard, kinds, pipeline = Heard(), KindWatch(), Pipeline(settings)
    pipeline.learner.before_learning = kinds
    tapped = {name: heard.tap(blocks) for name, blocks in sources.items()}
    with Output(None) as output:
        replayed = replay(pipeline, tapped, output, on_facts=heard.hear, on_progress=on_progress)
    ledger = build_ledger(heard)
    retention = _true_retention(ledger, truth)
    cases = build_cases(ledger, retention, truth)
    not_computed = _not_computed(truth, heard)
    parameters = {}
    if "wear-out and half-lives" not in not_computed:
        parameters = {
            name: compare_parameters(community.model.summary(), truth)
            for name, community in sorted(pipeline.learner.communities.items())
        }
    known = bool(np.isfinite(retention).any())
    evaluation = Evaluation(
        scenario=truth.scenario,
        seed=truth.seed,
        appeals=len(ledger.appeal_ids),
        repeats=int((ledger.repeat > 1).sum()),
        series=len(ledger.keys),
        series_with_onset=sum(case.onset is not None for case in cases.values()),
        retention=retention_errors(ledger, retention) if known else {},
        counts=count_coverage(ledger),
        by_repeat=by_repeat(ledger, retention) if known else [],
        detectors=_detectors(heard, cases),
        parameters=parameters,
        kinds=kinds.figures(),
        by_kind=kinds.rows(),
        not_computed=not_computed,
    )
    return evaluation, replayed


def _true_retention(ledger: Ledger, truth: Truth) -> NDArray[np.float64]:
    """Return the true retention beside each appeal, NaN where it was not told."""
    by_id = truth.retention()
    retention = np.array([by_id.get(appeal_id, np.nan) for appeal_id in ledger.appeal_ids])
    if by_id and not np.isfinite(retention).any():
        raise ConfigError(
            f"truth: expected retentions of the appeals in the events, got {len(by_id)} of others, "
            f"such as {next(iter(by_id))!r}"
        )
    return retention


def _detectors(heard: Heard, cases: dict[Key, Case]) -> dict[str, dict[str, Figure]]:
    alarms: dict[str, Alarms] = {}
    if heard.verdicts:
        for name, bases in MODEL_DETECTORS.items():
            alarms[name] = verdict_alarms(heard.verdicts, cases, bases)
    for name, rule in baseline_rules().items():
        alarms[name] = baseline_alarms(rule, cases)
    return {name: score_alarms(cried, cases) for name, cried in alarms.items()}


def _not_computed(truth: Truth, heard: Heard) -> dict[str, str]:
    """Return what is not computed, and why."""
    missing = {}
    if not truth.appeals.retention:
        missing["retention errors, coverage, false alarms, false discoveries"] = (
            "the truth has no appeals.retention"
        )
        if truth.series is None:
            missing["power and delay"] = "the truth has neither series nor appeals.retention"
    if not heard.verdicts:
        missing["alarms of the model"] = "the replay said no verdict"
    why = why_not_comparable(truth)
    if why is not None:
        missing["wear-out and half-lives"] = why
    return missing
