"""Who speaks: Ed25519 keys, signed envelopes, and the key record that chains to the fleet root.

An envelope is version, algorithm, signature, body. The signature covers a fixed context and the
body, and the body's first element names its kind, so a signature never serves another purpose.
"""

import hashlib
from functools import lru_cache
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from proto.codec import decode_signed, encode
from proto.errors import RemoteError, SealError
from proto.messages import CoordinatorState, KeyRecord

ED25519 = 1
CONTEXT = b"qfleet signed v1\0"
HEAD = 2 + 64

Kind = TypeVar("Kind")


class Identity:
    """A private Ed25519 key that never shows itself."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "Identity":
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """For X.509, where the fleet root is the broker's CA."""
        return self._key

    def secret_bytes(self) -> bytes:
        """The 32-byte seed, for the key file alone."""
        return self._seed

    def __repr__(self) -> str:
        return f"Identity({fingerprint(self.public)})"


def fingerprint(public: bytes) -> str:
    """A key's short public name, 16 hexadecimal digits."""
    return hashlib.sha256(public).hexdigest()[:16]


def body_of(envelope: bytes) -> bytes:
    """What an envelope carries; nothing is believed yet."""
    return envelope[HEAD:]


def task_id(body: bytes) -> bytes:
    """How offers and enlistments name a task: the first half of its body's hash."""
    return hashlib.sha256(body).digest()[:16]


def verify(public: bytes, signature: bytes, data: bytes) -> None:
    """Raise SealError unless `public` signed `data` (Ed25519, RFC 8032)."""
    try:
        _key(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise SealError(f"not signed by {fingerprint(public)}") from None


@lru_cache(maxsize=4096)
def _key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def sign(message: Struct, identity: Identity) -> bytes:
    """A signed envelope's bytes."""
    body = encode(message)
    return bytes([1, ED25519]) + identity.sign(CONTEXT + body) + body


def open_signed(data: bytes, kind: type[Kind], public: bytes) -> Kind:
    """The envelope's message. Raises SealError for a wrong signer, RemoteError for wrong bytes."""
    signature, body = _split(data)
    verify(public, signature, CONTEXT + body)
    return decode_signed(body, kind)


def _split(data: bytes) -> tuple[bytes, bytes]:
    if len(data) < HEAD or data[:2] != bytes([1, ED25519]):
        raise RemoteError("not a signed envelope of version 1 with Ed25519")
    return data[2:HEAD], data[HEAD:]


def open_record(data: bytes, root: bytes, lowest_serial: int) -> KeyRecord:
    """The coordinator's key record, if the root signed it and its serial has not fallen."""
    record = open_signed(data, KeyRecord, root)
    if record.serial < lowest_serial:
        raise SealError(
            f"the coordinator's key record has serial {record.serial}, but {lowest_serial} was "
            "seen before: an old key has been replaced and is no longer accepted"
        )
    return record


def open_state(
    data: bytes, root: bytes, lowest_serial: int, latest: int = 0
) -> tuple[CoordinatorState, KeyRecord]:
    """The coordinator's state and its key record, both proven back to the fleet root.

    The key must be good at the time the state tells, and at the `latest` time told before: who
    holds an expired key cannot turn the clock back.
    """
    _, body = _split(data)
    state = decode_signed(body, CoordinatorState)
    record = open_record(state.record, root, lowest_serial)
    open_signed(data, CoordinatorState, record.key)
    if state.fleet != record.fleet:
        raise SealError("the coordinator's state names another fleet than its key record")
    if record.expires < max(state.time, latest):
        raise SealError(
            "the coordinator's key record has expired: run `coordinator rekey` where the root is"
        )
    return state, record
