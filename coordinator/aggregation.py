"""The weighted mean of updates, added one at a time, the same to the last bit in any order.

Each addition is in fixed point: a float sum would depend on who came first. FedAvg, McMahan et al.
2017, with the weights the boxes' training rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto.errors import RemoteError

FRACTION_BITS = 24
"""A weighted delta is a multiple of 2**-24: far below one 8-bit step, and room for 2**39 above."""
MAX_DELTA = 256.0
"""No honest update moves a parameter further; a larger one is refused, not clipped."""
MAX_WEIGHT = 2**30
"""Total rows a round may hold, so that the sum stays within 62 bits."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What has been added so far: `total` int64 (n,), `weight` rows, `count` updates."""

    total: NDArray[np.int64]
    weight: int = 0
    count: int = 0


def init(size: int) -> Sum:
    return Sum(np.zeros(size, np.int64))


def add(state: Sum, delta: NDArray[np.float32], weight: int) -> Sum:
    """One more update, float32 (n,), weighted by its rows. Raises RemoteError."""
    return add_all(state, delta[None], [weight])


def add_all(state: Sum, deltas: NDArray[np.float32], weights: Sequence[int]) -> Sum:
    """Many more, float32 (v, n), each weighted by its rows. Raises RemoteError."""
    if deltas.shape[1:] != state.total.shape:
        size = deltas[0].size
        raise RemoteError(f"an update of {size} parameters; the model has {state.total.size}")
    weight = state.weight
    for rows in weights:
        weight += rows
        if rows < 1 or weight > MAX_WEIGHT:
            raise RemoteError(f"an update with {rows} rows cannot be weighed")
    check(deltas)
    fixed = np.rint(deltas.astype(np.float64) * 2.0**FRACTION_BITS).astype(np.int64)
    added = (fixed * np.asarray(weights, np.int64)[:, None]).sum(axis=0)
    return Sum(state.total + added, weight, state.count + len(weights))


def check(delta: NDArray[np.float32]) -> None:
    """Raise RemoteError for a delta that is not finite or absurdly large."""
    if not np.isfinite(delta).all():
        raise RemoteError("an update that is not finite")
    if delta.size and float(np.abs(delta).max()) > MAX_DELTA:
        raise RemoteError(f"an update that moves a parameter by more than {MAX_DELTA}")


def finish(state: Sum) -> NDArray[np.float32]:
    """The mean delta, float32 (n,). Raises RemoteError when nothing was added."""
    if state.count == 0:
        raise RemoteError("no update to average")
    mean = state.total.astype(np.float64) / (state.weight * 2.0**FRACTION_BITS)
    return mean.astype(np.float32)
