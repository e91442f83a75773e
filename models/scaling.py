"""What is much of an attribute: its middle and its width, of those that have been seen.

Coefficients of attributes are held beforehand to be of a common size, so attributes must be, too:
less their mean, and divided by two standard deviations, so that one that varies over a scale counts
like a yes or no, which is only centred (Gelman 2008, "Scaling regression inputs by dividing by two
standard deviations", Statistics in Medicine 27(15)). The mean matters as much: wear-out is what it
is of the middle, or else a moderator and the rate that it multiplies could make up for each other.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["SETTLED", "Scaling", "scaled"]

Floats = NDArray[np.float64]

# So many appeals, once it varies, tell middle and width to an eighth of a width. They are kept
# then, for what has been learned is in these units.
SETTLED = 64
# What differs by less than this, or this share of what it is, does not differ: it is rounding.
WIDTH_MIN, WIDTH_SHARE_MIN = 1e-6, 1e-3
VALUE_MAX = 1e100  # so that squares of differences are numbers
FURTHEST = 4.0  # widths from the middle: eight standard deviations, beyond which nothing is added


class Seen(msgspec.Struct):
    """Values of an attribute so far: how many, their mean, and the sum of squares around it.

    first, second : two that differ, None before there are. more : whether there has been a third.
    varied : how many there have been from the second on.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    first: float | None = None
    second: float | None = None
    more: bool = False
    varied: int = 0

    def add(self, value: float) -> None:
        """Take note of a value (Welford 1962, "Note on a method for calculating corrected sums of
        squares and products", Technometrics 4(3)).
        """
        value = min(max(value, -VALUE_MAX), VALUE_MAX)
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self.squares += off * (value - self.mean)
        if self.first is None:
            self.first = value
        elif value != self.first and self.second is None:
            self.second = value
        elif value not in (self.first, self.second):
            self.more = True
        self.varied += self.second is not None

    def width(self) -> float:
        """Return two standard deviations, or the difference of the only two values; 0: unknown."""
        if self.first is None or self.second is None:
            return 0.0
        width = abs(self.second - self.first)
        if self.more:
            width = 2.0 * sqrt(self.squares / self.count)
        return width if width > WIDTH_MIN + WIDTH_SHARE_MIN * abs(self.mean) else 0.0

    def settled(self) -> bool:
        """Return whether middle and width stay as they are."""
        return self.varied >= SETTLED


class Scaling:
    """Middles and widths of attributes by name.

    >>> scaling = Scaling()
    >>> for value in (0.0, 1.0, 1.0, 0.0):
    ...     _ = scaling.notice("brand", value)
    >>> scaled(np.array([1.0]), scaling.of(["brand"])).tolist()
    [0.5]
    """

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def notice(self, name: str, value: float) -> bool:
        """Take note of a value, unless the attribute has settled; return whether `of` changes."""
        seen = self._seen.setdefault(name, Seen())
        if seen.settled():
            return False
        before = seen.mean, seen.width()
        seen.add(value)
        return before != (seen.mean, seen.width())

    def settled(self, name: str) -> bool:
        """Return whether middle and width of an attribute stay as they are."""
        return self._seen.get(name, Seen()).settled()

    def of(self, names: list[str]) -> Floats:
        """Return the middles, and the inverses of the widths, shape (2, names); 0 if unknown."""
        seen = [self._seen.get(name, Seen()) for name in names]
        widths = [one.width() for one in seen]
        inverses = [1.0 / width if width > 0.0 else 0.0 for width in widths]
        return np.array([[one.mean for one in seen], inverses])

    def width(self, name: str) -> float:
        """Return how much more of an attribute is one more of it as scaled; 0: unknown."""
        return self._seen.get(name, Seen()).width()

    def state(self) -> dict[str, Any]:
        return {name: msgspec.structs.astuple(seen) for name, seen in self._seen.items()}

    def restore(self, state: dict[str, Any]) -> None:
        self._seen = {name: Seen(*kept) for name, kept in state.items()}


@compiled
def scaled(values: Floats, units: Floats) -> Floats:
    """Return values in widths from the middle; units : as `Scaling.of` has them."""
    found = np.empty(values.shape[0])
    for i in range(values.shape[0]):
        off = (values[i] - units[0, i]) * units[1, i]
        found[i] = min(max(off, -FURTHEST), FURTHEST)
    return found
