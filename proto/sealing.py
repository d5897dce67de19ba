"""End-to-end sealing: a key exchange that makes an epoch, and frames sealed under it.

The exchange is HPKE (RFC 9180, base mode) both ways with MLKEM768-X25519, HKDF-SHA256 and
ChaCha20-Poly1305; the epoch's keys come from both secrets and the hash of all three messages.
Private halves live only for one exchange, epoch keys only in memory: a stolen card opens nothing
old, and a cloned one cannot reuse a nonce. A frame's nonce is its sequence number, as in TLS 1.3
(RFC 8446, section 5.3).

Frame: version 1, suite 1, epoch 8, sequence 8, ciphertext, then 64 bytes of Ed25519 signature in
the signed suite. The 18 bytes before the ciphertext are its associated data.
"""

import hashlib
import secrets
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from proto.errors import LocalError, RemoteError, SealError
from proto.identity import Identity, verify

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
PLAIN, SIGNED = 1, 2
HEADER = struct.Struct(">BB8sQ")
TAG, SIGNATURE = 16, 64
MAX_SEQUENCE = 2**32
"""Frames under one epoch; a sender makes a new epoch long before."""
_NONCE = struct.Struct(">4xQ")
_SUITES = (PLAIN, SIGNED)
_SHORTEST = HEADER.size + TAG


class KemPair:
    """An ephemeral hybrid key pair for one exchange (X-Wing shapes: public half 1216 bytes)."""

    def __init__(self) -> None:
        kem, curve = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        self._private = MLKEM768X25519PrivateKey(kem, curve)
        self.public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What `seal_to` sealed. Raises SealError."""
        try:
            return SUITE.decrypt(sealed, self._private, context)
        except (InvalidTag, ValueError) as error:
            raise SealError(f"cannot be opened with this key: {type(error).__name__}") from None

    def __repr__(self) -> str:
        return "KemPair(ephemeral)"


def seal_to(public: bytes, plaintext: bytes, context: bytes) -> bytes:
    """HPKE single-shot to a `KemPair.public`; `context` must be the same at opening."""
    try:
        kem = mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184])
        curve = x25519.X25519PublicKey.from_public_bytes(public[1184:])
        return SUITE.encrypt(plaintext, MLKEM768X25519PublicKey(kem, curve), context)
    except ValueError as error:
        raise RemoteError(f"not a usable KEM key: {error}") from None


def transcript(*parts: bytes) -> bytes:
    """SHA-256 over the parts' own hashes, so that no boundary between them can shift."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


@dataclass(frozen=True, slots=True)
class Key:
    """One direction's key, and its cipher, which costs more to make than to use."""

    secret: bytes = field(repr=False)
    cipher: ChaCha20Poly1305 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cipher", ChaCha20Poly1305(self.secret))


@dataclass(frozen=True, slots=True)
class Epoch:
    """Keys for both directions between one box and one coordinator process."""

    id: bytes
    up: Key
    down: Key


def new_secret() -> bytes:
    """One side's 32 random bytes for a key exchange."""
    return secrets.token_bytes(32)


def derive_epoch(box_secret: bytes, coordinator_secret: bytes, whole: bytes) -> Epoch:
    """Both secrets and the transcript of birth, offer and accept to an epoch (RFC 5869)."""
    key = HKDF(SHA256(), 72, whole, b"qfleet epoch v1").derive(box_secret + coordinator_secret)
    return Epoch(id=key[:8], up=Key(key[8:40]), down=Key(key[40:]))


class Frame(Struct, frozen=True, gc=False):
    """What a frame says of itself; believed only once it was opened."""

    epoch: bytes
    sequence: int
    signed: bool


def seal(body: bytes, epoch: bytes, key: Key, sequence: int, signer: Identity | None) -> bytes:
    """One frame. `key` is the direction's; a `sequence` must never come twice under it."""
    if not 0 <= sequence < MAX_SEQUENCE:
        raise LocalError("this epoch is used up; a new key exchange is due")
    header = HEADER.pack(1, SIGNED if signer else PLAIN, epoch, sequence)
    frame = header + key.cipher.encrypt(_NONCE.pack(sequence), body, header)
    return frame + signer.sign(b"qfleet frame v1\0" + frame) if signer else frame


def peek(frame: bytes) -> Frame:
    """Which epoch and place a frame claims. Raises RemoteError when it is no frame at all."""
    if len(frame) < _SHORTEST:
        raise RemoteError(f"a frame of {len(frame)} bytes is too short")
    version, suite, epoch, sequence = HEADER.unpack_from(frame)
    if version != 1 or suite not in _SUITES or sequence >= MAX_SEQUENCE:
        raise RemoteError(f"frame version {version} suite {suite} is not known here")
    return Frame(epoch, sequence, suite == SIGNED)


def open_(frame: bytes, key: Key, signer: bytes | None) -> bytes:
    """The body. `signer` is the public key a signed frame must come from. Raises SealError."""
    claimed = peek(frame)
    sealed = frame
    if claimed.signed:
        if signer is None or len(frame) < HEADER.size + TAG + SIGNATURE:
            raise SealError("a signed frame where none is accepted")
        sealed = frame[:-SIGNATURE]
        verify(signer, frame[-SIGNATURE:], b"qfleet frame v1\0" + sealed)
    header = sealed[: HEADER.size]
    try:
        nonce = _NONCE.pack(claimed.sequence)
        return key.cipher.decrypt(nonce, sealed[HEADER.size :], header)
    except InvalidTag:
        raise SealError("the frame was altered or sealed under another key") from None
