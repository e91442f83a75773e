"""The challengers of a community: simpler models, scored on each appeal before they learn it. They
need nothing of the model that they challenge, so they are kept by the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models.forecast import Features

if TYPE_CHECKING:
    from models.challengers import Challengers

__all__ = ["Contest", "Scores"]

BATCH = 64  # appeals; their features take 100 kB
Scores = dict[str, list[float]]  # by challenger, of one appeal after the other


class Contest:
    """Lets the challengers learn, in batches: what is learned here decides nothing, so it can wait,
    and their code and data stay in the processor's cache, which takes a third of the time.

    Parameters
    ----------
    state
        A state to go on from.

    Attributes
    ----------
    on_scores
        Hears of the scores of a batch.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.on_scores: Callable[[Scores], None] | None = None
        self._waiting: list[tuple[Features, float]] = []
        self._known: Challengers | None = None
        self._state = state

    @property
    def _challengers(self) -> Challengers:
        if self._known is None:
            # Loads river, which takes a second: whoever only starts to read need not wait for it.
            from models.challengers import Challengers

            self._known = Challengers()
            if self._state is not None:
                self._known.restore(self._state)
                self._state = None
        return self._known

    def learn(self, x: Features, responses: int) -> None:
        """Score the challengers on an appeal, and let them learn it."""
        self._waiting.append((x, responses))
        if len(self._waiting) >= BATCH:
            self._work_off()

    def _work_off(self) -> None:
        if not self._waiting:
            return
        scores = self._challengers.score_then_learn_many(self._waiting)
        self._waiting.clear()
        if self.on_scores is not None:
            self.on_scores(scores)

    def log_scores(self) -> dict[str, float]:
        """Return the sum of each challenger's log scores, in nats."""
        self._work_off()
        return dict(self._challengers.log_scores)

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        self._work_off()
        if self._known is None and self._state is not None:
            return self._state  # nothing was learned since
        return self._challengers.state()
