"""Named arrays to few bytes, and back. The layout and the scheme are agreed beforehand.

Format, little-endian: one tag byte (the scheme's bits), then at 32 bits the numbers as float32, at
8 bits the blocks' scales as float32 and the codes as int8.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from quantization.arrays import Array, Arrays, BadArrays, Layout, flatten, size, unflatten
from quantization.scheme import Scheme
from quantization.uniform import LEVELS, MAX_SCALE, blocks, dequantise, quantise_all


_MAX_SCALE_BITS = int(np.float32(MAX_SCALE).view(np.uint32))
_LOWEST = np.int8(-LEVELS - 1).tobytes()


def packed_size(layout: Layout, scheme: Scheme) -> int:
    """Exact length in bytes of what `pack` makes."""
    if scheme.bits == 32:  # noqa: PLR2004 - the width's own name
        return 1 + 4 * size(layout)
    return 1 + 4 * blocks(size(layout), scheme.block) + size(layout)


def pack(arrays: Arrays, layout: Layout, scheme: Scheme, rng: Generator) -> bytes:
    """Arrays as bytes; the rng rounds, at 32 bits nothing is rounded. Raises BadArrays."""
    return pack_all(flatten(arrays, layout)[None], scheme, [rng])[0]


def pack_all(vectors: Array, scheme: Scheme, rngs: Sequence[Generator]) -> list[bytes]:
    """Many vectors (v, n) that `flatten` made, each rounded by an rng of its own."""
    tag = bytes([scheme.bits])
    if scheme.bits == 32:  # noqa: PLR2004
        return [tag + row.tobytes() for row in vectors.astype("<f4")]
    shape = (blocks(vectors.shape[1], scheme.block), scheme.block)
    draws = np.stack([rng.random(shape) for rng in rngs])
    scales, codes = quantise_all(vectors, scheme.block, draws)
    wide = scales.astype("<f4")
    return [tag + s.tobytes() + c.tobytes() for s, c in zip(wide, codes, strict=True)]


def unpack(data: bytes, layout: Layout, scheme: Scheme) -> dict[str, Array]:
    """The arrays in bytes from anybody. Raises BadArrays for whatever `pack` would not make."""
    return unflatten(unpack_vector(data, layout, scheme), layout)


def unpack_vector(data: bytes, layout: Layout, scheme: Scheme) -> Array:
    """The same numbers as one vector, in the layout's order."""
    expected = packed_size(layout, scheme)
    if len(data) != expected:
        raise BadArrays(f"{len(data)} bytes; the layout takes {expected}")
    if data[0] != scheme.bits:
        raise BadArrays(f"scheme tag {data[0]}; {scheme.bits} was agreed")
    if scheme.bits == 32:  # noqa: PLR2004
        vector = np.frombuffer(data, "<f4", offset=1).astype(np.float32)
        if not np.isfinite(vector).all():
            raise BadArrays("a number is NaN or infinity")
        return vector
    return _unpack_blocks(data, size(layout), scheme.block)


def _unpack_blocks(data: bytes, length: int, block: int) -> Array:
    count = blocks(length, block)
    end = 1 + 4 * count
    scales = np.frombuffer(data, "<f4", count=count, offset=1).astype(np.float32)
    codes = np.frombuffer(data, np.int8, offset=end)
    # Read as whole numbers, floats from 0 up keep their order; all others are larger.
    if count and scales.view(np.uint32).max() > _MAX_SCALE_BITS:
        raise BadArrays("a scale is NaN, negative or too large")
    if _LOWEST in data[end:]:
        raise BadArrays("a code is -128; -127 to 127 is used")
    return dequantise(scales, codes, block)
