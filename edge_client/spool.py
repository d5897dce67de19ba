"""The outbox: each update is a file until its receipt comes. Survives kill -9 and a power cut."""

from pathlib import Path

from proto.codec import decode_sealed, encode
from proto.errors import QfleetError, RemoteError, StorageError
from proto.files import write_whole
from proto.messages import MAX_UPDATE, Update

MAX_FILES = 64
"""Updates kept while the coordinator is away; more would be of rounds long over."""


class Spool:
    """Packed updates by id, as files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, update: Update) -> None:
        """On disk when it returns. Raises StorageError when the disk is full."""
        if len(self.turns()) >= MAX_FILES:
            raise StorageError(f"the outbox holds {MAX_FILES} updates nobody has taken")
        write_whole(self._path(update.id), encode(update))

    def get(self, id_: bytes) -> Update:
        """Raises StorageError for a file that is gone or damaged."""
        path = self._path(id_)
        try:
            if path.stat().st_size > MAX_UPDATE + 1024:
                raise RemoteError("too large")
            message = decode_sealed(path.read_bytes())
        except (OSError, QfleetError) as error:
            raise StorageError(f"{path} cannot be read: {error}") from None
        if not isinstance(message, Update) or message.id != id_:
            raise StorageError(f"{path} is no update")
        return message

    def drop(self, id_: bytes) -> None:
        self._path(id_).unlink(missing_ok=True)

    def turns(self) -> dict[bytes, int]:
        """What is kept: id to turn, oldest first. A damaged file is set aside, not sent."""
        kept = {}
        for path in sorted(self._folder.glob("*.update"), key=lambda p: p.stat().st_mtime):
            try:
                id_ = bytes.fromhex(path.stem)
                kept[id_] = self.get(id_).turn
            except (ValueError, StorageError):
                path.replace(path.with_suffix(".damaged"))
        return kept

    def _path(self, id_: bytes) -> Path:
        return self._folder / f"{id_.hex()}.update"
