"""A model's file without its upper blocks, for engines that always run all they find in a file."""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from quantization.gguf.header import BadModel, Header, Tensor, read_header

ALIGNMENT = 32
_COUNT = b"llama.block_count" + struct.pack("<I", 4)
_BLOCK = re.compile(r"blk\.(\d+)\.")


def shorten(source: BinaryIO, size: int, blocks: int) -> Iterator[bytes]:
    """The bytes of a GGUF file that keeps `blocks` blocks, and all else as it is, piece by piece.

    Raises BadModel for a file that is damaged or says its number of blocks in another way.
    """
    source.seek(0)
    header = read_header(source, size)
    kept = {name: tensor for name, tensor in header.tensors.items() if _stays(name, blocks)}
    source.seek(0)
    keys = bytearray(source.read(header.keys_end))
    at = keys.find(_COUNT)
    if at < 0:
        raise BadModel("it does not say how many blocks it has")
    struct.pack_into("<I", keys, at + len(_COUNT), blocks)
    struct.pack_into("<Q", keys, 8, len(kept))
    entries = _entries(kept, _alignment(header))
    yield bytes(keys)
    yield entries
    yield _padding(len(keys) + len(entries), _alignment(header))
    for tensor in kept.values():
        source.seek(tensor.start)
        yield source.read(tensor.length)
        yield _padding(tensor.length, _alignment(header))


def _stays(name: str, blocks: int) -> bool:
    found = _BLOCK.match(name)
    return found is None or int(found[1]) < blocks


def _alignment(header: Header) -> int:
    found = header.metadata.get("general.alignment", ALIGNMENT)
    return found if isinstance(found, int) else ALIGNMENT


def _padding(length: int, alignment: int) -> bytes:
    return b"\0" * (-length % alignment)


def _entries(tensors: dict[str, Tensor], alignment: int) -> bytes:
    written, offset = bytearray(), 0
    for name, tensor in tensors.items():
        label = name.encode()
        written += struct.pack("<Q", len(label)) + label + struct.pack("<I", len(tensor.shape))
        written += struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
        written += struct.pack("<IQ", tensor.kind, offset)
        offset += tensor.length + -tensor.length % alignment
    return bytes(written)
