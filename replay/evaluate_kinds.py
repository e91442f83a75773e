"""How many repeats it takes until the wear-out of a kind is established, or is thought to be."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from models.forecast import Features
from replay.evaluate_figures import Figure, median, share
from streams.ask import Ask
from streams.community import Community

__all__ = ["KindWatch"]

E_VALUE = 100.0  # STATISTICS: the threshold for the product over a kind's series


class KindWatch:
    """Watches a replay, appeal by appeal, for the moment a kind's evidence reaches 100.

    A repeat here is an appeal of the kind to an audience that its appealer has so asked before;
    those are counted over all series of the kind, up to the one that established it.
    """

    def __init__(self) -> None:
        self._repeats: dict[tuple[str, str], int] = {}
        self._established: dict[tuple[str, str], int] = {}

    def __call__(self, community: Community, ask: Ask, x: Features) -> None:
        """Look at what is known before the appeal is learned from, then count it."""
        key = (community.name, ask.appeal.kind)
        repeats = self._repeats.setdefault(key, 0)
        evidence = community.series.kinds.get(ask.appeal.kind)
        if evidence is not None and evidence.log_e_worn >= log(E_VALUE):
            self._established.setdefault(key, repeats)
        self._repeats[key] = repeats + (ask.kind_repeat > 1)

    def figures(self) -> dict[str, Figure]:
        """Return the share of kinds established, and the repeats it took (median)."""
        took = list(self._established.values())
        return {
            "established": share(len(took), len(self._repeats)),
            "repeats_needed": median(np.array(took, dtype=np.float64)),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return each kind: its repeats, and how many it took, None if never."""
        return [
            {
                "community": community,
                "kind": kind,
                "repeats": repeats,
                "established_after": self._established.get((community, kind)),
            }
            for (community, kind), repeats in sorted(self._repeats.items())
        ]
