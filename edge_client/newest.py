"""The newest global model of each job, kept on the box so that it can predict without a network."""

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from proto.errors import ConfigError
from proto.files import write_whole
from proto.messages import EVALUATE, Offer

KEEP_EVERY = 5.0
"""Seconds between models written for prediction."""


class Newest(Struct, frozen=True, array_like=True):
    """All that prediction needs: the task's encoded body, packed arrays, packed feature map."""

    round: int
    task: bytes
    model: bytes
    features: bytes


class Keeper:
    """Writes the models a box trains on, but not all of those that follow fast upon each other."""

    def __init__(self, home: Path, now: Callable[[], float]) -> None:
        self._home, self._now = home, now
        self._kept_at = -KEEP_EVERY

    def keep(self, offer: Offer, task: bytes, model: bytes, features: bytes) -> None:
        now = self._now()
        if offer.kind == EVALUATE or now >= self._kept_at + KEEP_EVERY:
            keep(self._home, offer.job, Newest(offer.round, task, model, features))
            self._kept_at = now


def keep(home: Path, job: str, newest: Newest) -> None:
    write_whole(home / "models" / f"{job}.model", msgspec.msgpack.encode(newest), durable=False)


def mark(home: Path, job: str) -> tuple[int, int, int]:
    """Changes whenever another model of the job, or an adapter of the box's own, is written."""
    found = []
    for kind in ("model", "personal"):
        path = home / "models" / f"{job}.{kind}"
        found.append(path.stat() if path.exists() else None)
    model, own = found
    return (
        model.st_mtime_ns if model else 0,
        model.st_ino if model else 0,
        own.st_mtime_ns if own else 0,
    )


def load(home: Path, job: str) -> tuple[str, Newest]:
    """A job's newest model (the latest job's when `job` is empty). Raises ConfigError."""
    files = sorted((home / "models").glob("*.model"), key=lambda p: p.stat().st_mtime)
    chosen = [path for path in files if not job or path.stem == job]
    if not chosen:
        known = ", ".join(path.stem for path in files) or "none yet"
        raise ConfigError(f"no model of {job or 'any job'} has reached this box; here: {known}")
    try:
        return chosen[-1].stem, msgspec.msgpack.decode(chosen[-1].read_bytes(), type=Newest)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{chosen[-1]} is damaged: {error}; the next round replaces it") from None
