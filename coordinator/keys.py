"""The coordinator's keys on disk: the fleet root, its own identity, the record that joins them."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.files import write_whole
from proto.identity import Identity, open_record, sign
from proto.messages import KeyRecord

RECORD_LIFE = 5 * 365 * 86400
"""Seconds a key record is good for; `coordinator rekey` makes the next."""


@dataclass(frozen=True, slots=True)
class Keys:
    """`root` is None where the root key is kept off line."""

    root_public: bytes
    root: Identity | None
    identity: Identity
    record: KeyRecord
    record_bytes: bytes
    secret: bytes = field(repr=False)
    """Broker passwords are derived from it."""


def load_keys(home: Path, fleet: str, now: float) -> Keys:
    """The keys in `home`, made on the first call. Raises ConfigError, StorageError."""
    if not (home / "root.pub").exists():
        root = Identity.generate()
        write_whole(home / "root.key", root.secret_bytes())
        write_whole(home / "broker.secret", os.urandom(32))
        write_whole(home / "root.pub", root.public)
    if not (home / "record.bin").exists():
        _renew(home, fleet, 1, now)
    root_public = (home / "root.pub").read_bytes()
    data = (home / "record.bin").read_bytes()
    record = open_record(data, root_public, 0)
    if record.fleet != fleet:
        raise ConfigError(f"{home} belongs to fleet {record.fleet!r}; use --fleet {record.fleet}")
    identity = Identity((home / f"coordinator-{record.serial}.key").read_bytes())
    secret = (home / "broker.secret").read_bytes()
    return Keys(root_public, _root(home), identity, record, data, secret)


def rekey(home: Path, fleet: str, now: float) -> KeyRecord:
    """A new coordinator key under the next serial; boxes stop accepting the old one."""
    record = decode_signed((home / "record.bin").read_bytes()[66:], KeyRecord)
    _renew(home, fleet, record.serial + 1, now)
    return decode_signed((home / "record.bin").read_bytes()[66:], KeyRecord)


def _renew(home: Path, fleet: str, serial: int, now: float) -> None:
    root = _root(home)
    if root is None:
        raise ConfigError(f"the fleet root's key is not at {home / 'root.key'}; bring it for this")
    identity = Identity.generate()
    write_whole(home / f"coordinator-{serial}.key", identity.secret_bytes())
    expires = int(now) + RECORD_LIFE
    record = KeyRecord(fleet=fleet, serial=serial, key=identity.public, expires=expires)
    write_whole(home / "record.bin", sign(record, root))


def _root(home: Path) -> Identity | None:
    path = home / "root.key"
    return Identity(path.read_bytes()) if path.exists() else None
