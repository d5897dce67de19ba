"""Aggregates that a few bad boxes cannot move far: per number, the median or a trimmed mean.

Each box counts the same: rows are claimed, and who lies about its update lies about its rows. Every
update of the round is held at once, within bounds. Yin et al. 2018.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.aggregation import MAX_WEIGHT, check
from proto.errors import RemoteError

MAX_HELD = 256 * 2**20
"""Bytes of updates held in a round."""
TRIM = 0.2
"""Share of the boxes left out at each end, at least one: so many may be bad."""


@dataclass(frozen=True, slots=True)
class Held:
    """Updates so far, float32 (n,) each."""

    size: int
    deltas: tuple[NDArray[np.float32], ...] = ()


def init(size: int) -> Held:
    return Held(size)


def add(state: Held, delta: NDArray[np.float32], weight: int) -> Held:
    """One more update; its rows must make sense, but do not count. Raises RemoteError."""
    if delta.shape != (state.size,):
        raise RemoteError(f"an update of {delta.size} parameters; the model has {state.size}")
    if not 1 <= weight <= MAX_WEIGHT:
        raise RemoteError(f"an update with {weight} rows cannot be weighed")
    check(delta)
    if (len(state.deltas) + 1) * delta.nbytes > MAX_HELD:
        text = f"more updates than {MAX_HELD} bytes hold: lower rounds.cohort, or take the mean"
        raise RemoteError(text)
    return Held(state.size, (*state.deltas, delta))


def median(state: Held) -> NDArray[np.float32]:
    """The median of each number, float32 (n,). Raises RemoteError when nothing was added."""
    return np.asarray(np.median(_ordered(state), axis=0), np.float32)


def trimmed_mean(state: Held) -> NDArray[np.float32]:
    """The mean of each number without its smallest and largest. Raises RemoteError."""
    ordered = _ordered(state)
    boxes = len(ordered)
    cut = min(max(1, int(TRIM * boxes)), (boxes - 1) // 2)
    return np.asarray(ordered[cut : boxes - cut].mean(axis=0), np.float32)


def _ordered(state: Held) -> NDArray[np.float64]:
    """(boxes, n), each number's values sorted: who came first changes no bit."""
    if not state.deltas:
        raise RemoteError("no update to average")
    return np.sort(np.stack(state.deltas).astype(np.float64), axis=0)
