"""Stochastic uniform quantisation to 8, 4 or 2 bits, a scale a block (QSGD, Alistarh et al. 2017).

A number between two levels goes to either at random, in such a way that its mean is the number
itself: errors of many boxes cancel in the fleet's mean instead of adding up.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from quantization.arrays import Array, BadArrays

Float64s = NDArray[np.float64]

LEVELS = {8: 127, 4: 7, 2: 1}
"""Steps on each side of zero, by bits a code."""

SCALE_BITS = 17
"""Significant bits of a scale: with the 7 bits of a code a level is then exact in float32."""

MIN_SCALE = 2.0**-126
"""Smallest scale of a block that is not all zero: the smallest normal float32."""

MAX_SCALE = 2.0**120
"""Largest scale: its 127th level still is a float32."""


def blocks(length: int, block: int) -> int:
    """How many scales that many numbers need."""
    return -(-length // block)


def quantise(
    vector: Array, block: int, rng: Generator, bits: int = 8
) -> tuple[Array, NDArray[np.int8]]:
    """Scales (ceil(n / block),) and codes (n,) in -127..127 (or -7..7, -1..1) of a vector (n,).

    Unbiased: the mean of `dequantise` over the rng is the vector. Raises BadArrays for numbers
    beyond MAX_SCALE levels; NaN and infinity must have been refused before.
    """
    draws = rng.random((1, blocks(vector.size, block), block))
    scales, codes = quantise_all(vector[None], draws, bits)
    return scales[0], codes[0]


def quantise_all(vectors: Array, draws: Float64s, bits: int = 8) -> tuple[Array, NDArray[np.int8]]:
    """Many vectors (v, n) at once, each by its own draws from [0, 1), (v, ceil(n / block), block).

    Scales (v, ceil(n / block)) and codes (v, n). Raises BadArrays as `quantise` does.
    """
    many, length = vectors.shape
    rows = np.zeros((many, draws[0].size))
    rows[:, :length] = vectors
    rows = rows.reshape(draws.shape)
    scales = _scales(np.abs(rows).max(axis=2, initial=0.0), LEVELS[bits])
    # A block of zeros has scale 0 on the wire; any divisor gives its codes.
    steps = rows / np.where(scales > 0, scales, 1.0)[:, :, None]
    lower = np.floor(steps)
    codes = lower + (draws < steps - lower)
    return scales.astype(np.float32), codes.astype(np.int8).reshape(many, -1)[:, :length]


def dequantise(scales: Array, codes: NDArray[np.int8], block: int) -> Array:
    """The float32 vector (n,) that scales and codes stand for. Exact: no level is rounded."""
    return codes.astype(np.float32) * np.repeat(scales, block)[: codes.size]


def _scales(peaks: Float64s, levels: int) -> Float64s:
    """Peaks / levels, rounded up to 17 significant bits: a clipped code would be a bias."""
    mantissa, exponent = np.frexp(peaks / levels)
    scales = np.ldexp(np.ceil(np.ldexp(mantissa, SCALE_BITS)), exponent - SCALE_BITS)
    if scales.size and scales.max() > MAX_SCALE:
        raise BadArrays(f"{peaks.max():g} is too large to be quantised")
    return np.where(peaks > 0, np.maximum(scales, MIN_SCALE), 0.0)
