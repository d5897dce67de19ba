"""The coordinator's keys on disk: the fleet root, its own identity, the record that joins them."""

import os
from dataclasses import dataclass, field
from pathlib import Path

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


def make_keys(home: Path, fleet: str, now: float) -> Keys:
    """The keys in `home`; where there are none at all, new ones. For the coordinator's start."""
    if not (home / "root.pub").exists() and not (home / "qfleet.db").exists():
        root = Identity.generate()
        write_whole(home / "root.key", root.secret_bytes())
        write_whole(home / "broker.secret", os.urandom(32))
        write_whole(home / "root.pub", root.public)
        _renew(home, fleet, 1, now)
    return read_keys(home, fleet)


def read_keys(home: Path, fleet: str) -> Keys:
    """The keys in `home`. Raises ConfigError where one is missing, or they are another fleet's."""
    root_public = _read(home / "root.pub")
    data = _read(home / "record.bin")
    record = open_record(data, root_public, 0)
    if record.fleet != fleet:
        raise ConfigError(f"{home} belongs to fleet {record.fleet!r}; use --fleet {record.fleet}")
    identity = Identity(_read(home / f"coordinator-{record.serial}.key"))
    secret = _read(home / "broker.secret")
    return Keys(root_public, _root(home), identity, record, data, secret)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"{path} cannot be read ({error.strerror}); restore it from the backup"
        raise ConfigError(text) from None


def rekey(home: Path, fleet: str, now: float) -> KeyRecord:
    """A new coordinator key under the next serial; boxes stop accepting the old one."""
    _renew(home, fleet, read_keys(home, fleet).record.serial + 1, now)
    return read_keys(home, fleet).record


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
