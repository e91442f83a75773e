"""The age grid: in which slots and bins an appeal's responses are counted.

Responses are counted by *slot*: fine slots while the appeal is young, fifteen times as wide
afterwards. *Bins* join slots and widen geometrically, four to a doubling of age; *checkpoints* are
the bin edges at which an open appeal is looked at, once a doubling. Everything is integer
arithmetic on milliseconds, so every machine cuts at the same place.
"""

from __future__ import annotations

from itertools import pairwise
from math import isqrt

__all__ = ["NEVER_MS", "AgeGrid"]

NEVER_MS = -(1 << 62)  # a time before all times: of what has not been, or is none

# One minute for the default horizon of seven days: 10,080 of them, but only 2,016 slots in all.
FINE_SLOTS_A_HORIZON = 10_080
FINE_SHARE = 7  # slots are fine until a seventh of the horizon: the first day of seven
COARSENING = 15
DOUBLINGS = 9  # the youngest checkpoint is at horizon / 2^9: twenty minutes of seven days
HORIZON_MS_MIN = 60_000


class AgeGrid:
    """Slots, bins and checkpoints of ages from 0 up to, and without, the horizon.

    A hot loop may inline `slot`: ``age_ms // fine_ms`` below `coarse_from_ms`, else
    ``fine_slots + (age_ms - coarse_from_ms) // coarse_ms``.

    Parameters
    ----------
    horizon_ms
        Age at which an appeal is final, an integer of at least one minute.

    Attributes
    ----------
    fine_ms, coarse_ms
        Width of the fine and of the coarse slots.
    coarse_from_ms, fine_slots
        Age at which the coarse slots begin, and how many fine ones lie below it.
    slots
        How many there are; the last may be narrower, for it ends at the horizon.
    edges_ms, edges_slot
        Upper edge of each bin, as an age and as the number of slots below it; the last is the
        horizon.
    checkpoints
        Numbers of bins completed when an appeal is looked at; the last is all of them.

    Raises
    ------
    ValueError
        If the horizon is not an integer of at least one minute.

    Examples
    --------
    >>> grid = AgeGrid(7 * 86_400_000)
    >>> grid.fine_ms, grid.coarse_ms, grid.slots
    (60000, 900000, 2016)
    >>> grid.slot(59_999), grid.slot(86_400_000), grid.slot(7 * 86_400_000 - 1)
    (0, 1440, 2015)
    >>> [grid.edges_ms[bins - 1] // 60_000 for bins in grid.checkpoints]
    [20, 39, 79, 157, 315, 630, 1260, 2520, 5040, 10080]
    """

    __slots__ = (
        "checkpoints",
        "coarse_from_ms",
        "coarse_ms",
        "edges_ms",
        "edges_slot",
        "fine_ms",
        "fine_slots",
        "horizon_ms",
        "slots",
    )

    def __init__(self, horizon_ms: int) -> None:
        if isinstance(horizon_ms, bool) or not isinstance(horizon_ms, int):
            raise ValueError(f"horizon_ms: expected an integer, got {horizon_ms!r}")
        if horizon_ms < HORIZON_MS_MIN:
            raise ValueError(f"horizon_ms: expected at least {HORIZON_MS_MIN}, got {horizon_ms}")
        self.horizon_ms = horizon_ms
        self.fine_ms = -(-horizon_ms // FINE_SLOTS_A_HORIZON)
        self.coarse_ms = self.fine_ms * COARSENING
        self.fine_slots = horizon_ms // (FINE_SHARE * self.fine_ms)
        self.coarse_from_ms = self.fine_slots * self.fine_ms
        self.slots = self.fine_slots - (self.coarse_from_ms - horizon_ms) // self.coarse_ms
        self.edges_slot = self._edges()
        self.edges_ms = tuple(map(self.start_ms, self.edges_slot))
        self.checkpoints = self._checkpoints()

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.edges_ms)

    def slot(self, age_ms: int) -> int:
        """Return the slot in which an age lies, which must be at least 0 and below the horizon."""
        if age_ms < self.coarse_from_ms:
            return age_ms // self.fine_ms
        return self.fine_slots + (age_ms - self.coarse_from_ms) // self.coarse_ms

    def bins_by_slot(self) -> list[int]:
        """Return the bin in which each slot lies."""
        starts = (0, *self.edges_slot)
        return [index for index, edges in enumerate(pairwise(starts)) for _ in range(*edges)]

    def start_ms(self, slot: int) -> int:
        """Return the age at which a slot begins; that of `slots` is the horizon."""
        if slot <= self.fine_slots:
            return slot * self.fine_ms
        start_ms = self.coarse_from_ms + (slot - self.fine_slots) * self.coarse_ms
        return min(start_ms, self.horizon_ms)

    def _nearest_start(self, age_ms: int) -> int:
        below = self.slot(min(age_ms, self.horizon_ms - 1))
        nearer_above = self.start_ms(below + 1) - age_ms < age_ms - self.start_ms(below)
        return below + nearer_above

    def _edges(self) -> tuple[int, ...]:
        """Return the slots nearest to horizon / 2^(k/4), ascending and from one slot on."""
        edges: set[int] = {1}
        age_ms, k = self.horizon_ms, 0
        while age_ms >= self.fine_ms:
            edges.add(self._nearest_start(age_ms))
            k += 1
            age_ms = isqrt(isqrt(self.horizon_ms**4 >> k))
        return tuple(sorted(edges))

    def _checkpoints(self) -> tuple[int, ...]:
        def nearest(age_ms: int) -> int:
            return min(range(self.bins), key=lambda edge: abs(self.edges_ms[edge] - age_ms))

        return tuple(nearest(self.horizon_ms >> k) + 1 for k in range(DOUBLINGS, -1, -1))
