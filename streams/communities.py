"""All communities, each with its models: turns in event-time order in, facts out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.forecast import Features
from streams.ask import Ask
from streams.community import Community, CommunityState
from streams.events import Estimate, Level, Verdict
from streams.settings import Settings
from streams.turns import Put, Ripe, Turn

__all__ = ["Communities", "Fact"]

Fact = Estimate | Verdict | Level


class Communities:
    """Lets every community hear the turns of its appeals, and learn.

    Parameters
    ----------
    settings
        Thresholds and limits.
    states
        States to go on from, by community.

    Attributes
    ----------
    communities
        By name.
    facts
        What has been said, in event-time order, to be taken away.
    before_learning
        Hears of every appeal right before a community learns from it.
    """

    def __init__(self, settings: Settings, states: dict[str, CommunityState] | None = None) -> None:
        self.settings = settings
        self.facts: list[Fact] = []
        self.communities = {
            name: Community(name, settings, self.facts, kept)
            for name, kept in (states or {}).items()
        }
        self.before_learning: Callable[[Community, Ask, Features], None] | None = None

    def hear(self, turns: list[Turn]) -> None:
        """Learn from turns, in event-time order."""
        start = 0
        for end, turn in enumerate(turns):
            if type(turn) is Ripe:
                self._tell(turns[start:end])
                self.communities[turn.community].learn(turn)
                start = end + 1
        self._tell(turns[start:])

    def _tell(self, turns: list[Any]) -> None:
        """Tell of turns between which nothing is learned. All are foretold first: that is most of
        the work, and the same code over and over, which then stays in the processor's cache.
        """
        known = self.communities
        heard = [known.get(turn.community) or self._begin(turn) for turn in turns]
        foretold = [one.foretell(turn) for one, turn in zip(heard, turns, strict=True)]
        for one, turn, (ask, forecast) in zip(heard, turns, foretold, strict=True):
            one.hear(turn, ask, forecast)

    def _begin(self, turn: Turn) -> Community:
        """Begin a community, with its first appeal."""
        assert type(turn) is Put, "an appeal has a turn before it was put"
        community = Community(turn.community, self.settings, self.facts)
        community.before_learning = self.before_learning
        self.communities[turn.community] = community
        return community
