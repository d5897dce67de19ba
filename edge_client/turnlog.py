"""The highest turn of each job a box has taken, in which era: it is never taken back."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import DecodeError, Struct, msgpack

from edge_client import journal
from edge_client.journal import Journal
from proto.errors import StorageError
from proto.messages import Era


class Seen(Struct, frozen=True, array_like=True):
    """The latest era, and the highest turn of each job in it."""

    era: Era | None = None
    turns: Mapping[str, int] = {}


class TurnLog:
    """The latest (era, turns), in a journal."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._seen = _latest(self._journal.replay())

    @property
    def era(self) -> Era | None:
        return self._seen.era

    @property
    def turns(self) -> Mapping[str, int]:
        return self._seen.turns

    def remember(self, era: Era, turns: Mapping[str, int]) -> None:
        """On disk when it returns. Raises StorageError."""
        self._seen = Seen(era, dict(turns))
        record = msgpack.encode(self._seen)
        if self._journal.large:
            self._journal.rewrite([record])
        else:
            self._journal.append(record)

    def close(self) -> None:
        self._journal.close()


def look(path: Path) -> Seen:
    """What a turn log holds, for a look from outside."""
    return _latest(journal.look(path))


def _latest(records: list[bytes]) -> Seen:
    try:
        return msgpack.decode(records[-1], type=Seen) if records else Seen()
    except DecodeError as error:
        raise StorageError(f"the turn log holds what no box wrote: {error}") from None
