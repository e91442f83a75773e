"""Third stage: lets every community hear the turns of its appeals, and learn.

The register before it has put everything into event-time order; the two together are what follows
the collectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from models.forecast import Features
from streams.ask import Ask
from streams.community import Community, CommunityState
from streams.events import Checkpoint, Estimate, Level, Opened, Verdict
from streams.ledger import Ledger
from streams.register import Envelope, Partition, Register
from streams.settings import Settings
from streams.turns import Put, Ripe, Turn

__all__ = ["Envelope", "Fact", "Learner", "LearnerState"]

Fact = Estimate | Verdict | Level


class LearnerState(msgspec.Struct):
    """Everything a learner knows, its register included, as plain data."""

    partitions: dict[str, Partition] = {}
    waiting: list[Opened | Checkpoint] = []
    communities: dict[str, CommunityState] = {}
    redelivered: int = 0


class Learner:
    """A register, and the communities that learn from what it says.

    Parameters
    ----------
    settings
        Thresholds and limits.
    partitions
        Names of all collectors that will speak, so that none is overtaken.
    state
        A state to go on from.

    Attributes
    ----------
    facts
        What has been said, in event-time order, to be taken away.
    before_learning
        Hears of every appeal right before a community learns from it.
    """

    def __init__(
        self, settings: Settings, partitions: list[str], state: LearnerState | None = None
    ) -> None:
        state = state or LearnerState()
        self.settings = settings
        self.facts: list[Fact] = []
        self.register = Register(
            settings, partitions, state.partitions, state.waiting, dict(state.communities)
        )
        self.register.redelivered = state.redelivered
        self.communities = {
            name: Community(name, settings, self.facts, kept)
            for name, kept in state.communities.items()
        }
        self.before_learning: Callable[[Community, Ask, Features], None] | None = None

    @property
    def partitions(self) -> dict[str, Partition]:
        """How far each collector has got."""
        return self.register.partitions

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """The ledger of each community."""
        return self.register.ledgers

    @property
    def redelivered(self) -> int:
        """How many messages came again."""
        return self.register.redelivered

    def receive(self, envelope: Envelope) -> None:
        """Take an envelope and learn from all that is complete by now."""
        register = self.register
        register.receive(envelope)
        self.hear(register.turns)
        register.turns.clear()

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
        heard = [self._community(turn) for turn in turns]
        forecasts = [one.foretell(turn) for one, turn in zip(heard, turns, strict=True)]
        for one, turn, forecast in zip(heard, turns, forecasts, strict=True):
            one.hear(turn, forecast)

    def _community(self, turn: Turn) -> Community:
        """Return the community of a turn, new with its first appeal."""
        community = self.communities.get(turn.community)
        if community is None:
            assert type(turn) is Put, "an appeal has a turn before it was put"
            community = Community(turn.community, self.settings, self.facts)
            community.before_learning = self.before_learning
            self.communities[turn.community] = community
        return community

    def watermark_ms(self) -> int:
        """Return the time before which everything has been learned."""
        return self.register.watermark_ms()

    def state(self) -> LearnerState:
        """Return everything known, as plain data. Encode it before going on: it shares its parts
        with the learner.
        """
        return LearnerState(
            partitions=self.partitions,
            waiting=self.register.waiting(),
            communities={
                name: one.state(self.ledgers[name].state())
                for name, one in self.communities.items()
            },
            redelivered=self.redelivered,
        )
