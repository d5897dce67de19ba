"""A box's own adapter: the fleet's, trained a little further on this box's rows, and kept here.

It answers instead of the fleet's where it is better on the validation rows, and only until the
fleet's next one arrives (fine-tuning after federation, Cheng et al. 2021).
"""

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from proto.files import write_whole


class Personal(Struct, frozen=True, array_like=True):
    """Packed arrays, the hash of the fleet's model they started from, and both losses in nats."""

    start: bytes
    model: bytes
    fleets_loss: float
    own_loss: float


def keep(home: Path, job: str, personal: Personal) -> None:
    write_whole(_path(home, job), msgspec.msgpack.encode(personal), durable=False)


def better(home: Path, job: str, model: bytes) -> bytes:
    """The packed arrays to answer with: the box's own where they are better, else the fleet's."""
    try:
        own = msgspec.msgpack.decode(_path(home, job).read_bytes(), type=Personal)
    except (OSError, msgspec.MsgspecError):
        return model
    fits = own.start == hashlib.sha256(model).digest() and own.own_loss < own.fleets_loss
    return own.model if fits else model


def _path(home: Path, job: str) -> Path:
    return home / "models" / f"{job}.personal"
