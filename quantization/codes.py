"""Codes to bytes and back: one, two or four to a byte, the first in the lowest bits.

A code c of b bits is stored as c + 2^(b-1); 8-bit codes are int8 as they are. The lowest value,
which quantising never gives, and bits behind the last code must not be set.
"""

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import BadArrays
from quantization.uniform import LEVELS

Codes = NDArray[np.int8]


def codes_size(count: int, bits: int) -> int:
    """Bytes that so many codes take."""
    return -(-count * bits // 8)


def pack_codes(codes: Codes, bits: int) -> bytes:
    """Codes (n,) as bytes."""
    return pack_rows(codes[None], bits).tobytes()


def pack_rows(codes: Codes, bits: int) -> NDArray[np.uint8]:
    """Codes (v, n) as bytes, `codes_size` of them in each row."""
    if bits == 8:  # noqa: PLR2004 - the width's own name
        return codes.view(np.uint8)
    (many, length), each = codes.shape, 8 // bits
    wide = codes_size(length, bits)
    padded = np.zeros((many, wide * each), np.uint8)
    padded[:, :length] = codes + LEVELS[bits] + 1
    shifts = np.arange(each, dtype=np.uint8) * np.uint8(bits)
    packed: NDArray[np.uint8] = (padded.reshape(many, wide, each) << shifts).sum(2, dtype=np.uint8)
    return packed


def unpack_codes(data: bytes, count: int, bits: int) -> Codes:
    """So many codes. Raises BadArrays for what `pack_codes` would not make."""
    if len(data) != codes_size(count, bits):
        raise BadArrays(f"{len(data)} bytes of codes; {codes_size(count, bits)} are needed")
    if bits == 8:  # noqa: PLR2004
        codes = np.frombuffer(data, np.int8)
    else:
        each = 8 // bits
        shifts = np.arange(each, dtype=np.uint8) * np.uint8(bits)
        spread = (np.frombuffer(data, np.uint8)[:, None] >> shifts) & (2**bits - 1)
        if spread.ravel()[count:].any():
            raise BadArrays("bits are set behind the last code")
        codes = (spread.ravel()[:count].astype(np.int16) - LEVELS[bits] - 1).astype(np.int8)
    if (codes < -LEVELS[bits]).any():
        raise BadArrays(f"a code is {-LEVELS[bits] - 1}; -{LEVELS[bits]} to {LEVELS[bits]} is used")
    return codes
