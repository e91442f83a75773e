"""Surge: the share of responses that earlier responses to the same appeal set off.

Responses to an appeal are taken for a Hawkes process (Hawkes & Oakes 1974, "A cluster process
representation of a self-exciting process", Journal of Applied Probability 11(3)): some come of
their own accord, at ages of a density f, and each sets off `ratio` others on average, exponentially
later. What is known is not f but g, the density of all responses (the completion curve), which the
surge has bent already. Taking means ties them together: g = (1 - ratio) f + ratio (k * g), k the
kernel. So an appeal with N responses in all, and n of them at an age, has the intensity

    N g + ratio (k * n - N k * g),

what was to be expected, and a part of what the latest responses brought beyond that. No f is ever
estimated from data that the surge has bent, so none can hide it. The likelihood is that of Poisson
counts by age slot given the earlier slots, on a grid of ratios and kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ages import AgeGrid
from models.kernels import compiled

__all__ = ["RATIOS", "Surge"]

Floats = NDArray[np.float64]

RATIOS: Floats = np.arange(19) / 20.0  # 0 to 0.9
# Means of the kernel as parts of the horizon: 10, 29 and 59 minutes of seven days. Longer ones take
# an appeal that is merely slower than the rest for a surge.
KERNELS = (1 / 1050, 1 / 350, 1 / 170)
BACKGROUND_MIN = 0.05  # of what is expected, where the curve falls faster than surge would let it
APPEAL_RESPONSES_MAX = 1000.0  # an appeal never counts for more: none is quite a Hawkes process
# An appeal's own number of responses stands for the number to be expected, which it owes in part to
# luck that the surge multiplied. In simulations with 250 to 5,000 responses an appeal and ratios of
# .3 to .7 the ratio came out a tenth too low for that; and a kind's is not known better than to
# .07.
SHORTFALL = 0.1
RATIO_ERROR = 0.1
ALWAYS_APPEALS = 20  # of a kind that are looked at before only some of them are


class _Kind:
    __slots__ = ("fit", "met")

    def __init__(self, met: int, fit: Floats) -> None:
        self.met = met  # appeals with enough responses, looked at or not
        self.fit = fit  # log likelihood by kernel and ratio


class Surge:
    """Branching ratio of each kind, and of an appeal that drew enough responses.

    Parameters
    ----------
    grid
        The age grid.
    responses_min, appeal_responses_min
        From how many responses on an appeal tells something of its kind, and of itself.
    every
        Once a kind is known, one appeal in so many is looked at, for that takes half a millisecond.
    forgetting
        Weight that what is known of a kind keeps when another of its appeals is looked at.
    kinds_max
        How many kinds are kept, first come; 500 bytes each.

    Examples
    --------
    >>> surge, grid = Surge(AgeGrid(7 * 86_400_000)), AgeGrid(7 * 86_400_000)
    >>> density = np.diff(np.log1p(np.array(grid.edges_ms) / 3e5), prepend=0.0)
    >>> waves = [n for wave in range(60, 900, 80) for k in range(8) for n in (wave + k, 9 - k)]
    >>> surge.learn_one("wavy", waves, density) > 0.5
    True
    """

    def __init__(
        self,
        grid: AgeGrid,
        responses_min: int = 50,
        appeal_responses_min: int = 200,
        every: int = 40,
        forgetting: float = 0.999,
        kinds_max: int = 64,
    ) -> None:
        self.grid = grid
        self.responses_min = responses_min
        self.appeal_responses_min = appeal_responses_min
        self.every = every
        self.forgetting = forgetting
        self.kinds_max = kinds_max
        self._kinds: dict[str, _Kind] = {}
        starts = np.array([grid.start_ms(slot) for slot in range(grid.slots + 1)], dtype=float)
        self._log_ends = np.log(starts[1:])
        self._log_middles = np.log(0.5 * (starts[1:] + starts[:-1]))
        self._log_edges = np.log(np.array(grid.edges_ms, dtype=float))
        means_ms = [kernel * grid.horizon_ms for kernel in KERNELS]
        # What stays of a kernel's mass after a fine slot, and after a coarse one.
        self._stay = [(exp(-grid.fine_ms / m), exp(-grid.coarse_ms / m)) for m in means_ms]

    def learn_one(
        self, kind: str, slots: Sequence[int], completion_density: Floats
    ) -> float | None:
        """Learn an appeal that has reached the horizon.

        Parameters
        ----------
        kind
            Of the appeal.
        slots
            An age slot and how many responses came in it, and so on, in any order.
        completion_density
            What share of the responses was to be expected in each bin, shape (grid.bins,), as
            `Completion.density` says.

        Returns
        -------
        The appeal's own branching ratio, or None if it drew too few responses or was passed over.

        Raises
        ------
        ValueError
            If there is no such slot, a count is below 1, or the density is none.
        """
        seen, counts, density = self._required(slots, completion_density)
        responses = int(counts.sum())
        if self.passes_over(kind, responses):
            return None
        self._kinds[kind].met += 1
        fit = self._fit(seen, counts, density)
        known = self._kinds[kind]
        weight = min(1.0, APPEAL_RESPONSES_MAX / responses)
        known.fit = self.forgetting * known.fit + weight * (fit - fit.max())
        if responses < self.appeal_responses_min:
            return None
        return (1.0 + SHORTFALL) * float(_chances(fit).sum(axis=0) @ RATIOS)

    def passes_over(self, kind: str, responses: int) -> bool:
        """Return whether an appeal that has reached the horizon need not be learned; it is counted.

        Learned are a kind's first ones, and then every so many.
        """
        if responses < self.responses_min:
            return True
        known = self._kinds.get(kind)
        if known is None:
            if len(self._kinds) >= self.kinds_max:
                return True
            known = self._kinds[kind] = _Kind(0, np.zeros((len(KERNELS), len(RATIOS))))
        if known.met < ALWAYS_APPEALS or (known.met + 1) % self.every == 0:
            return False
        known.met += 1
        return True

    def ratio(self, kind: str) -> tuple[float, float, float] | None:
        """Return a kind's branching ratio with its 90 % interval, or None if nothing is known."""
        known = self._kinds.get(kind)
        if known is None:
            return None
        chances = _chances(known.fit).sum(axis=0)
        below = np.cumsum(chances)
        ends = (min(int(np.searchsorted(below, p)), len(RATIOS) - 1) for p in (0.05, 0.95))
        low, high = ((1.0 + SHORTFALL) * float(RATIOS[end]) for end in ends)
        mean = (1.0 + SHORTFALL) * float(chances @ RATIOS)
        return mean, max(0.0, low - RATIO_ERROR), min(1.0, high + RATIO_ERROR)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of which something is known."""
        return tuple(self._kinds)

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        kinds = [[kind, known.met, known.fit.ravel().tolist()] for kind, known in self._items()]
        return {"schema": 1, "horizon_ms": self.grid.horizon_ms, "kinds": kinds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        expected, got = (1, self.grid.horizon_ms), (state["schema"], state["horizon_ms"])
        if got != expected:
            raise ValueError(f"surge: expected schema and horizon_ms {expected}, got {got}")
        shape = len(KERNELS), len(RATIOS)
        self._kinds = {
            kind: _Kind(met, np.array(fit, dtype=float).reshape(shape))
            for kind, met, fit in state["kinds"]
        }

    def _items(self) -> Sequence[tuple[str, _Kind]]:
        return list(self._kinds.items())

    def _required(
        self, slots: Sequence[int], density: Floats
    ) -> tuple[NDArray[Any], Floats, Floats]:
        at, counts = np.array(slots[::2], dtype=np.int64), np.array(slots[1::2], dtype=float)
        last = self.grid.slots - 1
        if len(at) != len(counts) or ((at < 0) | (at > last)).any() or (counts < 1.0).any():
            raise ValueError(f"slots: expected 0 to {last}, counts from 1, got {slots}")
        by_slot = np.bincount(at, counts)
        seen: NDArray[np.intp] = np.flatnonzero(by_slot)
        density = np.asarray(density, dtype=float)
        if density.shape != (self.grid.bins,) or not 0.0 < density.sum() < np.inf:
            raise ValueError(f"density: expected {self.grid.bins} shares >= 0, got {density}")
        return seen, by_slot[seen].astype(float), density

    def _fit(self, seen: NDArray[np.intp], counts: Floats, density: Floats) -> Floats:
        """Return the log likelihood of an appeal, shape (kernels, ratios), but for a constant."""
        came = np.zeros(self.grid.slots)
        came[seen] = counts
        expected = counts.sum() * self._paced(seen, counts, density)
        whole, fits = float(expected.sum()), []
        for stay in self._stay:
            past = excited(came, self.grid.fine_slots, *stay)
            past_expected = excited(expected, self.grid.fine_slots, *stay)
            intensity = intensities(seen, expected, past, past_expected)
            total = background(expected, past_expected, whole) + RATIOS * past.sum()
            fits.append(np.log(intensity) @ counts - total)
        return np.stack(fits)

    def _paced(self, seen: NDArray[np.int64], counts: Floats, density: Floats) -> Floats:
        """Return the shares expected by slot, shape (slots,), at the appeal's own pace.

        Ages are scaled so that their logarithms have the mean that the appeal's have: else an
        appeal slower than the rest would look like a surge.
        """
        log_age = float(self._log_middles[seen] @ counts) / float(counts.sum())
        by_slot = self._by_slot(density, 0.0)
        return self._by_slot(density, log_age - float(self._log_middles @ by_slot))

    def _by_slot(self, density: Floats, log_pace: float) -> Floats:
        """Spread the shares of bins over slots, evenly in the logarithm of age."""
        arrived = np.interp(self._log_ends - log_pace, self._log_edges, np.cumsum(density))
        by_slot: Floats = np.maximum(np.diff(arrived / arrived[-1], prepend=0.0), 1e-9)
        return by_slot


@compiled
def excited(came: Floats, fine_slots: int, stay_fine: float, stay_coarse: float) -> Floats:
    """Return what earlier slots set off in each slot, were the ratio 1, shape of `came`.

    A slot's own responses set off none in it: their mass all falls into later ones. `stay_*` is
    what stays of the mass after a fine slot, and after a coarse one.
    """
    result, held = np.empty(came.shape[0]), 0.0
    for i in range(came.shape[0]):
        stay = stay_fine if i < fine_slots else stay_coarse
        result[i] = (1.0 - stay) * held
        held = came[i] + stay * held
    return result


@compiled
def intensities(
    seen: NDArray[np.int64], expected: Floats, past: Floats, past_expected: Floats
) -> Floats:
    """Return the intensities in the slots seen, for each ratio, shape (ratios, slots seen)."""
    result = np.empty((RATIOS.shape[0], seen.shape[0]))
    for r in range(RATIOS.shape[0]):
        for k in range(seen.shape[0]):
            i = seen[k]
            own = max(expected[i] - RATIOS[r] * past_expected[i], BACKGROUND_MIN * expected[i])
            result[r, k] = own + RATIOS[r] * past[i]
    return result


@compiled
def ratios_up_to(limit: float) -> int:
    """Return how many of the ratios are not greater."""
    count: int = RATIOS.shape[0]
    while count > 0 and RATIOS[count - 1] > limit:
        count -= 1
    return count


@compiled
def background(expected: Floats, past_expected: Floats, whole: float) -> Floats:
    """Return the responses that come of their own accord, for each ratio, shape (ratios,).

    The sum over slots of max(expected - ratio past_expected, BACKGROUND_MIN expected): slots are
    sorted by the ratio at which they come down to the floor. `whole` is the sum of `expected`.
    """
    ratios = RATIOS.shape[0]
    by_floor, past_by_floor = np.zeros(ratios + 1), np.zeros(ratios + 1)
    for i in range(expected.shape[0]):
        # Where next to nothing came before, no ratio is too great.
        floor_at = (1.0 - BACKGROUND_MIN) * expected[i] / max(past_expected[i], 1e-300)
        free_for = ratios_up_to(floor_at)  # ratios that leave a slot above it
        by_floor[free_for] += expected[i]
        past_by_floor[free_for] += past_expected[i]
    result, above, past_above = np.empty(ratios), 0.0, 0.0
    for r in range(ratios - 1, -1, -1):
        above += by_floor[r + 1]
        past_above += past_by_floor[r + 1]
        result[r] = above - RATIOS[r] * past_above + BACKGROUND_MIN * (whole - above)
    return result


def _chances(fit: Floats) -> Floats:
    chances = np.exp(fit - fit.max())
    normed: Floats = chances / chances.sum()
    return normed
