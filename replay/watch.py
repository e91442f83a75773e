"""A replay's metrics: what a worker tells live, told by a replay, with now's or then's times."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from metrics.exporter import Exporter
from metrics.openmetrics import Backfill
from replay.driver import Progress
from streams.learner import Fact
from streams.observer import BEYOND_TIME_MS, Observer
from streams.pipeline import Pipeline
from streams.telemetry import CollectorProgress, LearnerProgress

__all__ = ["STEP_MS", "Watch"]

STEP_MS = 86_400_000


class Watch:
    """Hears what a replay says after each block, and looks whenever `step_ms` of event time passed.

    Parameters
    ----------
    pipeline
        What is replayed; a fresh one.
    exporter
        Where the metrics go.
    backfill
        Where they are written after each look, if at all.
    step_ms
        The blocks must be cut at least so often (replay.driver.replay's `step_ms`).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        exporter: Exporter,
        backfill: Backfill | None = None,
        step_ms: int = STEP_MS,
    ) -> None:
        self.pipeline = pipeline
        self.observer = Observer(exporter, pipeline.settings, _version(), self._newest_ms)
        self.backfill = backfill
        self.step_ms = step_ms
        self._looked_at = -1
        self._tell()
        self._look()

    def on_facts(self, facts: Iterable[Fact]) -> None:
        """Hear of a block's facts."""
        self.observer.facts(0, list(facts))

    def on_progress(self, progress: Progress) -> None:
        """Hear that a block has been applied."""
        self.observer.applied("pipeline", progress.seconds)
        self._tell()
        step = progress.watermark_ms // self.step_ms
        if step > self._looked_at and abs(progress.watermark_ms) < BEYOND_TIME_MS:
            self._looked_at = step
            self._look()

    def finish(self) -> None:
        """Look a last time, when all has been read."""
        self._tell()
        self._look()

    def _look(self) -> None:
        learner = self.pipeline.learner
        watermark_ms = learner.watermark_ms()
        self.observer.learned(0, learner.communities, watermark_ms)
        if self.backfill is not None and abs(watermark_ms) < BEYOND_TIME_MS:
            self.backfill.write(watermark_ms)

    def _tell(self) -> None:
        for index, collector in enumerate(self.pipeline.collectors):
            state = collector.state
            progress = CollectorProgress(
                partition=index,
                watermark_ms=collector.watermark_ms(),
                lag=0,
                open_appeals=len(state.opened),
                held_responses=state.held_count,
                misplaced=0,
                fates=state.fates,
            )
            self.observer.collector(progress)
        learner = self.pipeline.learner
        watermark_ms, communities = learner.watermark_ms(), len(learner.communities)
        self.observer.learner(LearnerProgress(0, watermark_ms, 0, 0, communities))

    def _newest_ms(self) -> int:
        sources = [one for c in self.pipeline.collectors for one in c.state.sources.values()]
        return max((source.newest_ms for source in sources), default=0)


def _version() -> str:
    try:
        return version("askagain")
    except PackageNotFoundError:
        return "unknown"
