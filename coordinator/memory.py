"""What one coordinator process is in the line of all: its session and its era.

An era is one unbroken memory. A store restored from an older copy is behind its boxes; the first
box that shows it makes a new era begin, in which no frame or open round of the old one counts.
"""

import os
from collections.abc import Callable

import msgspec

from coordinator.store import Store
from proto.errors import RemoteError
from proto.messages import Birth, Era

MAX_TURN_JUMP, MAX_ERA_JUMP = 2**20, 1000
"""A box's word can put us behind by at most so much ..."""
ERA_PAUSE = 3600.0
"""... and only once in so many seconds: a member that lies must not void every round."""


class Memory:
    """Session, era and turn of a store. Must be used inside its units."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store, self._now = store, now
        self._claims: dict[str, float] = {}
        self.session = 0
        self.begin_session()
        data = store.fact("era")
        if data is None:
            self._set_era(Era(number=1, nonce=os.urandom(8)))
        else:
            self.era = msgspec.msgpack.decode(data, type=Era)

    @property
    def turn(self) -> int:
        return self._store.count("turn")

    def begin_session(self) -> None:
        """A number never used before, not even by a store that was restored from an older copy."""
        last = self._store.count("session")
        # Hundredths of a second: two starts may fall into one second.
        self.session = max(last + 1, int(self._now() * 100), self.session + 1)
        self._store.set_count("session", self.session)

    def behind(self, birth: Birth) -> bool:
        """Whether a box remembers what we do not. Raises RemoteError for a claim beyond belief."""
        if birth.era is None or birth.era.number < self.era.number:
            return False
        if birth.era == self.era and birth.turn <= self.turn:
            return False
        now = self._now()
        ahead = birth.era.number - self.era.number
        if ahead > MAX_ERA_JUMP or now < self._claims.get(birth.box, -ERA_PAUSE) + ERA_PAUSE:
            raise RemoteError("claims to remember more than this coordinator, again or by far")
        self._claims[birth.box] = now
        return True

    def begin_era(self, birth: Birth) -> str:
        """Begin an era above all that the box has seen; what to tell of it."""
        assert birth.era is not None
        turn = self.turn
        highest = max(turn, min(birth.turn, turn + MAX_TURN_JUMP))
        self._set_era(Era(number=birth.era.number + 1, nonce=os.urandom(8)))
        self._store.set_count("turn", highest)
        return (
            f"{birth.box} has seen turn {birth.turn} of era {birth.era.number}, this store only "
            f"turn {turn}: it is an older copy. Era {self.era.number} begins; open rounds start "
            "anew"
        )

    def _set_era(self, era: Era) -> None:
        self.era = era
        self._store.set_fact("era", msgspec.msgpack.encode(era))
