"""The trunk's hidden states of this box's prompts, worked out once and kept on disk as float16.

A file holds one prompt's and is named by the base model, the trunk's depth and its tokens: whoever
asks for a prompt that was read before, for whatever job, finds it. float16, because the states
reach 2e4: it holds them, 8 bits would not.
"""

import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.adapter.prompts import lists
from edge_client.model import Features
from proto.errors import LocalError, StorageError
from proto.files import write_whole
from quantization.arrays import Array

ROWS = 128
"""Prompts the trunk reads before their states are on disk: what a killed process loses at most."""
BATCH = 8
"""Prompts the trunk takes at once."""
CHECK = 4
"""Bytes of a file's CRC-32, behind its numbers."""
MIB = 2**20

Tokens = list[list[int]]
Trunk = Callable[[Sequence[Tokens]], Iterator[Array]]
"""Batches of token lists to states (batch, longest, width) float32; what pads is ignored."""


@dataclass(frozen=True, eq=False, slots=True)
class HiddenRows:
    """Prompts as a model takes them: where the states of each are."""

    cache: "Cache"
    names: tuple[str, ...]
    lengths: NDArray[np.int64]
    """(rows,): tokens."""

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def take(self, index: NDArray[np.intp]) -> "HiddenRows":
        names = tuple(self.names[row] for row in index.tolist())
        return HiddenRows(self.cache, names, self.lengths[index])

    def states(self) -> tuple[Array, NDArray[np.int64]]:
        """All rows' states (rows, longest, width) float32, and each row's last token (rows,)."""
        width = self.cache.width
        states = np.zeros((self.rows, int(self.lengths.max(initial=1)), width), np.float32)
        for line, name, length in zip(states, self.names, self.lengths.tolist(), strict=True):
            data = self.cache.read(name, 2 * width * length)
            line[:length] = np.frombuffer(data, "<f2").reshape(length, width)
        return states, self.lengths - 1


class Cache:
    """States of one base model at one depth. Without a folder they are held in memory."""

    def __init__(self, folder: Path | None, which: str, width: int, most_mib: int) -> None:
        self._folder, self._which, self._most = folder, which, most_mib * MIB
        self._held: dict[str, bytes] = {}
        self.width = width

    def prepare(self, ids: Features, trunk: Callable[[int], Trunk]) -> HiddenRows:
        """Rows ready to be read; `trunk` is opened only where states of so many tokens are missing.

        Raises LocalError where they take more disk than allowed, StorageError where it is full.
        """
        rows = lists(ids)
        names = tuple(map(self._name, rows))
        known = dict(zip(names, rows, strict=True))
        sizes = {name: 2 * self.width * len(row) for name, row in known.items()}
        missing = [name for name in known if not self._whole(name, sizes[name])]
        self._make_room(sizes, sum(sizes[name] for name in missing))
        if missing:
            missing.sort(key=lambda name: len(known[name]))
            run = trunk(sum(len(known[name]) for name in missing))
            for at in range(0, len(missing), ROWS):
                some = missing[at : at + ROWS]
                for name, data in zip(some, _read([known[n] for n in some], run), strict=True):
                    self._keep(name, data)
        return HiddenRows(self, names, np.array([len(row) for row in rows], np.int64))

    def read(self, name: str, length: int) -> bytes:
        """A file's numbers. Raises LocalError where somebody has taken it away."""
        if self._folder is None:
            return self._held[name]
        try:
            data = self._path(name).read_bytes()
        except OSError as error:
            raise LocalError(f"hidden states are gone: {error.strerror}; try again") from None
        if len(data) != length + CHECK:
            raise LocalError("hidden states were cut off while they were used; try again")
        return data[:length]

    def _name(self, row: list[int]) -> str:
        known = hashlib.sha256(self._which.encode())
        known.update(np.array([len(row), *row], "<i4").tobytes())
        return known.hexdigest()[:32]

    def _whole(self, name: str, size: int) -> bool:
        """Whether a file is here and undamaged; it is then the newest in use."""
        if self._folder is None:
            return name in self._held
        path = self._path(name)
        try:
            data = path.read_bytes()
            path.touch()
        except OSError:
            return False
        check = zlib.crc32(data[:-CHECK]).to_bytes(CHECK, "little")
        return len(data) == size + CHECK and data[-CHECK:] == check

    def _keep(self, name: str, data: bytes) -> None:
        if self._folder is None:
            self._held[name] = data
            return
        check = zlib.crc32(data).to_bytes(CHECK, "little")
        write_whole(self._path(name), data + check, durable=False)

    def _make_room(self, sizes: Mapping[str, int], missing: int) -> None:
        """Remove the oldest files of others, so that all stay within what is allowed."""
        if self._folder is None or not missing:
            return
        needed = sum(sizes.values())
        if needed > self._most:
            raise LocalError(
                f"the base model's states of this box's rows take {needed // MIB + 1} MiB of disk;"
                f" adapter.cache_mib allows {self._most // MIB}"
            )
        others = [p for p in self._folder.glob("*.hidden") if p.stem not in sizes]
        others.sort(key=lambda path: path.stat().st_mtime)
        used = sum(path.stat().st_size for path in others)
        while others and used + needed > self._most:
            used -= others[0].stat().st_size
            others.pop(0).unlink()
        free = shutil.disk_usage(self._folder.parent).free
        if missing > free:
            raise StorageError(
                f"the base model's states of this box's rows take {missing // MIB + 1} MiB of disk;"
                f" {free // MIB} are free"
            )

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}.hidden"


def _read(rows: Tokens, run: Trunk) -> Iterator[bytes]:
    """Each prompt's states as bytes, in the rows' order."""
    batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
    for batch, states in zip(batches, run(batches), strict=True):
        with np.errstate(over="ignore"):
            halves = states.astype("<f2")
        if not np.isfinite(halves).all():
            raise LocalError("the base model's states are too large for float16")
        for line, row in zip(halves, batch, strict=True):
            yield line[: len(row)].tobytes()
