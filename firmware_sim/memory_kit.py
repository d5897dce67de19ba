"""What an emulated box keeps, in memory: it outlives the box's process as a disk would."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from edge_client.allegiance import Allegiance
from edge_client.fetching import Pantry
from edge_client.kit import Kit
from edge_client.membership import Membership, Memory
from edge_client.newest import Keeper
from edge_client.secure import Secure
from edge_client.spool import Entry, Held, Spool
from edge_client.tasks import Tasks
from proto import blobs
from proto.errors import StorageError
from proto.identity import Identity, open_state
from proto.locks import Locks
from proto.messages import BlobRef, Offer


@dataclass(slots=True)
class Disk:
    """One box's disk."""

    memory: Memory
    held: Held = field(default_factory=Held)
    full: bool = False
    """Nothing more can be written down."""


class MemoryAllegiance(Allegiance):
    def __init__(self, disk: Disk, member: Membership, key: bytes) -> None:
        self._disk, self._member = disk, member
        disk.memory = Memory(
            session=disk.memory.session + 1,
            record=disk.memory.record,
            serial=disk.memory.serial,
            time=disk.memory.time,
        )
        self._memory = disk.memory
        self._clock = lambda: float(self._memory.time)
        self.key = key

    def hear(self, payload: bytes) -> tuple[Any, bool]:
        """What every box is told alike is proven once, not ten thousand times."""
        memory = self._memory
        seen, record = _proven(payload, self._member.root, memory.serial, memory.time)
        self._memory = self._disk.memory = Memory(
            session=memory.session,
            record=seen.record,
            serial=record.serial,
            time=max(memory.time, seen.time),
        )
        renewed, self.key = record.key != self.key, record.key
        return seen, renewed


_proven = lru_cache(maxsize=256)(open_state)


class MemorySpool(Spool):
    def __init__(self, disk: Disk) -> None:
        self._disk, self._held = disk, disk.held

    def _keep(self, _entry: Entry) -> None:
        if self._disk.full:
            raise StorageError("the disk is full")

    def _note(self, _entry: Entry) -> None:
        """A full disk has room for that much."""

    def _tidy(self) -> None:
        """Nothing grows here."""

    def close(self) -> None:
        """Nothing is open."""


class MemoryPantry(Pantry):
    """Blobs in memory; those of one fleet are opened once, and unfinished pulls start anew."""

    _decrypted = staticmethod(lru_cache(maxsize=64)(blobs.decrypt))

    def __init__(self) -> None:
        self._open = {}
        self._small = {}

    def cached(self, ref: BlobRef) -> bytes | None:
        return self._small.get(ref.digest)

    def keep(self, ref: BlobRef, sealed: bytes, key: bytes) -> bytes:
        data = self._decrypted(ref, sealed, key)
        self._hold(ref, data)
        return data

    def _hold(self, ref: BlobRef, data: bytes) -> None:
        small = self._small
        small[ref.digest] = data
        if len(small) > 4:  # noqa: PLR2004 - this turn's and the last one's
            del small[next(iter(small))]

    def _resumed(self, ref: BlobRef) -> blobs.Assembly:
        return blobs.Assembly(ref)

    def _write(self, address: bytes, part: str, data: bytes) -> None:
        """A part lives in its assembly alone."""

    def _clear(self, address: bytes) -> None:
        """Nothing is left behind."""

    def _sweep(self) -> None:
        """Nothing is left behind."""


class SharedTasks(Tasks):
    """Tasks that are checked once for all boxes of a fleet."""

    def _read(self, payload: bytes, key: bytes) -> Any:
        return _task(payload, key)


_task = lru_cache(maxsize=64)(Tasks.read)


def in_memory(disk: Disk, member: Membership, identity: Identity, key: bytes, locks: Locks) -> Kit:
    """A box's belongings on an emulated disk. `key`: the coordinator's."""
    return Kit(
        allegiance=MemoryAllegiance(disk, member, key),
        secure=Secure(identity, locks),
        spool=MemorySpool(disk),
        pantry=MemoryPantry(),
        tasks=SharedTasks(member.fleet),
        newest=_NOTHING,
    )


class KeepNothing(Keeper):
    """No emulated box is asked to predict."""

    def __init__(self) -> None:
        """Nothing is kept."""

    def keep(self, offer: Offer, task: bytes, model: bytes, features: bytes) -> None:
        """Nothing is kept."""


_NOTHING = KeepNothing()
