"""What a box keeps on disk: its key, where it belongs, and whose word it takes."""

from pathlib import Path

import msgspec
from msgspec import Struct

from proto.codec import decode_signed
from proto.errors import ConfigError, StorageError
from proto.files import write_whole
from proto.identity import Identity, body_of
from proto.messages import KeyRecord


class Membership(Struct, frozen=True, kw_only=True):
    """Given once, at joining."""

    fleet: str
    box: str
    root: bytes
    url: str
    username: str
    password: str
    ca: str

    def __repr__(self) -> str:
        return f"Membership({self.box} in {self.fleet})"


class Memory(Struct, frozen=True, kw_only=True):
    """Only ever moves forward."""

    session: int = 0
    record: bytes = b""
    serial: int = 0
    """Of the coordinator's key record; a lower one is never accepted again."""
    time: int = 0
    """The latest time a coordinator has told, seconds since 1970: against it a key expires."""


def save_member(home: Path, member: Membership, identity: Identity, record: bytes) -> None:
    """The last step of joining: from here on the box belongs."""
    write_whole(home / "box.key", identity.secret_bytes())
    serial = decode_signed(body_of(record), KeyRecord).serial
    save_memory(home, Memory(record=record, serial=serial))
    write_whole(home / "member.json", msgspec.json.encode(member))


def load_member(home: Path) -> tuple[Membership, Identity]:
    """Raises ConfigError where the box has not joined."""
    try:
        member = msgspec.json.decode((home / "member.json").read_bytes(), type=Membership)
        return member, Identity((home / "box.key").read_bytes())
    except FileNotFoundError:
        text = f"this box has not joined a fleet ({home}); run `edge-client join TOKEN` first"
        raise ConfigError(text) from None
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        raise StorageError(f"{home} is damaged ({error}); join again with a new token") from None


def load_memory(home: Path) -> Memory:
    try:
        return msgspec.json.decode((home / "memory.json").read_bytes(), type=Memory)
    except (msgspec.MsgspecError, OSError) as error:
        raise StorageError(f"{home / 'memory.json'} is damaged: {error}; join again") from None


def save_memory(home: Path, memory: Memory) -> None:
    write_whole(home / "memory.json", msgspec.json.encode(memory))
