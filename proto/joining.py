"""Joining a fleet by a one-use token.

The token carries the broker's URL, the fleet root's public key, an id and a 128-bit secret. From
the secret both sides derive a signing key: the coordinator keeps only its public half (a verifier),
the box proves the token by a signature. The answer is signed by the coordinator, whose key record
chains to the root in the token, and its body is sealed to a fresh key of the box.
"""

import base64
import binascii
import hashlib
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct

from proto.codec import decode_signed, encode
from proto.errors import ConfigError, RemoteError, SealError
from proto.identity import Identity, body_of, open_record, open_signed, sign, verify
from proto.messages import Admission, Id, JoinAnswer, JoinRequest, KeyRecord, PublicKey
from proto.sealing import KemPair, seal_to

PREFIX = "qf1."
MAX_TOKEN = 1024


class Token(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What `coordinator invite` prints. Whoever holds it can join once."""

    url: Annotated[str, Meta(max_length=300)]
    fleet: Id
    root: PublicKey
    id: Id
    secret: Annotated[bytes, Meta(min_length=16, max_length=16)]
    serial: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """Of the coordinator's key record when the token was made; an older one is not believed."""
    own: bool = False
    """Whether the broker's certificate is signed by the fleet root."""

    def __repr__(self) -> str:
        return f"Token({self.id} for {self.fleet})"


def token_text(token: Token) -> str:
    """The token as one word of URL-safe characters."""
    return PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(token)).decode().rstrip("=")


def parse_token(text: str) -> Token:
    """The reverse. Raises ConfigError."""
    text = text.strip()
    if not text.startswith(PREFIX) or len(text) > MAX_TOKEN:
        raise ConfigError(f"not a join token: it starts with {PREFIX!r}, as `invite` printed it")
    try:
        data = base64.urlsafe_b64decode(text[len(PREFIX) :] + "==")
        return msgspec.msgpack.decode(data, type=Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise ConfigError("this join token is incomplete; copy the whole line") from None


def token_key(secret: bytes) -> Identity:
    """The signing key both sides derive; its public half is all the coordinator stores."""
    return Identity(_derive(secret, b"qfleet token key v1"))


def broker_password(secret: bytes) -> str:
    """The token's password at a broker that asks for one (username: the token's id)."""
    return _derive(secret, b"qfleet token broker v1").hex()


def request(token: Token, box: str, identity: Identity, kem: KemPair) -> bytes:
    """The box's ask, signed by its new identity and proven by the token's key."""
    proof = token_key(token.secret).sign(_proven(token.id, box, identity.public, kem.public))
    message = JoinRequest(token=token.id, box=box, key=identity.public, kem=kem.public, proof=proof)
    return sign(message, identity)


def open_request(data: bytes, verifier: bytes) -> JoinRequest:
    """The request, if the token's holder made it and its maker holds the box's key."""
    message = _self_signed(data)
    verify(verifier, message.proof, _proven(message.token, message.box, message.key, message.kem))
    return message


def token_of(data: bytes) -> str:
    """Which token a request names (nothing is believed yet)."""
    return _self_signed(data).token


def answer(
    request_bytes: bytes, record: bytes, identity: Identity, admission: Admission | str
) -> bytes:
    """The coordinator's answer: an admission, or the reason for refusing."""
    message = _self_signed(request_bytes)
    digest = hashlib.sha256(request_bytes).digest()
    refusal = admission if isinstance(admission, str) else ""
    body = b"" if isinstance(admission, str) else seal_to(message.kem, encode(admission), digest)
    return sign(
        JoinAnswer(request=digest, record=record, admission=body, refusal=refusal), identity
    )


def open_answer(
    data: bytes, token: Token, request_bytes: bytes, kem: KemPair
) -> tuple[Admission | str, KeyRecord, bytes]:
    """Admission or reason, the coordinator's key record, and that record's bytes to keep."""
    unproven = decode_signed(body_of(data), JoinAnswer)
    record = open_record(unproven.record, token.root, token.serial)
    message = open_signed(data, JoinAnswer, record.key)
    digest = hashlib.sha256(request_bytes).digest()
    if message.request != digest:
        raise SealError("an answer to another join request")
    if record.fleet != token.fleet:
        raise SealError("an answer from another fleet than the token names")
    if message.refusal:
        return message.refusal, record, message.record
    admission = decode_signed(kem.open(message.admission, digest), Admission)
    if admission.fleet != token.fleet:
        raise RemoteError("admitted to another fleet than the token names")
    return admission, record, message.record


def _self_signed(data: bytes) -> JoinRequest:
    message = decode_signed(body_of(data), JoinRequest)
    return open_signed(data, JoinRequest, message.key)


def _proven(token: str, box: str, key: bytes, kem: bytes) -> bytes:
    return b"qfleet join v1\0" + hashlib.sha256(f"{token}\0{box}\0".encode() + key + kem).digest()


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, info).derive(secret)
