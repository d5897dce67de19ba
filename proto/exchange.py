"""The three-step key exchange between a box and a coordinator process, for both ends.

    box -> coordinator   Birth      an ephemeral KEM key
    coordinator -> box   KeyOffer   a secret, sealed to it; a KEM key of its own
    box -> coordinator   KeyAccept  a secret, sealed to that one; the new epoch's first frame

All three are signed.
Neither side keeps its private half afterwards. A lost step heals itself: the box gives birth again.
"""

import hashlib
from dataclasses import dataclass, field

from proto.errors import SealError
from proto.identity import Identity, open_signed, sign
from proto.messages import Birth, Era, KeyAccept, KeyOffer
from proto.sealing import Epoch, KemPair, derive_epoch, new_secret, seal, seal_to, transcript


@dataclass(frozen=True, slots=True)
class Asked:
    """What a box remembers between its birth and the offer."""

    birth: bytes
    kem: KemPair


@dataclass(frozen=True, slots=True)
class Offered:
    """What a coordinator remembers between its offer and the box's accept."""

    birth: bytes
    offer: bytes
    kem: KemPair
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the box holds after the exchange, and the accept to send."""

    epoch: Epoch
    era: Era
    accept: bytes


def ask(birth: Birth, kem: KemPair, identity: Identity) -> Asked:
    """First step. `birth.kem` must be `kem.public`."""
    return Asked(sign(birth, identity), kem)


def offer(birth_bytes: bytes, birth: Birth, era: Era, identity: Identity) -> Offered:
    """Second step, for a birth whose signature was already checked."""
    kem, secret = KemPair(), new_secret()
    sealed = seal_to(birth.kem, secret, b"qfleet offer v1" + transcript(birth_bytes, kem.public))
    message = KeyOffer(
        box=birth.box,
        birth=hashlib.sha256(birth_bytes).digest(),
        era=era,
        kem=kem.public,
        secret=sealed,
    )
    return Offered(birth_bytes, sign(message, identity), kem, secret)


def answers(asked: Asked, key_offer: KeyOffer) -> bool:
    """Whether this offer is for our latest birth, not for one we have forgotten."""
    return key_offer.birth == hashlib.sha256(asked.birth).digest()


def accept(
    asked: Asked, offer_bytes: bytes, key_offer: KeyOffer, identity: Identity, report: bytes
) -> Agreed:
    """Third step: both secrets are known to the box. `report` is sealed as the epoch's frame 0."""
    context = b"qfleet offer v1" + transcript(asked.birth, key_offer.kem)
    theirs = asked.kem.open(key_offer.secret, context)
    ours = new_secret()
    context = b"qfleet accept v1" + transcript(asked.birth, offer_bytes)
    sealed = seal_to(key_offer.kem, ours, context)
    epoch = derive_epoch(ours, theirs, transcript(asked.birth, offer_bytes, sealed))
    message = KeyAccept(
        box=key_offer.box,
        offer=hashlib.sha256(offer_bytes).digest(),
        secret=sealed,
        report=seal(report, epoch.id, epoch.up, 0, None),
    )
    return Agreed(epoch, key_offer.era, sign(message, identity))


def finish(offered: Offered, data: bytes, box_key: bytes) -> tuple[Epoch, bytes]:
    """The coordinator's end: the epoch, and the box's first frame, still sealed."""
    message = open_signed(data, KeyAccept, box_key)
    if message.offer != hashlib.sha256(offered.offer).digest():
        raise SealError("a key accept for another offer; the box will ask again")
    context = b"qfleet accept v1" + transcript(offered.birth, offered.offer)
    theirs = offered.kem.open(message.secret, context)
    whole = transcript(offered.birth, offered.offer, message.secret)
    return derive_epoch(theirs, offered.secret, whole), message.report
