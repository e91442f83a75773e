"""How often Python looks for objects that only keep each other."""

from __future__ import annotations

import gc

__all__ = ["collect_seldom"]

# Next to no garbage here is cyclic, while each look costs what has come since the last: at Python's
# own 700 it takes a tenth of a replay.
NEW_OBJECTS = 200_000


def collect_seldom() -> None:
    """Look seldom, and never through what was there when the program began."""
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 10, 10)
