"""A replay's metrics: what a worker tells live, told by a replay, with now's or then's times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import CollectorRegistry

from metrics.exporter import Exporter
from metrics.openmetrics import Backfill, address_of, serve
from replay.driver import Progress
from streams.learner import Fact
from streams.observer import BEYOND_TIME_MS, Observer
from streams.pipeline import Pipeline
from streams.settings import ConfigError
from streams.telemetry import CollectorProgress, LearnerProgress

__all__ = ["STEP_MS", "Watch", "watching"]

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
        Unless the back-fill has its own. Blocks must be cut as often (replay.driver's `step_ms`).
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
        self.step_ms = step_ms if backfill is None else backfill.step_ms
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
        self.observer.learned(0, learner)
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


@contextmanager
def watching(
    pipeline: Pipeline,
    openmetrics: Path | None = None,
    serve_at: str | None = None,
    step_ms: int = STEP_MS,
) -> Iterator[Watch | None]:
    """Watch a replay while in the block, if anybody wants to know. At its end look once more.

    Parameters
    ----------
    pipeline
        A fresh one.
    openmetrics
        File to write with the stream's own times, for back-fill.
    serve_at
        HOST:PORT, or :PORT on this machine only, to serve /metrics at.
    step_ms
        Event time between two looks, and so between two samples in the file.

    Raises
    ------
    ConfigError
        If the file cannot be written or the address not be listened at.
    """
    if openmetrics is None and serve_at is None:
        yield None
        return
    with ExitStack() as stack:
        registry = CollectorRegistry()
        exporter = Exporter(registry)
        backfill = None
        try:
            if openmetrics is not None:
                backfill = stack.enter_context(Backfill(exporter, openmetrics, step_ms))
            if serve_at is not None:
                stack.enter_context(serve(registry, *address_of(serve_at)))
        except (OSError, ValueError) as error:
            raise ConfigError(f"metrics to {serve_at or openmetrics}: {error}") from None
        watch = Watch(pipeline, exporter, backfill, step_ms)
        yield watch
        watch.finish()


def _version() -> str:
    try:
        return version("askagain")
    except PackageNotFoundError:
        return "unknown"
