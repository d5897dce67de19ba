"""Named arrays to few bytes, and back. The layout and the scheme are agreed beforehand.

Format, little-endian: a tag byte (the scheme's bits, and 64 more where only the largest numbers
travel), then these numbers: at 32 bits as float32, else the blocks' scales as float32 and the
codes. Sparse ones are followed by their places.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from quantization.arrays import Array, Arrays, BadArrays, Layout, flatten, size, unflatten
from quantization.codes import codes_size, pack_codes, unpack_codes
from quantization.places import longest, pack_places, unpack_places
from quantization.scheme import Scheme
from quantization.uniform import MAX_SCALE, blocks, dequantise, quantise, quantise_all

SPARSE = 64
"""Added to the tag of an update of the largest numbers alone."""
PLAIN = 32
_MAX_SCALE_BITS = int(np.float32(MAX_SCALE).view(np.uint32))


def packed_size(layout: Layout, scheme: Scheme) -> int:
    """Length in bytes of what `pack` makes; of a sparse scheme, the most it can make."""
    length = size(layout)
    count = scheme.kept(length)
    return 1 + _numbers_size(count, scheme) + (longest(count, length) if scheme.sparse else 0)


def pack(arrays: Arrays, layout: Layout, scheme: Scheme, rng: Generator) -> bytes:
    """Arrays as bytes; the rng rounds, at 32 bits nothing is rounded. Raises BadArrays."""
    vector = flatten(arrays, layout)
    if not scheme.sparse:
        return bytes([scheme.bits]) + _pack_numbers(vector, scheme, rng)
    places = _largest(vector, scheme.kept(vector.size))
    numbers = _pack_numbers(vector[places], scheme, rng)
    return bytes([scheme.bits + SPARSE]) + numbers + pack_places(places, vector.size)


def pack_all(vectors: Array, scheme: Scheme, rngs: Sequence[Generator]) -> list[bytes]:
    """As `pack` for many vectors (v, n), each rounded by an rng of its own; none of them sparse."""
    tag = bytes([scheme.bits])
    if scheme.bits == PLAIN:
        return [tag + row.tobytes() for row in vectors.astype("<f4")]
    shape = (blocks(vectors.shape[1], scheme.block), scheme.block)
    scales, codes = quantise_all(
        vectors, np.stack([rng.random(shape) for rng in rngs]), scheme.bits
    )
    wide = scales.astype("<f4")
    return [
        tag + own.tobytes() + pack_codes(row, scheme.bits)
        for own, row in zip(wide, codes, strict=True)
    ]


def unpack(data: bytes, layout: Layout, scheme: Scheme) -> dict[str, Array]:
    """The arrays in bytes from anybody. Raises BadArrays for whatever `pack` would not make."""
    return unflatten(unpack_vector(data, layout, scheme), layout)


def unpack_vector(data: bytes, layout: Layout, scheme: Scheme) -> Array:
    """The same numbers as one vector, in the layout's order; what did not travel is 0."""
    length, expected = size(layout), packed_size(layout, scheme)
    count = scheme.kept(length)
    if len(data) > expected or (len(data) < expected and not scheme.sparse):
        raise BadArrays(f"{len(data)} bytes; the layout takes {expected}")
    tag = scheme.bits + (SPARSE if scheme.sparse else 0)
    if data[:1] != bytes([tag]):
        raise BadArrays(f"scheme tag {data[0] if data else 'missing'}; {tag} was agreed")
    end = 1 + _numbers_size(count, scheme)
    if len(data) < end:
        raise BadArrays(f"{len(data)} bytes; {count} numbers take {end}")
    numbers = _unpack_numbers(data[1:end], count, scheme)
    if not scheme.sparse:
        return numbers
    vector = np.zeros(length, np.float32)
    vector[unpack_places(data[end:], count, length)] = numbers
    return vector


def _largest(vector: Array, count: int) -> NDArray[np.int64]:
    """Places of the largest numbers, rising; of equal ones the first."""
    return np.sort(np.argsort(-np.abs(vector), kind="stable")[:count])


def _numbers_size(count: int, scheme: Scheme) -> int:
    if scheme.bits == PLAIN:
        return 4 * count
    return 4 * blocks(count, scheme.block) + codes_size(count, scheme.bits)


def _pack_numbers(vector: Array, scheme: Scheme, rng: Generator) -> bytes:
    if scheme.bits == PLAIN:
        return vector.astype("<f4").tobytes()
    scales, codes = quantise(vector, scheme.block, rng, scheme.bits)
    return scales.astype("<f4").tobytes() + pack_codes(codes, scheme.bits)


def _unpack_numbers(data: bytes, count: int, scheme: Scheme) -> Array:
    if scheme.bits == PLAIN:
        vector = np.frombuffer(data, "<f4").astype(np.float32)
        if not np.isfinite(vector).all():
            raise BadArrays("a number is NaN or infinity")
        return vector
    cut = 4 * blocks(count, scheme.block)
    scales = np.frombuffer(data, "<f4", count=cut // 4).astype(np.float32)
    # Read as whole numbers, floats from 0 up keep their order; all others are larger.
    if scales.size and scales.view(np.uint32).max() > _MAX_SCALE_BITS:
        raise BadArrays("a scale is NaN, negative or too large")
    return dequantise(scales, unpack_codes(data[cut:], count, scheme.bits), scheme.block)
