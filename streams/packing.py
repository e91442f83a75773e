"""Whole numbers packed side by side, little-endian wherever that is: as they are kept, sent and
written down. Many numbers are one object so. Without numpy, which the first stage does not load.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable

__all__ = ["HASH", "HASH_BYTES", "SLOT", "SLOT_BYTES", "packed", "unpacked"]

# What a responder's hash takes, of 32 bits, and a slot or a count, of 64: a response counts for no
# more than 10^9 (streams.codec).
HASH, SLOT = "I", "q"
HASH_BYTES, SLOT_BYTES = array(HASH).itemsize, array(SLOT).itemsize


def packed(numbers: Iterable[int], code: str) -> bytes:
    """Return numbers packed; `code` is HASH or SLOT.

    >>> unpacked(packed([3, 70_000], HASH), HASH).tolist()
    [3, 70000]
    """
    return _little(array(code, numbers)).tobytes()


def unpacked(data: bytes | bytearray, code: str) -> array[int]:
    """Return what was packed."""
    numbers = array(code)
    numbers.frombytes(data)
    return _little(numbers)


def _little(numbers: array[int]) -> array[int]:
    """Turn the bytes of each around where the machine has them the other way."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
