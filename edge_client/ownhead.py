"""A box's own head of a job with personal heads: kept on the box, trained there, never sent.

The circuit's angles are the fleet's (FedPer, Arivazhagan et al. 2019, with the head as the personal
layer). Each file also holds the head its last turn started from, so that a turn that is done again
after a crash gives the same update.
"""

import hashlib
from pathlib import Path

import numpy as np
from msgspec import MsgspecError, Struct, msgpack

from proto.codec import encode
from proto.errors import ConfigError
from proto.files import write_whole
from proto.messages import Task
from proto.models import model_layout, sent_layout
from quantization.arrays import Array, Arrays, BadArrays, Layout
from quantization.pack import pack, unpack
from quantization.scheme import EXACT


class _Heads(Struct, frozen=True, array_like=True):
    """Packed heads before and after a turn."""

    turn: int
    before: bytes
    after: bytes


def with_head(home: str, task: Task, arrays: Arrays, turn: int | None = None) -> dict[str, Array]:
    """The arrays with the box's own head in place of the fleet's, if it has one.

    turn: the one that starts now; None: whatever was trained last. Raises ConfigError for a file
    that cannot be read.
    """
    if not task.training.personal_head or (kept := _load(home, task)) is None:
        return dict(arrays)
    packed = kept.before if turn is not None and turn <= kept.turn else kept.after
    try:
        return {**arrays, **unpack(packed, _layout(task), EXACT)}
    except BadArrays as error:
        raise _damaged(_path(home, task), error) from None


def keep_head(home: str, task: Task, turn: int, before: Arrays, after: Arrays) -> None:
    """Remember what a turn started from and what it gave."""
    if task.training.personal_head and home:
        heads = _Heads(turn, *(_packed(task, arrays) for arrays in (before, after)))
        write_whole(_path(home, task), msgpack.encode(heads))


def is_trained(home: str, task: Task) -> bool:
    """Whether this box has had a turn, so that the model is of use here."""
    return not task.training.personal_head or _path(home, task).exists()


def _load(home: str, task: Task) -> _Heads | None:
    path = _path(home, task)
    if not home or not path.exists():
        return None
    try:
        return msgpack.decode(path.read_bytes(), type=_Heads)
    except (OSError, MsgspecError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path} is damaged: {error}; delete it, and the head is trained anew")


def _path(home: str, task: Task) -> Path:
    name = hashlib.sha256(encode(task)).hexdigest()[:16]
    return Path(home) / "personal" / f"{task.job}-{name}.head"


def _layout(task: Task) -> Layout:
    sent = sent_layout(task.model, personal_head=True)
    return tuple(part for part in model_layout(task.model) if part not in sent)


def _packed(task: Task, arrays: Arrays) -> bytes:
    layout = _layout(task)
    head = {name: arrays[name] for name, _ in layout}
    return pack(head, layout, EXACT, np.random.default_rng(0))
