"""Adapters of different ranks to one change: small boxes train the first r of the task's columns.

Two ways behind one interface, by the task's `combine`. *padded* adds zeros where a box trained
nothing and divides each column by the rows of those who did train it: plain padding would shrink
what only large boxes train. *stacked* puts all boxes' A side by side and their weighted B on top of
each other, so that the product is the exact mean of the boxes' products (FLoRA, Wang et al. 2024),
and cuts that back to the rank by a singular value decomposition.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coordinator import aggregation
from proto.adapter import Adapter, adapter_layout
from proto.errors import RemoteError
from quantization.arrays import Array, Arrays, flatten, size, unflatten

Wide = NDArray[np.float64]


class Way(NamedTuple):
    """One way: what was added so far, one more update, and the change they give together."""

    init: Callable[[Adapter], Any]
    add: Callable[[Any, Array, int, int], Any]
    """Of state, delta (n,) in the layout of a rank, that rank (0: the task's), and its rows."""
    finish: Callable[[Any, Array], Array]
    """Of state and the round's model (n,): the change of it, in the whole rank's layout."""


def way_of(adapter: Adapter) -> Way:
    return WAYS[adapter.combine]


# --- padded ---------------------------------------------------------------------------------------


class Padded(NamedTuple):
    """A sum for each rank that came: whole numbers, so that no order changes a bit."""

    adapter: Adapter
    sums: dict[int, aggregation.Sum]


def _start(adapter: Adapter) -> Padded:
    return Padded(adapter, {})


def _add(state: Padded, delta: Array, rank: int, rows: int) -> Padded:
    rank = rank or state.adapter.rank
    length = size(adapter_layout(state.adapter, rank))
    total = aggregation.add(state.sums.get(rank) or aggregation.init(length), delta, rows)
    return state._replace(sums={**state.sums, rank: total})


def _mean(state: Padded, _model: Array) -> Array:
    if not state.sums:
        raise RemoteError("no update to average")
    layout = adapter_layout(state.adapter)
    total, weight = np.zeros(size(layout), np.int64), np.zeros(size(layout), np.int64)
    for rank, summed in state.sums.items():
        places = _places(state.adapter, rank)
        total[places] += summed.total
        weight[places] += summed.weight
    share = np.maximum(weight, 1) * 2.0**aggregation.FRACTION_BITS
    return (total.astype(np.float64) / share).astype(np.float32)


def _places(adapter: Adapter, rank: int) -> NDArray[np.int64]:
    """Where the numbers of a rank's vector belong in the whole one."""
    layout = adapter_layout(adapter)
    numbers = np.arange(size(layout), dtype=np.int64)
    parts, at = [], 0
    for name, shape in layout:
        length = int(np.prod(shape))
        block = numbers[at : at + length].reshape(shape)
        parts.append((block[:, :, :rank] if name.endswith("_a") else block[:, :rank, :]).ravel())
        at += length
    return np.concatenate(parts)


# --- stacked --------------------------------------------------------------------------------------


class Stacked(NamedTuple):
    """All updates: rank, rows, delta."""

    adapter: Adapter
    updates: tuple[tuple[int, int, Array], ...]


def _start_stack(adapter: Adapter) -> Stacked:
    return Stacked(adapter, ())


def _push(state: Stacked, delta: Array, rank: int, rows: int) -> Stacked:
    rank = rank or state.adapter.rank
    if delta.size != size(adapter_layout(state.adapter, rank)):
        raise RemoteError(f"an update of {delta.size} parameters is none of rank {rank}")
    aggregation.check(delta)
    return state._replace(updates=(*state.updates, (rank, rows, delta)))


def _recut(state: Stacked, model: Array) -> Array:
    """The change to the best factors, at the task's rank, of the mean product."""
    if not state.updates:
        raise RemoteError("no update to average")
    adapter, layout = state.adapter, adapter_layout(state.adapter)
    old = unflatten(model, layout)
    # Floats are added in an order of their own, not in that of arrival.
    ordered = sorted(
        state.updates, key=lambda u: (u[0], u[1], hashlib.sha256(u[2].tobytes()).digest())
    )
    total = sum(rows for _, rows, _ in ordered)
    trained = [(rows / total, _trained(adapter, old, delta, rank)) for rank, rows, delta in ordered]
    new: dict[str, Array] = {}
    for target in adapter.targets:
        a, b = f"lora_{target.name}_a", f"lora_{target.name}_b"
        new[a], new[b] = np.empty_like(old[a]), np.zeros_like(old[b])
        for block in range(adapter.blocks):
            left = np.concatenate([arrays[a][block] for _, arrays in trained], axis=1)
            right = np.concatenate([share * arrays[b][block] for share, arrays in trained])
            new[a][block], new[b][block] = _cut(left, right, old[a][block])
    return flatten(new, layout) - model


def _trained(adapter: Adapter, old: Arrays, delta: Array, rank: int) -> dict[str, Wide]:
    """A box's own arrays in float64: the model's first columns, moved."""
    moved = unflatten(delta, adapter_layout(adapter, rank))
    return {
        name: change.astype(np.float64)
        + (old[name][:, :, :rank] if name.endswith("_a") else old[name][:, :rank, :])
        for name, change in moved.items()
    }


def _cut(left: Wide, right: Wide, old_a: Array) -> tuple[Array, Array]:
    """A (in, rank) with columns of length 1 and B (rank, out), A B nearest to left @ right.

    Where that product has a lower rank, the old A keeps its columns and B is zero there.
    """
    rank = old_a.shape[1]
    q_left, r_left = np.linalg.qr(left)
    q_right, r_right = np.linalg.qr(right.T)
    u, s, vt = np.linalg.svd(r_left @ r_right.T, full_matrices=False)
    held = min(rank, int((s > s[0] * 1e-9).sum())) if s[0] > 0 else 0
    a, b = old_a.copy(), np.zeros((rank, right.shape[1]), np.float32)
    a[:, :held] = q_left @ u[:, :held]
    b[:held] = (s[:held, None] * vt[:held]) @ q_right.T
    return a, b


WAYS = {"padded": Way(_start, _add, _mean), "stacked": Way(_start_stack, _push, _recut)}
