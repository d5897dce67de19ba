"""What a box must not forget, in one journal: finished updates until their ack, and turns taken.

It survives kill -9 and a power cut. One file, so that one sync makes both last: a turn just taken
is written at once, and on disk for good before the update that comes of it is sent.
"""

from collections.abc import Mapping
from pathlib import Path

from msgspec import DecodeError, Struct, field, msgpack

from edge_client.journal import Journal, look
from proto.errors import StorageError
from proto.messages import Era, Update

MAX_KEPT = 64
"""Updates kept while the coordinator is away; more would be of rounds long over."""


class _Put(Struct, frozen=True, array_like=True, tag=1, gc=False):
    update: Update


class _Drop(Struct, frozen=True, array_like=True, tag=2, gc=False):
    id: bytes


class Seen(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """The latest era, and the highest turn of each job taken in it."""

    era: Era | None = None
    turns: Mapping[str, int] = {}


Entry = _Put | _Drop | Seen


class Held(Struct):
    """What the journal's records come to."""

    updates: dict[bytes, Update] = field(default_factory=dict)
    seen: Seen = Seen()

    def add(self, entry: Entry) -> None:
        match entry:
            case _Put(update):
                self.updates[update.id] = update
            case _Drop(id_):
                self.updates.pop(id_, None)
            case Seen():
                self.seen = entry

    def entries(self) -> list[bytes]:
        """The fewest records that come to the same."""
        entries = (self.seen, *map(_Put, self.updates.values()))
        return [msgpack.encode(entry) for entry in entries]


class Spool:
    """Packed updates by id and the turns taken, in a journal of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / "spool.journal")
        self._held = _held(self._journal.replay())

    def put(self, update: Update) -> None:
        """On disk when it returns. Raises StorageError when the disk is full."""
        if len(self._held.updates) >= MAX_KEPT:
            raise StorageError(f"the outbox holds {MAX_KEPT} updates nobody has taken")
        self._keep(_Put(update))
        self._held.updates[update.id] = update

    def get(self, id_: bytes) -> Update:
        """Raises StorageError for an update that is not here."""
        try:
            return self._held.updates[id_]
        except KeyError:
            raise StorageError(f"no update {id_.hex()} in the outbox") from None

    def drop(self, id_: bytes) -> None:
        """Its ack came. Should this be forgotten, it is sent again and found to be known."""
        if self._held.updates.pop(id_, None) is None:
            return
        try:
            self._note(_Drop(id_))
            self._tidy()
        except StorageError:
            return  # a full disk cannot make us keep more

    def waiting(self) -> dict[bytes, int]:
        """What waits for its ack: id to turn, oldest first."""
        return {id_: update.turn for id_, update in self._held.updates.items()}

    @property
    def seen(self) -> Seen:
        return self._held.seen

    def remember(self, era: Era, turns: Mapping[str, int]) -> None:
        """Turns taken. Raises StorageError.

        A new era is on disk when it returns, a turn once its update is. Should a power cut take
        the turn away, then nothing that came of it has left this box.
        """
        self._tidy()
        seen = Seen(era, turns)
        if era == self._held.seen.era:
            self._note(seen)
        else:
            self._keep(seen)
        self._held.seen = seen

    def _keep(self, entry: Entry) -> None:
        """On disk when it returns."""
        self._journal.append(msgpack.encode(entry))

    def _note(self, entry: Entry) -> None:
        """On disk before what is kept after it."""
        self._journal.append(msgpack.encode(entry), durable=False)

    def _tidy(self) -> None:
        if self._journal.large:
            self._journal.rewrite(self._held.entries())

    def close(self) -> None:
        self._journal.close()


def look_at(folder: Path) -> Held:
    """What a spool holds, for a look from outside."""
    return _held(look(folder / "spool.journal"))


def _held(records: list[bytes]) -> Held:
    held = Held()
    for record in records:
        try:
            held.add(msgpack.decode(record, type=Entry))
        except DecodeError as error:
            raise StorageError(f"the spool holds what no box wrote: {error}") from None
    return held
