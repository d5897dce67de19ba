"""A text as a few numbers: the states of a language model's trunk, pooled and sketched.

Raw states would drown everything in a few numbers: a trunk's first token and some of its widths
reach 2e4 where others are about 1. So the first token is left out, each token's state is divided
by its root mean square, and their mean is taken. The sketch is a fixed matrix of signs (Achlioptas
2003): small enough that its second moments fit one message, and the same on every box.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from proto.errors import LocalError

Float64s = NDArray[np.float64]
FLOOR = 1e-6


def pooled(states: NDArray[np.floating]) -> Float64s:
    """One text's trunk states (tokens, width) as one vector (width,). Raises LocalError for NaN."""
    if states.ndim != 2 or not len(states):  # noqa: PLR2004
        raise LocalError(f"trunk states of shape {states.shape}; (tokens, width) is needed")
    wide = states.astype(np.float64)[1:] if len(states) > 1 else states.astype(np.float64)
    if not np.isfinite(wide).all():
        raise LocalError("a trunk state is NaN or infinite")
    rms = np.sqrt((wide**2).mean(axis=1, keepdims=True))
    return np.asarray((wide / np.maximum(rms, FLOOR)).mean(axis=0))


def sketched(rows: Float64s, base: bytes, size: int) -> Float64s:
    """Pooled rows (rows, width) as (rows, size), by signs that the base's hash gives."""
    return np.asarray(rows @ signs(base, rows.shape[1], size))


def signs(base: bytes, width: int, size: int) -> Float64s:
    """(width, size): +1 or -1 over the root of the size, the same wherever it is made."""
    drawn = hashlib.shake_256(b"qfleet sketch" + base).digest((width * size + 7) // 8)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8))[: width * size]
    return np.asarray((2.0 * bits.reshape(width, size) - 1.0) / size**0.5)
