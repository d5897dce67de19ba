"""The header of a GGUF file: metadata and where each tensor lies. Every length has a cap.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
The `gguf` library's reader maps the whole file and keeps an array for each of a tokenizer's 98,000
strings; here one walk reads what is wanted, and a hostile count fails before it costs memory.
"""

import math
import struct
from dataclasses import dataclass
from typing import BinaryIO

from proto.errors import ConfigError
from quantization.gguf.blocks import BLOCKS

MAX_HEADER = 2**26
"""Bytes of a header: SmolLM2's takes 1.8 MB, Llama 3's with 128,000 tokens 8 MB."""

MAX_KEYS = 4096
MAX_TENSORS = 2**14
MAX_TEXT = 2**20
MAX_ITEMS = 2**20
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**33

_TEXT, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_VERSIONS = (2, 3)

Scalar = bool | int | float | str
Value = Scalar | list[Scalar]


class BadModel(ConfigError):
    """A model file, or an adapter file, is damaged or of another kind than is needed."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies. `shape` has rows first; `start` counts from the file's first byte."""

    shape: tuple[int, ...]
    kind: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Header:
    """All that a GGUF file says before its numbers."""

    metadata: dict[str, Value]
    tensors: dict[str, Tensor]
    keys_end: int = 0
    """Where the metadata ends and the list of tensors begins."""


class _Walk:
    """Reads forward, counts bytes, and stops at the cap or the file's end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.at = 0

    def take(self, length: int) -> bytes:
        self.at += length
        if self.at > MAX_HEADER:
            raise BadModel(f"its GGUF header is longer than {MAX_HEADER} bytes")
        data = self.file.read(length)
        if len(data) != length:
            raise BadModel("the GGUF file is cut off within its header; fetch it again")
        return data

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def count(self, form: str, most: int, what: str) -> int:
        found = self.number(form)
        if found > most:
            raise BadModel(f"{found} {what}; at most {most} are accepted")
        return found

    def text(self) -> str:
        data = self.take(self.count("<Q", MAX_TEXT, "bytes of text in one piece"))
        return data.decode("utf-8", "replace")

    def scalar(self, kind: int) -> Scalar:
        if kind == _TEXT:
            return self.text()
        form = _SCALARS.get(kind)
        if form is None:
            raise BadModel(f"metadata of the unknown type {kind}")
        found: Scalar = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return found

    def array(self, *, kept: bool) -> list[Scalar]:
        kind = self.number("<I")
        count = self.count("<Q", MAX_ITEMS, "items in one list")
        if kind in _SCALARS and not kept:
            self.take(count * struct.calcsize(_SCALARS[kind]))
            return []
        items = (self.scalar(kind) for _ in range(count))
        if kept:
            return list(items)
        for _ in items:
            continue
        return []


def read_header(file: BinaryIO, size: int, *, lists: bool = False) -> Header:
    """Walk the header of a GGUF file that is `size` bytes long, from where `file` stands.

    Lists (a tokenizer's, mostly) are kept only on request, and empty otherwise. Raises BadModel
    for what is no GGUF, is cut off, or breaks a cap.
    """
    walk = _Walk(file)
    if walk.take(4) != b"GGUF":
        raise BadModel("it does not begin with GGUF; name a .gguf file")
    version = walk.number("<I")
    if version not in _VERSIONS:
        raise BadModel(f"GGUF version {version}; 2 and 3 are known (big-endian files are not)")
    tensors = walk.count("<Q", MAX_TENSORS, "tensors")
    keys = walk.count("<Q", MAX_KEYS, "metadata keys")
    metadata: dict[str, Value] = {}
    for _ in range(keys):
        name, kind = walk.text(), walk.number("<I")
        metadata[name] = walk.array(kept=lists) if kind == _ARRAY else walk.scalar(kind)
    keys_end = walk.at
    entries = [_entry(walk) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= MAX_TEXT:
        raise BadModel(f"alignment {alignment!r}")
    first = -(-walk.at // alignment) * alignment
    return Header(metadata, dict(_placed(entries, first, size)), keys_end)


def _entry(walk: _Walk) -> tuple[str, tuple[int, ...], int, int]:
    name = walk.text()
    count = walk.count("<I", MAX_DIMENSIONS, "dimensions")
    shape = tuple(walk.number("<Q") for _ in range(count))[::-1]
    return name, shape, walk.number("<I"), walk.number("<Q")


def _placed(
    entries: list[tuple[str, tuple[int, ...], int, int]], first: int, size: int
) -> list[tuple[str, Tensor]]:
    placed = []
    for name, shape, kind, offset in entries:
        elements = math.prod(shape)
        if not 0 < elements <= MAX_ELEMENTS:
            raise BadModel(f"tensor {name!r} has {elements} elements")
        if kind not in BLOCKS:
            known = ", ".join(block.name for block in BLOCKS.values())
            raise BadModel(f"tensor {name!r} is of GGML type {kind}; {known} are read")
        block = BLOCKS[kind]
        if shape[-1] % block.elements:
            raise BadModel(f"tensor {name!r}: rows of {shape[-1]} are no whole {block.name} blocks")
        length = elements // block.elements * block.size
        if first + offset + length > size:
            raise BadModel(f"the file is cut off: tensor {name!r} lies beyond its end")
        placed.append((name, Tensor(shape, kind, first + offset, length)))
    if len({name for name, _ in placed}) != len(placed):
        raise BadModel("two tensors have the same name")
    return placed
