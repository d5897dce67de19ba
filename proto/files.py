"""Small files written whole or not at all, readable by their owner alone."""

import os
from pathlib import Path

from proto.errors import StorageError


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file's content; a power cut leaves the old or the new. Raises StorageError."""
    temporary = path.with_suffix(path.suffix + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
