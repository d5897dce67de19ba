"""What reading the rows gave, kept on disk: a language model is asked once, not in each round."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from proto.files import write_whole
from quantization.arrays import Array

CHECK = 4
"""Bytes of the CRC-32 behind the numbers."""
KEEP = 8
"""Files kept: those of a few jobs."""


def remembered(
    folder: Path | None, name: str, shape: tuple[int, int], work: Callable[[], Array]
) -> Array:
    """The float32 array of this shape that `work` gives, from disk if it is there undamaged.

    Raises StorageError where it cannot be written.
    """
    if folder is None:
        return work()
    path = folder / f"{name}.read"
    try:
        data = path.read_bytes()
        path.touch()  # what is in use is not the oldest
    except OSError:
        data = b""
    size = 4 * shape[0] * shape[1]
    if len(data) == size + CHECK and data[size:] == _check(data[:size]):
        return np.frombuffer(data, "<f4", count=size // 4).reshape(shape).astype(np.float32)
    found = work().astype("<f4")
    write_whole(path, found.tobytes() + _check(found.tobytes()), durable=False)
    for old in sorted(folder.glob("*.read"), key=lambda p: p.stat().st_mtime)[:-KEEP]:
        old.unlink()
    return found.astype(np.float32)


def _check(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(CHECK, "little")
