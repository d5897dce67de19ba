"""Whose word a box takes: the coordinator's key, proven to the fleet's root, only ever renewed."""

import logging
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from edge_client.membership import Membership, load_memory, save_memory
from proto import RELEASE
from proto.errors import SealError
from proto.identity import open_record, open_state
from proto.messages import Birth, CoordinatorState, Era
from proto.sealing import KemPair

CLOCK_SLACK = 86400
"""Seconds two clocks may be apart before it is worth a line."""

logger = logging.getLogger("edge_client")


class Allegiance:
    """The coordinator as this box knows it, on disk before it counts. `clock`: since 1970."""

    def __init__(self, home: Path, member: Membership, clock: Callable[[], float]) -> None:
        self._home, self._member, self._clock = home, member, clock
        memory = load_memory(home)
        self._memory = replace(memory, session=memory.session + 1)
        save_memory(home, self._memory)
        self.key = open_record(self._memory.record, member.root, 0).key

    @property
    def session(self) -> int:
        """Counts this box's starts."""
        return self._memory.session

    def birth(self, kem: KemPair, era: Era | None, turn: int) -> Birth:
        """This start's birth; `turn` is the highest this box has seen in `era`."""
        return Birth(
            fleet=self._member.fleet,
            box=self._member.box,
            session=self.session,
            kem=kem.public,
            era=era,
            turn=turn,
            release=RELEASE,
        )

    def hear(self, payload: bytes) -> tuple[CoordinatorState, bool]:
        """A proven state of the coordinator, and whether its key is new. Raises SealError."""
        memory = self._memory
        seen, record = open_state(payload, self._member.root, memory.serial, memory.time)
        if seen.fleet != self._member.fleet:
            raise SealError("the state of another fleet's coordinator")
        if seen.time > memory.time + CLOCK_SLACK:
            memory = replace(memory, time=seen.time)
        memory = replace(memory, serial=record.serial, record=seen.record)
        if memory != self._memory:
            save_memory(self._home, memory)
            self._memory = memory
        renewed, self.key = record.key != self.key, record.key
        # A box without a clock of its own may be years off: that is told, and harms nothing.
        apart = abs(seen.time - self._clock())
        if apart > CLOCK_SLACK:
            text = "this clock and the coordinator's are %.0f days apart; rounds do not mind"
            logger.warning(text, apart / CLOCK_SLACK)
        return seen, renewed
