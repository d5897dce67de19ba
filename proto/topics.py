"""Topic names, made and parsed in one place. At most 7 levels; ids are checked both ways."""

import base64
import re
from dataclasses import dataclass
from functools import lru_cache

from proto.errors import LocalError, RemoteError
from proto.messages import ID_PATTERN

_id = re.compile(ID_PATTERN)
_address = re.compile(r"^[a-z2-7]{26}\Z")

PEERS = 2**14
"""Names and topics that are remembered: those of a large fleet, a few megabytes."""


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of one fleet."""

    fleet: str

    def __post_init__(self) -> None:
        checked(self.fleet)

    @property
    def root(self) -> str:
        return f"qf/v1/{self.fleet}"

    @property
    def coordinator(self) -> str:
        """Retained: the coordinator's signed state, and its will."""
        return f"{self.root}/coord/state"

    def state(self, box: str) -> str:
        """Retained: a box's birth, or its will."""
        return f"{self.root}/dev/{checked(box)}/state"

    def to_box(self, box: str, kind: str) -> str:
        """`kind`: "m" for sealed frames, "k" for the key exchange."""
        return _to_box(self.fleet, box, kind)

    def from_box(self, box: str, kind: str) -> str:
        return f"{self.root}/up/{checked(box)}/{kind}"

    def job(self, job: str, kind: str) -> str:
        """Retained and signed, for all: "task" or "receipt"."""
        return f"{self.root}/bc/{checked(job)}/{kind}"

    def blob(self, address: bytes, part: str) -> str:
        """One encrypted chunk (its index) or the chunk map ("m")."""
        return f"{self.root}/blob/{base32(address)}/{part}"

    def join(self, token: str, kind: str) -> str:
        """`kind`: "ask" or "answer"."""
        return f"{self.root}/join/{checked(token)}/{kind}"

    def parse(self, topic: str) -> tuple[str, ...]:
        """Levels below the fleet's root. Raises RemoteError for any other topic."""
        return _parsed(self.fleet, topic)


@lru_cache(maxsize=PEERS)
def _to_box(fleet: str, box: str, kind: str) -> str:
    return f"qf/v1/{fleet}/dev/{checked(box)}/in/{kind}"


@lru_cache(maxsize=PEERS)
def _parsed(fleet: str, topic: str) -> tuple[str, ...]:
    """A peer's frames come on few topics, again and again."""
    prefix = f"qf/v1/{fleet}/"
    if not topic.startswith(prefix) or len(topic) > len(prefix) + 120:
        raise RemoteError("a topic outside this fleet")
    return tuple(topic[len(prefix) :].split("/"))


@lru_cache(maxsize=PEERS)
def checked(name: str) -> str:
    """The id itself. Raises LocalError where it is none."""
    if not _id.match(name):
        raise LocalError(f"{name!r} is no id: 1 to 32 of a-z, 0-9 and '-' are")
    return name


def base32(address: bytes) -> str:
    """16 bytes as 26 lower-case base32 characters."""
    return base64.b32encode(address).decode().rstrip("=").lower()


def from_base32(text: str) -> bytes:
    """The reverse. Raises RemoteError."""
    if not _address.match(text):
        raise RemoteError("not a blob's address")
    return base64.b32decode(text.upper() + "======")
