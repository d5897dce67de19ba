"""Who may join: one-use tokens, the roster, and each box's account at the broker."""

import os
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from coordinator.broker_config import COORDINATOR, hash_password
from coordinator.keys import Keys
from coordinator.store import Row, Store
from proto.errors import ConfigError, RemoteError
from proto.joining import Token, answer, broker_password, open_request, token_key, token_of
from proto.messages import Admission, JoinRequest

TOKEN_PREFIX = "t-"  # noqa: S105 - how token ids begin


@dataclass(frozen=True, slots=True)
class Fleet:
    """What every admission needs to know."""

    name: str
    keys: Keys
    ca: str
    """The broker's CA certificate in PEM, or empty without TLS of our own."""


def invite(store: Store, token: Token, box: str, expires: float) -> None:
    """Make the token good for one box (any name when `box` is empty) until `expires`."""
    if _reserved(box):
        raise ConfigError(f"no box may be named {box!r}; choose another name")
    if box and store.box(box) is not None:
        raise ConfigError(f"a box named {box!r} has joined already; choose another name")
    store.add_token(
        {
            "id": token.id,
            "verifier": token_key(token.secret).public,
            "box": box,
            "expires": expires,
            "account": hash_password(broker_password(token.secret), os.urandom(12)),
        }
    )


def new_token(url: str, fleet: str, keys: Keys, *, own: bool = False) -> Token:
    """A fresh token. `own`: the broker's certificate is signed by the fleet root."""
    return Token(
        url=url,
        fleet=fleet,
        root=keys.root_public,
        serial=keys.record.serial,
        id=f"{TOKEN_PREFIX}{secrets.token_hex(5)}",
        secret=secrets.token_bytes(16),
        own=own,
    )


def admit(store: Store, fleet: Fleet, data: bytes, now: float) -> tuple[str, bytes, str]:
    """A join request to (box, answer's bytes, refusal). Raises RemoteError for a forged one.

    Burning the token and admitting the box are one transaction. The same box asking again gets the
    same admission; any other box is refused.
    """
    token = store.token(token_of(data))
    if token is None:
        raise RemoteError("a join token this fleet never gave out")
    request = open_request(data, token.verifier)
    refusal = _refusal(store, token, request, now)
    if refusal:
        signed = answer(data, fleet.keys.record_bytes, fleet.keys.identity, refusal)
        return request.box, signed, refusal
    password = box_password(fleet.keys, request.box, request.key)
    if token.used_by is None:
        account = hash_password(password, os.urandom(12))
        box = {"id": request.box, "key": request.key, "joined": now, "account": account}
        with store.unit():
            if not store.admit(token.id, box):
                raise RemoteError("a join token that was used this very moment")
            bump_roster(store)
    admission = Admission(
        fleet=fleet.name, box=request.box, username=request.box, password=password, ca=fleet.ca
    )
    return request.box, answer(data, fleet.keys.record_bytes, fleet.keys.identity, admission), ""


def _refusal(store: Store, token: Row, request: JoinRequest, now: float) -> str:
    """Why this request is not granted, or nothing."""
    box, row = token.box, store.box(request.box)
    if token.used_by is not None:
        same = token.used_by == request.key and token.used_as == request.box
        known = same and row is not None and not row.revoked
        return "" if known else "this token was used already; ask for a new one"
    if _reserved(request.box):
        return f"no box may be named {request.box!r}; choose another name"
    if token.expires < now:
        return "this token has expired; ask for a new one"
    if box and box != request.box:
        return f"this token is for the box named {box!r}"
    taken = f"a box named {request.box!r} has joined already; choose another name"
    return taken if row is not None else ""


def _reserved(box: str) -> bool:
    """Names that would be the account of the coordinator, or of somebody's token."""
    return box == COORDINATOR or box.startswith(TOKEN_PREFIX)


def box_password(keys: Keys, box: str, key: bytes) -> str:
    """Derived, not stored: a box that asks again gets the same one."""
    info = b"qfleet box account v1" + box.encode() + key
    return HKDF(SHA256(), 24, None, info).derive(keys.secret).hex()


def coordinator_password(keys: Keys) -> str:
    info = b"qfleet coordinator account v1"
    return HKDF(SHA256(), 24, None, info).derive(keys.secret).hex()


def accounts(store: Store, keys: Keys, now: float) -> dict[str, str]:
    """Every account the broker should know, with its password's hash."""
    salt = HKDF(SHA256(), 12, None, b"qfleet salt v1").derive(keys.secret)
    known = {row.id: row.account for row in store.open_tokens(now)}
    known |= {row.id: row.account for row in store.members() if not row.revoked}
    return known | {COORDINATOR: hash_password(coordinator_password(keys), salt)}


def bump_roster(store: Store) -> int:
    """The next roster version; every admission and revocation takes one."""
    version = roster_version(store) + 1
    store.set_count("roster", version)
    return version


def roster_version(store: Store) -> int:
    return store.count("roster")


def revoke(store: Store, box: str) -> int:
    """Cast a box out: a new roster, and new keys for every job. Raises ConfigError."""
    row = store.box(box)
    if row is None or row.revoked:
        raise ConfigError(f"no box named {box!r} belongs to this fleet; see `coordinator clients`")
    with store.unit():
        store.change_box(box, revoked=True, online=False)
        for job in store.jobs():
            store.change_job(job.id, key=os.urandom(32))
        return bump_roster(store)
