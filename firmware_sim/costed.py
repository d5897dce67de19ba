"""Locks that cost bytes and hide nothing, for emulated fleets too large to be sealed one by one.

Every frame, envelope and key has the size that `proto.locks.REAL` would give it, to the byte; the
tests compare them. What is inside is in the clear, so that a run depends on its seed alone, and is
handed on with the frame: it is encoded for its size, and decoded only where a frame was changed.
"""

import hashlib
from typing import Any

from proto import sealing
from proto.codec import decode_sealed, decode_signed, encode
from proto.errors import SealError
from proto.exchange import Agreed, Asked, Offered
from proto.identity import ED25519, HEAD, Identity, body_of
from proto.locks import Locks
from proto.messages import Birth, Era, KeyAccept, KeyOffer, Sealed
from proto.sealing import HEADER, PLAIN, SIGNATURE, SIGNED, TAG, Epoch, KemPair, Key

KEM_KEY = 1216
SECRET = 32 + 1120 + TAG
"""HPKE's output for 32 bytes: the encapsulated key, the secret, a tag."""


class NoPair(KemPair):
    """The size of a public key."""

    public = bytes(KEM_KEY)

    def __init__(self) -> None:
        """Nothing is generated."""


class NoIdentity(Identity):
    """A name where a key would be: 32 bytes that are the box's own."""

    def __init__(self, name: str) -> None:
        self.public = hashlib.sha256(name.encode()).digest()


_NO_PAIR = NoPair()
_NO_KEY = Key(bytes(32))
_PLAIN, _SIGNED = bytes(TAG), bytes(TAG + SIGNATURE)


def sign(message: Any, _identity: Identity) -> bytes:
    return bytes([1, ED25519]) + bytes(HEAD - 2) + encode(message)


def open_signed(data: bytes, kind: type[Any], _public: bytes) -> Any:
    return decode_signed(body_of(data), kind)


class Frame(bytes):
    """A frame that knows what is in it, so that nobody has to read it; a copy of it does not."""

    claimed: sealing.Frame
    message: Sealed


def seal(message: Sealed, epoch: bytes, _key: Key, sequence: int, signer: Identity | None) -> bytes:
    signed = signer is not None
    suite, end = (SIGNED, _SIGNED) if signed else (PLAIN, _PLAIN)
    frame = Frame(HEADER.pack(1, suite, epoch, sequence) + encode(message) + end)
    frame.claimed, frame.message = sealing.Frame(epoch, sequence, signed), message
    return frame


def peek(frame: bytes) -> sealing.Frame:
    return frame.claimed if type(frame) is Frame else sealing.peek(frame)


def open_(frame: bytes, _key: Key, _signer: bytes | None) -> Sealed:
    if type(frame) is Frame:
        return frame.message
    seal_ = _SIGNED if frame[1] == SIGNED else _PLAIN
    if not frame.endswith(seal_):
        raise SealError("the frame was altered or sealed under another key")
    return decode_sealed(frame[HEADER.size : -len(seal_)])


def ask(birth: Birth, kem: KemPair, identity: Identity) -> Asked:
    return Asked(sign(birth, identity), kem)


def offer(birth_bytes: bytes, birth: Birth, era: Era, identity: Identity) -> Offered:
    message = KeyOffer(
        box=birth.box,
        birth=hashlib.sha256(birth_bytes).digest(),
        era=era,
        kem=bytes(KEM_KEY),
        secret=bytes(SECRET),
    )
    return Offered(birth_bytes, sign(message, identity), _NO_PAIR, b"")


def accept(
    asked: Asked, offer_bytes: bytes, key_offer: KeyOffer, identity: Identity, report: bytes
) -> Agreed:
    epoch = _epoch(asked.birth, offer_bytes)
    message = KeyAccept(
        box=key_offer.box,
        offer=hashlib.sha256(offer_bytes).digest(),
        secret=bytes(SECRET),
        report=HEADER.pack(1, PLAIN, epoch.id, 0) + report + _PLAIN,
    )
    return Agreed(epoch, key_offer.era, sign(message, identity))


def finish(offered: Offered, data: bytes, box_key: bytes) -> tuple[Epoch, bytes]:
    message: KeyAccept = open_signed(data, KeyAccept, box_key)
    if message.offer != hashlib.sha256(offered.offer).digest():
        raise SealError("a key accept for another offer; the box will ask again")
    return _epoch(offered.birth, offered.offer), message.report


def _epoch(birth: bytes, key_offer: bytes) -> Epoch:
    return Epoch(hashlib.sha256(birth + key_offer).digest()[:8], _NO_KEY, _NO_KEY)


COSTED = Locks(
    kem_pair=lambda: _NO_PAIR,
    ask=ask,
    offer=offer,
    accept=accept,
    finish=finish,
    seal=seal,
    peek=peek,
    open=open_,
    open_signed=open_signed,
    sign=sign,
)
