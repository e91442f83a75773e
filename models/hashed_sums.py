"""Sums by 32-bit hash, in open addressing, where a dictionary of numbers would cost ten times as
much: additions come some sixty at once, and a quarter of all sums are dropped at once.

How the table lies shows nowhere: what is least is a matter of sums and hashes alone, and entries
are given in the order of hashes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["HASHES", "HashedSums", "Hashes", "least"]

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint32]
# As they are sent and kept; compiled loops take them on little-endian machines only.
HASHES = np.dtype("<u4")

# A row is hash and sum, side by side for the processor's cache; a double holds 32 bits exactly.
HASH, SUM = 0, 1
NONE = -1.0  # the hash of a free row
NO_BOUND = -1.0, -1.0  # sums and hashes are not negative
ROWS_MIN = 256
# Fibonacci hashing (Knuth 1973, The Art of Computer Programming 3, section 6.4): samples are of the
# least hashes, whose high bits are alike, and whose low ones anybody could choose.
GOLDEN = 2_654_435_769


class HashedSums:
    """Sums by hash; of one that is not there, 0.

    >>> sums = HashedSums([(7, 1.0)])
    >>> sums.add(np.array([7, 8, 9], HASHES), 2.0, but=9)
    >>> sums.items()
    [(7, 3.0), (8, 2.0)]
    >>> sums.drop_least(1)
    >>> sums.of(7), sums.of(8), len(sums)
    (3.0, 0.0, 1)
    """

    __slots__ = ("_rows", "_size")

    def __init__(self, items: Iterable[tuple[int, float]] = ()) -> None:
        self._rows, self._size = _free(ROWS_MIN), 0
        entries = np.array(list(items), dtype=np.float64).reshape(-1, 2)
        self._make_room(len(entries))
        self._size = fill(self._rows, entries, *NO_BOUND)

    def __len__(self) -> int:
        return self._size

    def of(self, hashed: int) -> float:
        """Return the sum of a hash."""
        return look_up(self._rows, hashed)

    def add(self, hashes: Hashes, weight: float, but: int) -> None:
        """Add `weight` to the sum of each of the hashes other than `but`."""
        self._make_room(len(hashes))
        self._size += add(self._rows, hashes, weight, but)

    def scale(self, factor: float) -> None:
        """Multiply all sums."""
        self._rows[:, SUM] *= factor

    def drop_least(self, count: int) -> None:
        """Drop so many of the least sums; of equal ones, those of the least hashes."""
        entries = taken(self._rows, self._size)
        hashes, sums = entries[:, HASH], np.ascontiguousarray(entries[:, SUM])
        highest = float(np.partition(sums, count - 1)[count - 1])
        less = int(np.count_nonzero(sums < highest))
        equal = np.sort(hashes[sums == highest])
        self._rows = _free(len(self._rows))
        self._size = fill(self._rows, entries, highest, float(equal[count - less - 1]))

    def items(self) -> list[tuple[int, float]]:
        """Return hashes and sums, by hash."""
        entries = taken(self._rows, self._size)
        entries = entries[np.argsort(entries[:, HASH])]
        hashes = entries[:, HASH].astype(np.int64).tolist()
        return list(zip(hashes, entries[:, SUM].tolist(), strict=True))

    def _make_room(self, count: int) -> None:
        """Keep half of the rows free, whatever `count` additions bring."""
        rows = len(self._rows)
        while rows < 2 * (self._size + count):
            rows *= 2
        if rows > len(self._rows):
            entries = taken(self._rows, self._size)
            self._rows = _free(rows)
            fill(self._rows, entries, *NO_BOUND)


def least(hashes: bytes | bytearray, most: int) -> bytearray:
    """Return the `most` least of some hashes, each once, ascending; packed as `HASHES`.

    >>> least(bytearray(np.array([3, 1, 3, 2], HASHES)), 2)
    bytearray(b'\\x01\\x00\\x00\\x00\\x02\\x00\\x00\\x00')
    """
    ordered = np.frombuffer(hashes, HASHES).copy()
    ordered.sort()
    return bytearray(ordered[: each_once(ordered, most)])


def _free(rows: int) -> Floats:
    table = np.zeros((rows, 2))
    table[:, HASH] = NONE
    return table


@compiled
def find(rows: Floats, hashed: int) -> int:
    """Return the row of a hash, or the free one that would be its."""
    size = rows.shape[0]
    row: int = (((hashed * GOLDEN) & 0xFFFFFFFF) * size) >> 32
    while rows[row, HASH] != hashed and rows[row, HASH] != NONE:
        row = row + 1 if row + 1 < size else 0
    return row


@compiled
def look_up(rows: Floats, hashed: int) -> float:
    """Return the sum of a hash: that of a free row is 0."""
    given: float = rows[find(rows, hashed), SUM]
    return given


@compiled
def add(rows: Floats, hashes: Hashes, weight: float, but: int) -> int:
    """Add to the sums of hashes other than `but`; return how many are new."""
    new = 0
    for hashed in hashes:
        if hashed != but:
            row = find(rows, hashed)
            if rows[row, HASH] == NONE:
                rows[row, HASH] = hashed
                new += 1
            rows[row, SUM] += weight
    return new


@compiled
def taken(rows: Floats, size: int) -> Floats:
    """Return the rows that are not free, in their order, which fills a table from top to bottom."""
    entries, n = np.empty((size + 1, 2)), 0  # free rows are written too, one over the other:
    for row in range(rows.shape[0]):  # a branch would be guessed wrong every other time
        entries[n, HASH], entries[n, SUM] = rows[row, HASH], rows[row, SUM]
        n += rows[row, HASH] != NONE
    return entries[:size]


@compiled
def fill(rows: Floats, entries: Floats, sum_bound: float, hash_bound: float) -> int:
    """Set the sums of hashes, where both, sum before hash, are above the bound; return how many
    are new.
    """
    new = 0
    for i in range(entries.shape[0]):
        hashed, given = entries[i, HASH], entries[i, SUM]
        if given > sum_bound or (given == sum_bound and hashed > hash_bound):
            row = find(rows, int(hashed))
            new += rows[row, HASH] == NONE
            rows[row, HASH], rows[row, SUM] = hashed, given
    return new


@compiled
def each_once(ordered: Hashes, most: int) -> int:
    """Move each of some ascending numbers to the front once, at most so many; return how many."""
    count = 0
    for i in range(ordered.shape[0]):
        if count == most:
            break
        if i == 0 or ordered[i] != ordered[count - 1]:
            ordered[count] = ordered[i]
            count += 1
    return count
