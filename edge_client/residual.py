"""Error feedback: what packing an update lost is added to the next one (Seide et al. 2014).

An update that never got into a model must not change what the box still owes. So both residuals are
kept, from before the update and from after it; the offer that follows tells which one holds.
"""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from proto.files import write_whole
from quantization.arrays import Array


class Residual(Struct, frozen=True, array_like=True):
    """Of one turn's update. `task` is the hash of the task; numbers are float32 bytes."""

    task: bytes
    turn: int
    before: bytes
    after: bytes


def owed(home: Path, job: str, task: bytes, size: int, counted: int) -> Array:
    """What this box owes (size,), where `counted` is the last turn a model holds an update of it.

    Zeros where nothing fits: no file, a damaged one, another task, another size.
    """
    try:
        kept = msgspec.msgpack.decode(_path(home, job).read_bytes(), type=Residual)
        data = kept.after if kept.turn == counted else kept.before
        numbers = np.frombuffer(data, np.float32)
    except (OSError, msgspec.MsgspecError, ValueError):
        return np.zeros(size, np.float32)
    fits = kept.task == _name(task) and numbers.size == size and np.isfinite(numbers).all()
    return numbers if fits else np.zeros(size, np.float32)


def keep(home: Path, job: str, residual: Residual) -> None:
    """To be written before the update leaves; a repeat writes the same. Raises StorageError."""
    write_whole(_path(home, job), msgspec.msgpack.encode(residual))


def of_turn(task: bytes, turn: int, before: Array, after: Array) -> Residual:
    return Residual(_name(task), turn, before.tobytes(), after.tobytes())


def _name(task: bytes) -> bytes:
    return hashlib.sha256(task).digest()


def _path(home: Path, job: str) -> Path:
    return home / "residuals" / f"{job}.residual"
