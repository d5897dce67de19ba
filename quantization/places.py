"""Where a sparse update's numbers belong, in few bits: Rice-coded gaps (Rice and Plaunt 1971).

Of k places among n, each gap's high part goes in unary (so many zeros and a one), its low r bits in
binary; all high parts come first, so that both ends work on whole arrays. At a tenth of the places
a place takes about 4.7 bits, within 2 % of what chance allows.
"""

import math

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import BadArrays

Places = NDArray[np.int64]


def pack_places(places: Places, length: int) -> bytes:
    """Rising places (k,) below `length` as bytes."""
    low = _low_bits(places.size, length)
    gaps = np.diff(places, prepend=-1) - 1
    ends = np.cumsum((gaps >> low) + 1)
    unary = np.zeros(int(ends[-1]) if places.size else 0, np.uint8)
    unary[ends - 1] = 1
    rest = (gaps[:, None] >> np.arange(low)) & 1
    return _bytes(unary) + _bytes(rest.astype(np.uint8).ravel())


def unpack_places(data: bytes, count: int, length: int) -> Places:
    """So many rising places below `length`. Raises BadArrays for bytes no `pack_places` makes."""
    low = _low_bits(count, length)
    tail = -(-count * low // 8)
    if len(data) < tail or len(data) > longest(count, length):
        raise BadArrays(f"{len(data)} bytes of places")
    unary, rest = _bits(data[: len(data) - tail]), _bits(data[len(data) - tail :])
    ends = np.flatnonzero(unary)
    if ends.size != count or (count and unary.size - ends[-1] > 8) or (not count and data):  # noqa: PLR2004
        raise BadArrays("places that do not end where they should")
    if rest[count * low :].any():
        raise BadArrays("bits are set behind the last place")
    high = np.diff(ends, prepend=-1) - 1
    lows = rest[: count * low].reshape(count, low).astype(np.int64) << np.arange(low)
    places = np.cumsum((high << low) + lows.sum(axis=1) + 1) - 1
    if count and places[-1] >= length:
        raise BadArrays(f"place {places[-1]} of {length}")
    return places


def longest(count: int, length: int) -> int:
    """The most bytes that so many places can take."""
    low = _low_bits(count, length)
    return -(-(count + (length >> low)) // 8) + -(-count * low // 8)


def _low_bits(count: int, length: int) -> int:
    """The best r for gaps that chance spreads (Golomb's rule)."""
    return max(0, round(math.log2(max(1.0, 0.69 * length / count)))) if count else 0


def _bytes(bits: NDArray[np.uint8]) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _bits(data: bytes) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
