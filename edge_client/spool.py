"""The outbox: each update is on disk until its ack comes. Survives kill -9 and a power cut."""

from pathlib import Path

from msgspec import DecodeError, Struct, msgpack

from edge_client.journal import Journal, look
from proto.errors import StorageError
from proto.messages import Update

MAX_KEPT = 64
"""Updates kept while the coordinator is away; more would be of rounds long over."""


class _Put(Struct, frozen=True, array_like=True, tag=1):
    update: Update


class _Drop(Struct, frozen=True, array_like=True, tag=2):
    id: bytes


class Spool:
    """Packed updates by id, in a journal of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / "updates.journal")
        self._kept = _kept(self._journal.replay())

    def put(self, update: Update) -> None:
        """On disk when it returns. Raises StorageError when the disk is full."""
        if len(self._kept) >= MAX_KEPT:
            raise StorageError(f"the outbox holds {MAX_KEPT} updates nobody has taken")
        self._journal.append(msgpack.encode(_Put(update)))
        self._kept[update.id] = update

    def get(self, id_: bytes) -> Update:
        """Raises StorageError for an update that is not here."""
        try:
            return self._kept[id_]
        except KeyError:
            raise StorageError(f"no update {id_.hex()} in the outbox") from None

    def drop(self, id_: bytes) -> None:
        """Its ack came. Should this be forgotten, it is sent again and found to be known."""
        if self._kept.pop(id_, None) is None:
            return
        try:
            self._journal.append(msgpack.encode(_Drop(id_)), durable=False)
            if self._journal.large:
                self._journal.rewrite([msgpack.encode(_Put(u)) for u in self._kept.values()])
        except StorageError:
            return  # a full disk cannot make us keep less

    def turns(self) -> dict[bytes, int]:
        """What is kept: id to turn, oldest first."""
        return {id_: update.turn for id_, update in self._kept.items()}

    def close(self) -> None:
        self._journal.close()


def waiting(folder: Path) -> dict[bytes, Update]:
    """What an outbox holds, for a look from outside."""
    return _kept(look(folder / "updates.journal"))


def _kept(records: list[bytes]) -> dict[bytes, Update]:
    kept: dict[bytes, Update] = {}
    for record in records:
        try:
            entry = msgpack.decode(record, type=_Put | _Drop)
        except DecodeError as error:
            raise StorageError(f"the outbox holds what no outbox wrote: {error}") from None
        if isinstance(entry, _Put):
            kept[entry.update.id] = entry.update
        else:
            kept.pop(entry.id, None)
    return kept
