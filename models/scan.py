"""Lines of JSON read without making anything of them, where they are plain: responses that are only
to be counted, written as most programs write them.

A line is plain if it is one object whose members are strings in printable ASCII without escapes,
or short decimal numbers, and named, each at most once, `type` ("response"), `appeal_id`, `time`
(RFC 3339 in UTC), `responder`, `count` or `value`. What such a line means leaves no room for doubt.
Every other line, also one that is wrong, is for the JSON library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ages import NEVER_MS
from models.dates import DAY_MS, DAYS_BEFORE_1970
from models.kernels import compiled

__all__ = [
    "COUNT",
    "END",
    "GROUP",
    "HASH",
    "NONE",
    "START",
    "TIME",
    "VALUE",
    "WHO",
    "WHO_END",
    "Bytes",
    "Whole",
    "scan",
]

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]

# Of each line: where it begins and ends, and its time in ms, NEVER_MS if it is not plain; then, if
# it is, which appeal it answers, how many responses it is, their value in millionths, and where the
# responder's name begins and ends and its CRC-32.
START, END, TIME, GROUP, COUNT, VALUE, WHO, WHO_END, HASH = range(9)
COLUMNS = 9
NONE = -1  # of a line that is not plain: its group; what is not named: value, responder's hash

STRING_MAX = 256
LINE_MAX = 1_024  # of a plain line, for it may be kept as it is until its appeal opens
DIGITS_MAX, DECIMALS_MAX = 9, 6  # so that a double says the same, in millionths
QUOTE, BACKSLASH, SPACE, TILDE, COLON, COMMA, OPEN, CLOSE, LINE_END = b'"\\ ~:,{}\n'
ZERO, NINE = b"09"
IS_TYPE, IS_APPEAL, IS_TIME, IS_WHO, IS_COUNT, IS_VALUE = 1, 2, 4, 8, 16, 32
NEEDED = IS_TYPE | IS_APPEAL | IS_TIME
TYPE, TIME_OF, COUNT_OF, VALUE_OF, APPEAL, RESPONDER, RESPONSE = (
    np.frombuffer(word + b'"', np.uint8).copy()
    for word in (b"type", b"time", b"count", b"value", b"appeal_id", b"responder", b"response")
)
NAME_LENGTHS = np.zeros(IS_VALUE + 1, np.int64)
for member, name in (
    *((IS_TYPE, TYPE), (IS_APPEAL, APPEAL), (IS_TIME, TIME_OF)),
    *((IS_WHO, RESPONDER), (IS_COUNT, COUNT_OF), (IS_VALUE, VALUE_OF)),
):
    NAME_LENGTHS[member] = 1 + len(name)
SECONDS_LENGTH = len("0000-00-00T00:00:00")
MILLION = 1_000_000
YEAR_MIN, YEAR_MAX = 1900, 2099
MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
# Fowler, Noll, Vo (1991), FNV-1a of 64 bits.
FNV_BASIS, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
SLOTS_MIN = 64


def _crc_table() -> NDArray[np.uint32]:
    """Return what CRC-32 makes of a byte (RFC 1952, section 8: reflected polynomial EDB88320)."""
    table: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(0xEDB88320)
    return table


CRC = _crc_table()


@compiled
def scan(text: Bytes) -> tuple[Whole, Whole]:
    """Read lines, each with its end.

    Returns
    -------
    rows : shape (lines, COLUMNS).
    appeals : shape (groups, 2), where each appeal's id begins and ends, as they first come.
    """
    lines = 0
    for byte in text:
        lines += byte == LINE_END
    slots = SLOTS_MIN
    while slots < 2 * lines:
        slots *= 2
    table = np.full(slots, NONE, np.int64)
    rows, appeals = np.empty((lines, COLUMNS), np.int64), np.empty((lines, 2), np.int64)
    groups, start = 0, 0
    for line in range(lines):
        row, appeal = rows[line], appeals[groups]
        row[START] = start
        end = read_line(text, start, row, appeal)
        if end == NONE or end - start > LINE_MAX:
            row[GROUP], row[TIME] = NONE, NEVER_MS
        else:
            slot = find(text, appeal, appeals, table)
            if table[slot] == NONE:
                table[slot] = groups
                groups += 1
            row[GROUP] = table[slot]
        while end == NONE or text[end] != LINE_END:
            end = max(start, end + 1)
        row[END] = end
        start = end + 1
    return rows, appeals[:groups]


@compiled
def read_line(text: Bytes, start: int, row: Whole, appeal: Whole) -> int:
    """Read a line; return its end, or -1 if it is not plain. Nothing goes on at a line end, so that
    nothing is read beyond but by `read_time`.
    """
    row[COUNT], row[VALUE], row[WHO], row[WHO_END], row[HASH] = 1, NONE, 0, 0, NONE
    if text[start] != OPEN:
        return NONE
    at, seen = start, 0
    while text[at] == COMMA or not seen:
        name = after_spaces(text, at + 1)
        member = member_named(text, name)
        if not member or member & seen:
            return NONE
        at = after_spaces(text, name + NAME_LENGTHS[member])
        if text[at] != COLON:
            return NONE
        seen |= member
        at = read_member(text, after_spaces(text, at + 1), member, row, appeal)
        if at == NONE:
            return NONE
        at = after_spaces(text, at)
    is_whole = text[at] == CLOSE and text[at + 1] == LINE_END
    return at + 1 if is_whole and seen & NEEDED == NEEDED else NONE


@compiled
def read_member(text: Bytes, at: int, member: int, row: Whole, appeal: Whole) -> int:
    """Read the value of a member; return the place behind it, or -1 if it is not plain."""
    if member == IS_COUNT:
        return read_count(text, at, row)
    if member == IS_VALUE:
        return read_value(text, at, row)
    if member == IS_TYPE:
        is_response = text[at] == QUOTE and begins(text, at + 1, RESPONSE)
        return at + 1 + len(RESPONSE) if is_response else NONE
    if member == IS_TIME:
        return read_time(text, at, row)
    end = string_end(text, at)
    if end == NONE or end == at + 1:
        return NONE
    if member == IS_APPEAL:
        appeal[0], appeal[1] = at + 1, end
    else:
        row[WHO], row[WHO_END], row[HASH] = at + 1, end, crc32(text, at + 1, end)
    return end + 1


@compiled
def member_named(text: Bytes, at: int) -> int:
    """Return which member the name that begins here, with its quote, is; 0 if none."""
    if text[at] != QUOTE:
        return 0
    first = text[at + 1]
    if first == TIME_OF[0]:
        if begins(text, at + 1, TIME_OF):
            return IS_TIME
        return IS_TYPE if begins(text, at + 1, TYPE) else 0
    if first == APPEAL[0]:
        return IS_APPEAL if begins(text, at + 1, APPEAL) else 0
    if first == RESPONDER[0]:
        return IS_WHO if begins(text, at + 1, RESPONDER) else 0
    if first == COUNT_OF[0]:
        return IS_COUNT if begins(text, at + 1, COUNT_OF) else 0
    return IS_VALUE if begins(text, at + 1, VALUE_OF) else 0


@compiled
def begins(text: Bytes, at: int, word: Bytes) -> bool:
    """Return whether a word stands here, with its closing quote."""
    for i in range(word.shape[0]):
        if text[at + i] != word[i]:
            return False
    return True


@compiled
def after_spaces(text: Bytes, at: int) -> int:
    """Return the first place from here on where there is no space."""
    while text[at] == SPACE:
        at += 1
    return at


@compiled
def string_end(text: Bytes, at: int) -> int:
    """Return where the string that begins here has its closing quote; -1 if it is not plain."""
    if text[at] != QUOTE:
        return NONE
    for byte in text[at + 1 : at + STRING_MAX + 2]:  # a slice is passed through the fastest
        at += 1
        if byte == QUOTE:
            return at
        if byte < SPACE or byte > TILDE or byte == BACKSLASH:
            return NONE
    return NONE


@compiled
def read_count(text: Bytes, at: int, row: Whole) -> int:
    """Read a number from 1 to 999,999,999; return the place behind it, or -1 if it is none."""
    end = digits_end(text, at, DIGITS_MAX)
    if end == at or text[at] == ZERO:
        return NONE
    row[COUNT] = number(text, at, end)
    return end


@compiled
def read_value(text: Bytes, at: int, row: Whole) -> int:
    """Read a number below a milliard of up to six decimals; return the place behind it, or -1."""
    end = digits_end(text, at, DIGITS_MAX)
    if end == at or (text[at] == ZERO and end > at + 1):
        return NONE
    row[VALUE] = number(text, at, end) * MILLION
    if text[end] == ord("."):
        point, end = end, digits_end(text, end + 1, DECIMALS_MAX)
        if end == point + 1:
            return NONE
        row[VALUE] += decimals(text, point + 1, end, MILLION)
    return end


@compiled
def digits_end(text: Bytes, at: int, most: int) -> int:
    """Return the end of the digits that begin here, of which so many are read at most."""
    end = at
    while end - at < most and ZERO <= text[end] <= NINE:
        end += 1
    return end


@compiled
def number(text: Bytes, start: int, end: int) -> int:
    """Return the number that the digits from start to end are."""
    found = 0
    for digit in text[start:end]:
        found = 10 * found + (int(digit) - ZERO)
    return found


@compiled
def decimals(text: Bytes, start: int, end: int, unit: int) -> int:
    """Return what digits behind a point are worth if 1 is worth `unit`, rounded down."""
    found = 0
    for digit in text[start:end]:
        unit //= 10
        found += unit * (int(digit) - ZERO)
    return found


@compiled
def read_time(text: Bytes, at: int, row: Whole) -> int:
    """Read a time in UTC, in quotes, rounded down to milliseconds; return the place behind it, or
    -1 if it is not plainly one.
    """
    start, point = at + 1, at + 1 + SECONDS_LENGTH
    if point >= text.shape[0]:
        return NONE
    century, year, month = two(text, start), two(text, start + 2), two(text, start + 5)
    day, hour = two(text, start + 8), two(text, start + 11)
    minute, second = two(text, start + 14), two(text, start + 17)
    if min(century, year, hour, minute, second) < 0 or not is_laid_out(text, at):
        return NONE
    year += 100 * century
    if not (YEAR_MIN <= year <= YEAR_MAX and 1 <= month <= 12 and hour < 24):
        return NONE
    if not (1 <= day <= days_of(year, month) and minute < 60 and second < 60):
        return NONE
    seconds = (hour * 60 + minute) * 60 + second
    row[TIME] = days_since_1970(year, month, day) * DAY_MS + seconds * 1000
    end = point
    if text[point] == ord("."):
        end = digits_end(text, point + 1, DECIMALS_MAX)
        row[TIME] += decimals(text, point + 1, end, 1000)
        if end == point + 1:
            return NONE
    return end + 2 if text[end] == ord("Z") and text[end + 1] == QUOTE else NONE


@compiled
def is_laid_out(text: Bytes, at: int) -> bool:
    """Return whether there is between the digits what a time in quotes has there."""
    dashes = text[at] == QUOTE and text[at + 5] == ord("-") and text[at + 8] == ord("-")
    colons = text[at + 14] == COLON and text[at + 17] == COLON
    return bool(dashes and colons and text[at + 11] == ord("T"))


@compiled
def two(text: Bytes, at: int) -> int:
    """Return the number that two digits are; -1 if they are none."""
    tens, ones = int(text[at]) - ZERO, int(text[at + 1]) - ZERO
    return 10 * tens + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else NONE


@compiled
def days_of(year: int, month: int) -> int:
    """Return how many days a month has."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else int(MONTH_DAYS[month - 1])


@compiled
def days_since_1970(year: int, month: int, day: int) -> int:
    """Hinnant (2013), "chrono-compatible low-level date algorithms", days_from_civil."""
    if month <= 2:
        year -= 1
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + of_year - DAYS_BEFORE_1970


@compiled
def crc32(text: Bytes, start: int, end: int) -> int:
    """Return CRC-32 as zlib has it (RFC 1952, section 8)."""
    crc: Any = np.uint32(0xFFFFFFFF)
    for byte in text[start:end]:
        crc = CRC[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return int(crc ^ np.uint32(0xFFFFFFFF))


@compiled
def find(text: Bytes, appeal: Whole, appeals: Whole, table: Whole) -> int:
    """Return the slot of an appeal's id in the table, or the free one where it goes."""
    hashed = FNV_BASIS
    for byte in text[appeal[0] : appeal[1]]:
        hashed = (hashed ^ np.uint64(byte)) * FNV_PRIME
    last = table.shape[0] - 1
    slot: int = np.int64(hashed ^ (hashed >> np.uint64(32))) & last
    while table[slot] != NONE and not is_same(text, appeal, appeals[table[slot]]):
        slot = (slot + 1) & last
    return slot


@compiled
def is_same(text: Bytes, one: Whole, other: Whole) -> bool:
    """Return whether the same stands in two places."""
    if one[1] - one[0] != other[1] - other[0]:
        return False
    for at in range(one[1] - one[0]):
        if text[one[0] + at] != text[other[0] + at]:
            return False
    return True
