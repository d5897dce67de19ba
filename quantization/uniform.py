"""Stochastic uniform quantisation to 8 bits, one scale a block (QSGD, Alistarh et al. 2017).

A number between two levels goes to either at random, in such a way that its mean is the number
itself: errors of many boxes cancel in the fleet's mean instead of adding up.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from quantization.arrays import Array, BadArrays

LEVELS = 127
"""Steps on each side of zero."""

SCALE_BITS = 17
"""Significant bits of a scale: with the 7 bits of a code a level is then exact in float32."""

MIN_SCALE = 2.0**-126
"""Smallest scale of a block that is not all zero: the smallest normal float32."""

MAX_SCALE = 2.0**120
"""Largest scale: its 127th level still is a float32."""


def blocks(length: int, block: int) -> int:
    """How many scales that many numbers need."""
    return -(-length // block)


def quantise(vector: Array, block: int, rng: Generator) -> tuple[Array, NDArray[np.int8]]:
    """Scales (ceil(n / block),) and codes (n,) in -127..127 of a float32 vector (n,).

    Unbiased: the mean of `dequantise` over the rng is the vector. Raises BadArrays for numbers
    beyond 127 * MAX_SCALE; NaN and infinity must have been refused before.
    """
    count = blocks(vector.size, block)
    scales, codes = quantise_all(vector[None], block, rng.random((1, count, block)))
    return scales[0], codes[0]


def quantise_all(
    vectors: Array, block: int, draws: NDArray[np.float64]
) -> tuple[Array, NDArray[np.int8]]:
    """Many vectors (v, n) at once, each by its own draws from [0, 1), (v, ceil(n / block), block).

    Scales (v, ceil(n / block)) and codes (v, n). Raises BadArrays as `quantise` does.
    """
    many, length = vectors.shape
    rows = np.zeros((many, blocks(length, block) * block))
    rows[:, :length] = vectors
    rows = rows.reshape(draws.shape)
    scales = _scales(np.abs(rows).max(axis=2, initial=0.0))
    # A block of zeros has scale 0 on the wire; any divisor gives its codes.
    steps = rows / np.where(scales > 0, scales, 1.0)[:, :, None]
    lower = np.floor(steps)
    codes = lower + (draws < steps - lower)
    return scales.astype(np.float32), codes.astype(np.int8).reshape(many, -1)[:, :length]


def dequantise(scales: Array, codes: NDArray[np.int8], block: int) -> Array:
    """The float32 vector (n,) that scales and codes stand for. Exact: no level is rounded."""
    return codes.astype(np.float32) * np.repeat(scales, block)[: codes.size]


def _scales(peaks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Peaks / 127, rounded up to 17 significant bits, so that no code needs clipping (a bias)."""
    mantissa, exponent = np.frexp(peaks / LEVELS)
    scales = np.ldexp(np.ceil(np.ldexp(mantissa, SCALE_BITS)), exponent - SCALE_BITS)
    if scales.size and scales.max() > MAX_SCALE:
        raise BadArrays(f"{peaks.max():g} is too large to be quantised")
    return np.where(peaks > 0, np.maximum(scales, MIN_SCALE), 0.0)
