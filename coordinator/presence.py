"""Who is here, and the keys shared with each: births, key exchanges, frames opened and sealed.

Keys live in this process only. A box that speaks under keys of an earlier process is not heard; it
sees the coordinator's new session and exchanges keys again.
"""

from dataclasses import dataclass, field

import msgspec

from coordinator.store import Store
from proto import exchange
from proto.bundling import holds_update
from proto.errors import RemoteError, SealError
from proto.identity import Identity
from proto.locks import REAL, Locks
from proto.messages import Birth, Era, Gone, Resources, Sealed
from proto.replay import Window, admit
from proto.sealing import Epoch, Frame

FRESH = 600.0
"""Seconds a board's report counts."""
Opened = tuple[Sealed, Frame]
"""A frame's content, and the mark to write down beside what it causes."""
MAX_EPOCHS = 3
"""Epochs a box may still speak under: frames sent just before a new exchange are on their way."""


@dataclass
class Contact:
    """One box in this process."""

    key: bytes
    session: int = -1
    asked: int = -1
    """The session of the birth that was answered last."""
    online: bool = False
    offered: exchange.Offered | None = None
    epochs: dict[bytes, Epoch] = field(default_factory=dict)
    windows: dict[bytes, Window] = field(default_factory=dict)
    current: Epoch | None = None
    """The newest of `epochs`."""
    sequence: int = 0
    resources: Resources = field(default_factory=Resources)
    heard: float = 0.0


class Presence:
    """All contacts. Every method raises RemoteError for what a peer did wrong."""

    def __init__(self, store: Store, fleet: str, identity: Identity, locks: Locks = REAL) -> None:
        self._store = store
        self._fleet = fleet
        self._identity, self._locks = identity, locks
        self._contacts: dict[str, Contact] = {}
        self._heard: dict[str, float] = {}

    def contact(self, box: str) -> Contact:
        """The box's contact. Raises RemoteError for a stranger or a revoked box."""
        known = self._contacts.get(box)
        if known is not None:
            return known
        row = self._store.box(box)
        if row is None:
            raise RemoteError("no box of this name has joined the fleet")
        if row.revoked:
            raise RemoteError("this box was revoked")
        self._contacts[box] = Contact(row.key)
        return self._contacts[box]

    def birth(self, box: str, data: bytes, era: Era) -> tuple[Birth, bytes]:
        """A birth's content and the key offer that answers it.

        Nothing else changes yet: this may be an old birth, played again. Only a living box can
        accept the offer.
        """
        contact = self.contact(box)
        message: Birth = self._locks.open_signed(data, Birth, contact.key)
        if message.box != box or message.fleet != self._fleet:
            raise SealError("a birth that belongs to another box or fleet")
        if contact.offered is not None and contact.offered.birth == data:
            return message, contact.offered.offer  # the same birth twice: the same offer
        contact.asked = message.session
        contact.offered = self._locks.offer(data, message, era, self._identity)
        return message, contact.offered.offer

    def gone(self, box: str, data: bytes) -> bool:
        """Whether this will is of the box's present session."""
        contact = self.contact(box)
        message: Gone = self._locks.open_signed(data, Gone, contact.key)
        if message.box != box or message.fleet != self._fleet:
            raise SealError("a will that belongs to another box or fleet")
        if message.session != contact.session:
            return False
        contact.online = False
        return True

    def accept(self, box: str, data: bytes) -> Opened:
        """The last step of a key exchange, with the box's first report."""
        contact = self.contact(box)
        if contact.offered is None:
            raise RemoteError("a key accept that nothing was offered for")
        epoch, frame = self._locks.finish(contact.offered, data, contact.key)
        message = self._locks.open(frame, epoch.up, contact.key)
        contact.offered = None
        contact.session, contact.online = contact.asked, True
        contact.epochs[epoch.id] = contact.current = epoch
        contact.windows[epoch.id] = Window(0, 1)
        contact.sequence = 0
        while len(contact.epochs) > MAX_EPOCHS:
            oldest = next(iter(contact.epochs))
            del contact.epochs[oldest], contact.windows[oldest]
        return message, Frame(epoch.id, 0, signed=True)

    def open(self, box: str, frame: bytes) -> Opened:
        """A sealed frame's message, taken once, and what to write down beside what it causes."""
        contact = self.contact(box)
        claimed = self._locks.peek(frame)
        epoch = contact.epochs.get(claimed.epoch)
        if epoch is None:
            raise SealError("sealed under keys this process does not hold; the box will send again")
        message = self._locks.open(frame, epoch.up, contact.key)
        window = admit(contact.windows[epoch.id], claimed.sequence)
        if window is None:
            raise SealError("a frame that was taken before")
        if not claimed.signed and holds_update(message):
            raise SealError("an update without a signature")
        contact.windows[epoch.id] = window
        if not contact.online:  # a will that was played again, perhaps: this box lives
            contact.online = True
            self._store.change_box(box, online=True)
        return message, claimed

    def seal(self, box: str, message: Sealed) -> bytes | None:
        """A frame to the box, or None while no keys are shared."""
        contact = self._contacts.get(box)
        if contact is None or (epoch := contact.current) is None:
            return None
        sequence = contact.sequence
        contact.sequence += 1  # whatever happens: a sequence used twice would undo the sealing
        return self._locks.seal(message, epoch.id, epoch.down, sequence, None)

    def reachable(self, now: float) -> dict[str, Resources]:
        """Boxes that are on line and share keys with us, with what their boards said of late.

        Numbers of long ago count for nothing: a box kept out for its heat would stay out. Words
        stay true until a box has new ones, which it then tells.
        """
        return {
            box: c.resources if now < c.heard + FRESH else _words(c.resources)
            for box, c in self._contacts.items()
            if c.online and c.current
        }

    def hear(self, box: str, resources: Resources, now: float) -> None:
        """Remember what a board says; `boards` hands it on to the store now and then."""
        contact = self._contacts[box]  # who is heard has just been opened
        contact.resources, contact.heard = resources, now
        self._heard[box] = now

    def boards(self) -> list[dict[str, object]]:
        """What was heard since the last call, as the store keeps it."""
        heard, self._heard = self._heard, {}
        return [
            {
                "of": box,
                "seen": at,
                "resources": msgspec.msgpack.encode(self._contacts[box].resources),
            }
            for box, at in heard.items()
            if box in self._contacts
        ]

    def knows(self, box: str) -> bool:
        return box in self._contacts

    def drop(self, box: str) -> None:
        """Forget a revoked box."""
        self._contacts.pop(box, None)

    def drop_epochs(self) -> None:
        """Share keys with nobody: what was sealed before is not heard any more."""
        for contact in self._contacts.values():
            contact.epochs.clear()
            contact.windows.clear()
            contact.current = contact.offered = None


def _words(resources: Resources) -> Resources:
    return Resources(note=resources.note, journal=resources.journal)
