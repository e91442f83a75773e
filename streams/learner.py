"""What follows the collectors: a register, and the communities that hear from it."""

from __future__ import annotations

import msgspec

from streams.communities import Communities, Fact
from streams.community import CommunityState
from streams.events import Checkpoint, Opened
from streams.ledger import Ledger
from streams.register import Envelope, Partition, Register
from streams.settings import Settings

__all__ = ["Envelope", "Fact", "Learner", "LearnerState"]


class LearnerState(msgspec.Struct):
    """Everything a learner knows, its register included, as plain data."""

    partitions: dict[str, Partition] = {}
    waiting: list[Opened | Checkpoint] = []
    communities: dict[str, CommunityState] = {}
    redelivered: int = 0


class Learner(Communities):
    """Learns from what collectors say.

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
    register
        Which orders what they say, and keeps the ledgers.
    """

    def __init__(
        self, settings: Settings, partitions: list[str], state: LearnerState | None = None
    ) -> None:
        state = state or LearnerState()
        super().__init__(settings, state.communities)
        self.register = Register(
            settings,
            partitions,
            known=state.partitions,
            waiting=state.waiting,
            ledgers=state.communities,
            redelivered=state.redelivered,
        )

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
