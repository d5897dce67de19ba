"""Named arrays to few bytes, and back. The layout and the scheme are agreed beforehand.

Format, little-endian: a tag byte (the scheme's bits, and 64 more where only the largest numbers
travel), then these numbers: at 32 bits as float32, else the blocks' scales as float32 and the
codes. Sparse ones are followed by their places.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from quantization.arrays import Array, Arrays, BadArrays, Layout, flatten, size, unflatten
from quantization.codes import codes_size, pack_codes, pack_rows, unpack_codes
from quantization.places import longest, pack_places, unpack_places
from quantization.scheme import Scheme
from quantization.uniform import (
    LEVELS,
    MAX_SCALE,
    Float64s,
    blocks,
    dequantise,
    quantise,
    quantise_all,
)

SPARSE = 64
"""Added to the tag of an update of the largest numbers alone."""
PLAIN = 32
BAD_SCALE = "a scale is NaN, negative or too large"
UNUSED = "a code is -128; -127 to 127 is used"
_NO_CODE = b"\x80"
_FLOAT, _WHOLE = struct.Struct("<f"), struct.Struct("<I")
_MAX_SCALE_BITS = int(np.float32(MAX_SCALE).view(np.uint32))
_MOST = LEVELS[8]


@dataclass(frozen=True, slots=True)
class Form:
    """What `pack` makes of a layout under a scheme, as far as is known beforehand."""

    tag: int
    size: int
    """Length in bytes; of a sparse scheme, the most it can be."""
    sparse: bool
    scales: struct.Struct | None
    """Of a byte a number, and all of them: reads the scales as whole numbers; None of others."""


@lru_cache(maxsize=256)
def form_of(layout: Layout, scheme: Scheme) -> Form:
    """Raises BadArrays for a layout that breaks a cap."""
    length = size(layout)
    count = scheme.kept(length)
    whole = 1 + _numbers_size(count, scheme) + (longest(count, length) if scheme.sparse else 0)
    tag = scheme.bits + (SPARSE if scheme.sparse else 0)
    plain = scheme.bits == 8 and not scheme.sparse  # noqa: PLR2004
    scales = struct.Struct(f"<{blocks(length, scheme.block)}I") if plain else None
    return Form(tag, whole, scheme.sparse, scales)


def packed_size(layout: Layout, scheme: Scheme) -> int:
    """Length in bytes of what `pack` makes; of a sparse scheme, the most it can make."""
    return form_of(layout, scheme).size


def pack(arrays: Arrays, layout: Layout, scheme: Scheme, rng: Generator) -> bytes:
    """Arrays as bytes; the rng rounds, at 32 bits nothing is rounded. Raises BadArrays."""
    vector = flatten(arrays, layout)
    if not scheme.sparse:
        return bytes([scheme.bits]) + _pack_numbers(vector, scheme, rng)
    places = _largest(vector, scheme.kept(vector.size))
    numbers = _pack_numbers(vector[places], scheme, rng)
    return bytes([scheme.bits + SPARSE]) + numbers + pack_places(places, vector.size)


def pack_all(vectors: Array, scheme: Scheme, draws: Float64s | None = None) -> list[bytes]:
    """As `pack` for many vectors (v, n), none of them sparse.

    Each is rounded by draws of its own, (v, ceil(n / block), block); at 32 bits there are none.
    """
    tags = np.full((len(vectors), 1), scheme.bits, np.uint8)
    if scheme.bits == PLAIN:
        parts = [tags, vectors.astype("<f4").view(np.uint8)]
    else:
        assert draws is not None, "what is rounded is rounded by draws"
        scales, codes = quantise_all(vectors, draws, scheme.bits)
        parts = [tags, scales.astype("<f4").view(np.uint8), pack_rows(codes, scheme.bits)]
    table = np.concatenate(parts, axis=1)
    data, size = table.tobytes(), table.shape[1]
    return [data[at : at + size] for at in range(0, len(data), size)]


def unpack(data: bytes, layout: Layout, scheme: Scheme) -> dict[str, Array]:
    """The arrays in bytes from anybody. Raises BadArrays for whatever `pack` would not make."""
    return unflatten(unpack_vector(data, layout, scheme), layout)


def unpack_vector(data: bytes, layout: Layout, scheme: Scheme) -> Array:
    """The same numbers as one vector, in the layout's order; what did not travel is 0."""
    _check_head(data, form_of(layout, scheme))
    length = size(layout)
    count = scheme.kept(length)
    end = 1 + _numbers_size(count, scheme)
    if len(data) < end:
        raise BadArrays(f"{len(data)} bytes; {count} numbers take {end}")
    numbers = _unpack_numbers(data[1:end], count, scheme)
    if not scheme.sparse:
        return numbers
    vector = np.zeros(length, np.float32)
    vector[unpack_places(data[end:], count, length)] = numbers
    return vector


def unpack_all(datas: Sequence[bytes], layout: Layout, scheme: Scheme) -> Array:
    """Many at once, a row each, (v, n). Raises BadArrays where `unpack_vector` does of any."""
    form = form_of(layout, scheme)
    if form.scales is None or not datas:
        rows = [unpack_vector(data, layout, scheme) for data in datas]
        return np.stack(rows) if rows else np.empty((0, size(layout)), np.float32)
    whole = b"".join(datas)
    # Of these lengths, each one's tag is so many bytes behind the last.
    if set(map(len, datas)) != {form.size} or set(whole[:: form.size]) != {form.tag}:
        for data in datas:
            _check_head(data, form)
    cut = 1 + form.scales.size
    table = np.frombuffer(whole, np.uint8).reshape(len(datas), -1)
    scales = _checked_scales(table[:, 1:cut].copy().view("<f4").astype(np.float32))
    codes = table[:, cut:].view(np.int8)
    if codes.size and codes.min() < -_MOST:
        raise BadArrays(UNUSED)
    each = np.repeat(scales, scheme.block, axis=1)[:, : codes.shape[1]]
    return codes.astype(np.float32) * each


def bound(data: bytes, form: Form) -> float:
    """What no number in the bytes exceeds, or infinity where only unpacking them tells.

    Raises BadArrays where `unpack_vector` does, unless it is infinity.
    """
    scales = form.scales
    if scales is None:
        return inf
    _check_head(data, form)
    largest = max(scales.unpack_from(data, 1)) if scales.size else 0
    if largest > _MAX_SCALE_BITS:
        raise BadArrays(BAD_SCALE)
    if data.find(_NO_CODE, 1 + scales.size) >= 0:
        raise BadArrays(UNUSED)
    scale: float = _FLOAT.unpack(_WHOLE.pack(largest))[0]
    return scale * _MOST


def _check_head(data: bytes, form: Form) -> None:
    """The length, as far as it is known beforehand, and the tag."""
    expected = form.size
    if len(data) != expected and not (form.sparse and len(data) < expected):
        raise BadArrays(f"{len(data)} bytes; the layout takes {expected}")
    if not data or data[0] != form.tag:
        raise BadArrays(f"scheme tag {data[0] if data else 'missing'}; {form.tag} was agreed")


def _checked_scales(scales: Array) -> Array:
    # Read as whole numbers, floats from 0 up keep their order; all others are larger.
    if scales.size and scales.view(np.uint32).max() > _MAX_SCALE_BITS:
        raise BadArrays(BAD_SCALE)
    return scales


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
    scales = _checked_scales(np.frombuffer(data, "<f4", count=cut // 4).astype(np.float32))
    return dequantise(scales, unpack_codes(data[cut:], count, scheme.bits), scheme.block)
