"""A bounded mapping that forgets what was not touched for longest, and counts what it forgot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar, overload

__all__ = ["Recent"]

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps the `limit` entries last touched. Touches come in event-time order, so forgetting is
    deterministic.

    >>> recent = Recent(2, list)
    >>> for key in "abac":
    ...     recent.touch(key).append(1)
    >>> list(recent.items()), recent.forgotten
    ([('a', [1, 1]), ('c', [1])], 1)
    """

    __slots__ = ("_entries", "_limit", "_make", "forgotten")

    def __init__(self, limit: int, make: Callable[[], V]) -> None:
        self._limit = limit
        self._make = make
        # A plain dict would look through all that has been taken from its front for the next one.
        self._entries: OrderedDict[K, V] = OrderedDict()
        self.forgotten = 0

    def touch(self, key: K) -> V:
        """Return the entry of `key`, made if absent, now the last to be forgotten."""
        entries = self._entries
        value = entries.get(key)
        if value is None:
            if len(entries) >= self._limit:
                entries.popitem(last=False)
                self.forgotten += 1
            value = entries[key] = self._make()
        else:
            entries.move_to_end(key)
        return value

    @overload
    def get(self, key: K) -> V | None: ...

    @overload
    def get(self, key: K, default: V) -> V: ...

    def get(self, key: K, default: V | None = None) -> V | None:
        """Return the entry of `key`, or the default, without touching it."""
        return self._entries.get(key, default)

    def __setitem__(self, key: K, value: V) -> None:
        self.touch(key)
        self._entries[key] = value

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterable[tuple[K, V]]:
        """Return entries, least recently touched first."""
        return self._entries.items()
