"""The trunk's hidden states of this box's prompts, worked out once and kept on disk as float16.

A file holds some rows and is named by the base model, the trunk's depth and these rows' tokens: a
changed row is worked out anew, a killed process loses one file at most. float16, because the states
reach 2e4: it holds them, 8 bits would not.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.adapter.prompts import lists
from edge_client.model import Features
from proto.errors import LocalError
from proto.files import write_whole
from quantization.arrays import Array

ROWS = 64
"""Rows in a file: 2.6 MB of 36 tokens and a width of 576."""
BATCH = 8
"""Rows the trunk takes at once."""
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
    file: NDArray[np.intp]
    start: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """(rows,): tokens."""

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def take(self, index: NDArray[np.intp]) -> "HiddenRows":
        start, lengths = self.start[index], self.lengths[index]
        return HiddenRows(self.cache, self.names, self.file[index], start, lengths)

    def states(self) -> tuple[Array, NDArray[np.int64]]:
        """All rows' states (rows, longest, width) float32, and each row's last token (rows,)."""
        width = self.cache.width
        states = np.zeros((self.rows, int(self.lengths.max(initial=1)), width), np.float32)
        for row, (file, start, length) in enumerate(
            zip(self.file, self.start, self.lengths, strict=True)
        ):
            data = self.cache.read(
                self.names[file], 2 * width * int(start), 2 * width * int(length)
            )
            states[row, :length] = np.frombuffer(data, "<f2").reshape(length, width)
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
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        groups = [order[at : at + ROWS] for at in range(0, len(order), ROWS)]
        names = tuple(self._name([rows[row] for row in group]) for group in groups)
        lengths = np.array([len(row) for row in rows], np.int64)
        sizes = [2 * self.width * int(lengths[group].sum()) for group in groups]
        missing = [k for k, name in enumerate(names) if not self._whole(name, sizes[k])]
        self._make_room(names, sum(sizes), sum(sizes[k] for k in missing))
        if missing:
            run = trunk(sum(sizes[k] for k in missing) // (2 * self.width))
            for k in missing:
                self._keep(names[k], self._work_out([rows[row] for row in groups[k]], run))
        file, start = np.empty(len(rows), np.intp), np.empty(len(rows), np.int64)
        for k, group in enumerate(groups):
            file[group] = k
            start[group] = np.cumsum(lengths[group]) - lengths[group]
        return HiddenRows(self, names, file, start, lengths)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file. Raises LocalError where somebody has taken it away."""
        if self._folder is None:
            return self._held[name][offset : offset + length]
        try:
            with self._path(name).open("rb") as file:
                file.seek(offset)
                data = file.read(length)
        except OSError as error:
            raise LocalError(f"hidden states are gone: {error.strerror}; try again") from None
        if len(data) != length:
            raise LocalError("hidden states were cut off while they were used; try again")
        return data

    def _work_out(self, rows: Tokens, run: Trunk) -> bytes:
        parts = []
        batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
        for batch, states in zip(batches, run(batches), strict=True):
            with np.errstate(over="ignore"):
                halves = states.astype("<f2")
            if not np.isfinite(halves).all():
                raise LocalError("the base model's states are too large for float16")
            parts += [line[: len(row)].tobytes() for line, row in zip(halves, batch, strict=True)]
        return b"".join(parts)

    def _name(self, rows: Sequence[list[int]]) -> str:
        known = hashlib.sha256(self._which.encode())
        for row in rows:
            known.update(len(row).to_bytes(4, "little"))
            known.update(np.array(row, "<i4").tobytes())
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

    def _make_room(self, names: Sequence[str], needed: int, missing: int) -> None:
        """Remove the oldest files of others, so that all stay within what is allowed."""
        if self._folder is None or not missing:
            return
        if needed > self._most:
            raise LocalError(
                f"the base model's states of this box's rows take {needed // MIB + 1} MiB of disk;"
                f" adapter.cache_mib allows {self._most // MIB}"
            )
        others = [p for p in self._folder.glob("*.hidden") if p.stem not in names]
        others.sort(key=lambda path: path.stat().st_mtime)
        used = sum(path.stat().st_size for path in others)
        while others and used + needed > self._most:
            used -= others[0].stat().st_size
            others.pop(0).unlink()

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}.hidden"
