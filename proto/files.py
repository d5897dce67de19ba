"""Small files written whole or not at all, readable by their owner alone."""

import os
from contextlib import suppress
from pathlib import Path

from proto.errors import StorageError


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file's content; a power cut leaves the old or the new. Raises StorageError.

    When it returns, the new content is on disk under its name; not so when it need not be
    `durable`: what can be had again is spared the wait.
    """
    temporary = path.with_suffix(path.suffix + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.unlink(missing_ok=True)  # left by a power cut, or laid there by somebody else
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StorageError(f"cannot write {path}: {error.strerror}") from None


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
