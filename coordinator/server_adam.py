"""FedAdam: the coordinator takes the boxes' mean for a gradient and keeps Adam's two means itself.

Reddi et al. 2021, with its defaults. It helps where boxes differ much and take many local steps.
"""

import numpy as np
from msgspec import DecodeError, Struct, msgpack
from numpy.typing import NDArray

from proto.errors import RemoteError

DECAY, SQUARE_DECAY = 0.9, 0.99
FLOOR = 1e-3
"""Added below the fraction bar: a number that hardly ever moves is not blown up."""


class _Means(Struct, frozen=True, array_like=True):
    """Running means of the changes and of their squares: float64 bytes."""

    mean: bytes
    square: bytes


def step(
    state: bytes, change: NDArray[np.float32], rate: float
) -> tuple[bytes, NDArray[np.float32]]:
    """The next state, and the change (n,) to make of the boxes' mean change (n,).

    state: what the last round left, or nothing. Raises RemoteError for that of another model.
    """
    mean, square = _read(state, change.size)
    wide = change.astype(np.float64)
    mean = DECAY * mean + (1 - DECAY) * wide
    square = SQUARE_DECAY * square + (1 - SQUARE_DECAY) * wide**2
    moved = rate * mean / (np.sqrt(square) + FLOOR)
    return msgpack.encode(_Means(mean.tobytes(), square.tobytes())), moved.astype(np.float32)


def _read(state: bytes, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not state:
        return np.zeros(size), np.full(size, FLOOR**2)
    try:
        means = msgpack.decode(state, type=_Means)
        mean, square = (np.frombuffer(part) for part in (means.mean, means.square))
    except (DecodeError, ValueError) as error:
        raise RemoteError(f"a server state that cannot be read: {error}") from None
    if not mean.size == square.size == size:
        raise RemoteError(f"a server state of {mean.size} numbers; the model has {size}")
    return mean, square
