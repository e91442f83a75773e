"""Facts and progress to metrics: the seam between a worker and whatever counts it.

The worker says what happened; a `Telemetry` makes metrics of it. The core knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from streams.learner import Fact, Learner

__all__ = ["CollectorProgress", "LearnerProgress", "Silent", "Telemetry"]


class CollectorProgress(NamedTuple):
    """How a partition's collector stands. `fates` count since the log began, `lag` in messages."""

    partition: int
    watermark_ms: int
    lag: int
    open_appeals: int
    held_responses: int
    misplaced: int
    fates: Mapping[str, int]


class LearnerProgress(NamedTuple):
    """How a learner stands. `lag` in messages."""

    partition: int
    watermark_ms: int
    lag: int
    facts: int
    communities: int


class Telemetry(Protocol):
    """What a worker tells. Every call returns at once and raises nothing."""

    def facts(self, partition: int, facts: Sequence[Fact]) -> None:
        """Hear of facts a learner said, each once in a worker's life with that partition."""

    def collector(self, progress: CollectorProgress) -> None:
        """Hear how a collector stands, about twice a second."""

    def learner(self, progress: LearnerProgress) -> None:
        """Hear how a learner stands, about twice a second."""

    def applied(self, stage: str, seconds: float) -> None:
        """Hear how long a block took a "collector" or a "learner"."""

    def learned(self, partition: int, learner: Learner) -> None:
        """Look at what a learner has learned, every ten seconds or so."""

    def forget_collector(self, partition: int) -> None:
        """Drop what was said of a collector: another worker has it now."""

    def forget_learner(self, partition: int) -> None:
        """Drop what was said of a learner: another worker has it now."""


class Silent:
    """A `Telemetry` that nobody listens to."""

    def facts(self, partition: int, facts: Sequence[Fact]) -> None:
        """Do nothing."""

    def collector(self, progress: CollectorProgress) -> None:
        """Do nothing."""

    def learner(self, progress: LearnerProgress) -> None:
        """Do nothing."""

    def applied(self, stage: str, seconds: float) -> None:
        """Do nothing."""

    def learned(self, partition: int, learner: Learner) -> None:
        """Do nothing."""

    def forget_collector(self, partition: int) -> None:
        """Do nothing."""

    def forget_learner(self, partition: int) -> None:
        """Do nothing."""
