"""Times as RFC 3339 has them, in UTC, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.kernels import compiled

__all__ = ["rfc3339_all"]

DAY_MS = 86_400_000
TEXT_MAX = len("2009-01-06T21:04:00.000Z ")
# From 0001 to 9999, as Python has it.
FIRST_MS, BEYOND_MS = -62_135_596_800_000, 253_402_300_800_000
DAYS_BEFORE_1970 = 719_468  # since 0000-03-01, from where leap days come last
ERA_DAYS = 146_097  # 400 years


def rfc3339_all(times_ms: Sequence[int]) -> list[str]:
    """Write times in UTC, with milliseconds only where there are any.

    Raises
    ------
    ValueError
        If one is not in the years 1 to 9999.

    >>> rfc3339_all([1_231_275_840_000, 1])
    ['2009-01-06T21:04:00Z', '1970-01-01T00:00:00.001Z']
    """
    text = np.empty(TEXT_MAX * len(times_ms), dtype=np.uint8)
    length = write_all(np.array(times_ms, dtype=np.int64), text)
    if length < 0:
        raise ValueError(f"expected times in the years 1 to 9999, got {list(times_ms)} ms")
    return text[:length].tobytes().decode("ascii").split()


@compiled
def write_all(times_ms: NDArray[np.int64], text: NDArray[np.uint8]) -> int:
    """Write times, each with a space behind it; return how long that is, or -1."""
    at = 0
    for i in range(times_ms.shape[0]):
        if not FIRST_MS <= times_ms[i] < BEYOND_MS:
            return -1
        day, ms = times_ms[i] // DAY_MS, times_ms[i] % DAY_MS
        at = write_date(day, text, at)
        at = write_digits(ms // 3_600_000, 2, ord("T"), text, at)
        at = write_digits(ms // 60_000 % 60, 2, ord(":"), text, at)
        at = write_digits(ms // 1000 % 60, 2, ord(":"), text, at)
        if ms % 1000:
            at = write_digits(ms % 1000, 3, ord("."), text, at)
        text[at], text[at + 1] = ord("Z"), ord(" ")
        at += 2
    return at


@compiled
def write_date(day: int, text: NDArray[np.uint8], at: int) -> int:
    """Write a day since 1970 at a place in the text; return the place behind it.

    Hinnant (2013), "chrono-compatible low-level date algorithms", civil_from_days.
    """
    days = day + DAYS_BEFORE_1970
    era, of_era = days // ERA_DAYS, days % ERA_DAYS
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    from_march = (5 * of_year + 2) // 153
    month = from_march + 3 if from_march < 10 else from_march - 9
    year += 400 * era + (1 if month <= 2 else 0)
    at = write_digits(year // 100, 2, 0, text, at)
    at = write_digits(year % 100, 2, 0, text, at)
    at = write_digits(month, 2, ord("-"), text, at)
    return write_digits(of_year - (153 * from_march + 2) // 5 + 1, 2, ord("-"), text, at)


@compiled
def write_digits(number: int, digits: int, before: int, text: NDArray[np.uint8], at: int) -> int:
    """Write a number of so many digits, and a character before it unless that is 0."""
    if before:
        text[at] = before
        at += 1
    for place in range(at + digits - 1, at - 1, -1):
        text[place] = ord("0") + number % 10
        number //= 10
    return at + digits
