"""The box's half of the sealing: births, key exchanges, frames. Keys live in memory only."""

from dataclasses import dataclass, field

from proto import exchange
from proto.bundling import holds_update
from proto.codec import encode
from proto.errors import SealError
from proto.identity import Identity
from proto.locks import REAL, Locks
from proto.messages import Birth, Era, KeyOffer, Message, Sealed
from proto.replay import Window, admit
from proto.sealing import Epoch, KemPair

MAX_EPOCHS = 3


@dataclass
class Keys:
    """One epoch as the box holds it. `sequence` is the next frame's; 0 went with the accept."""

    epoch: Epoch
    era: Era
    sequence: int = 1
    window: Window = field(default_factory=Window)


class Secure:
    """Sealing for one box process."""

    def __init__(self, identity: Identity, locks: Locks = REAL) -> None:
        self._identity, self._locks = identity, locks
        self._asked: exchange.Asked | None = None
        self._keys: dict[bytes, Keys] = {}
        self._confirmed: Keys | None = None

    def kem_pair(self) -> KemPair:
        """A fresh pair for one exchange."""
        return self._locks.kem_pair()

    def sign(self, message: Message) -> bytes:
        """A signed envelope's bytes."""
        return self._locks.sign(message, self._identity)

    def birth(self, birth: Birth, kem: KemPair) -> bytes:
        """A signed birth; an earlier one is forgotten with its private key."""
        self._asked = self._locks.ask(birth, kem, self._identity)
        return self._asked.birth

    def accept(
        self, data: bytes, coordinator: bytes, era: Era | None, report: Message
    ) -> bytes | None:
        """The accept that answers a key offer, or None for an offer to an earlier birth."""
        offer: KeyOffer = self._locks.open_signed(data, KeyOffer, coordinator)
        if self._asked is None or not exchange.answers(self._asked, offer):
            return None
        if era is not None and offer.era != era and offer.era.number <= era.number:
            raise SealError(f"a coordinator of era {offer.era.number}; {era.number} was seen here")
        agreed = self._locks.accept(self._asked, data, offer, self._identity, encode(report))
        self._asked = None
        self._keys[agreed.epoch.id] = Keys(agreed.epoch, agreed.era)
        while len(self._keys) > MAX_EPOCHS:
            del self._keys[next(iter(self._keys))]
        return agreed.accept

    def open(self, frame: bytes) -> tuple[Sealed, Era, bool]:
        """A frame's message, its epoch's era, and whether it is the first under that epoch."""
        claimed = self._locks.peek(frame)
        keys = self._keys.get(claimed.epoch)
        if keys is None:
            raise SealError("sealed under keys this box no longer holds")
        message = self._locks.open(frame, keys.epoch.down, None)
        window = admit(keys.window, claimed.sequence)
        if window is None:
            raise SealError("a frame that was taken before")
        keys.window = window
        first = keys is not self._confirmed and keys is next(reversed(self._keys.values()))
        if first:
            self._confirmed = keys
            # A new era voids the epochs of every other.
            self._keys = {id_: k for id_, k in self._keys.items() if k.era == keys.era}
        return message, keys.era, first

    def forget(self) -> None:
        """Hold no keys any more: the coordinator's own key has changed."""
        self._keys.clear()
        self._confirmed = None

    def seal(self, message: Sealed) -> bytes:
        """A frame to the coordinator; updates are signed as well. Raises SealError without keys."""
        keys = self._confirmed
        if keys is None:
            raise SealError("no keys are shared with the coordinator yet")
        signer = self._identity if holds_update(message) else None
        epoch, sequence = keys.epoch, keys.sequence
        keys.sequence += 1  # whatever happens: a sequence used twice would undo the sealing
        return self._locks.seal(message, epoch.id, epoch.up, sequence, signer)
