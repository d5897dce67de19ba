"""The NumPy engine's steps: one operation at a time, on all columns of the states at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.program import (
    GENERATORS,
    Elements,
    Float64s,
    Op,
    Program,
    Shuffle,
    Turn,
    angle_value,
    elements,
)

States = NDArray[Any]
"""float64 while all gates so far are real, then complex128."""


def run(ops: tuple[Op, ...], states: States, weights: Float64s, x: Float64s) -> States:
    """The states after these operations."""
    for op in ops:
        states = _step(op, states, weights, x)
    return states


def run_body(program: Program, states: States, weights: Float64s, x: Float64s) -> States:
    """States (2^n, columns) after the body."""
    return run(program.body, states, weights, x)


def walk_back(program: Program, both: States, weights: Float64s, x: Float64s) -> Float64s:
    """(weights,) slopes of ket and bra (2, 2^n, columns) behind the body."""
    out = np.zeros(program.weights)
    for op in reversed(program.body):
        if isinstance(op, Turn) and op.angle is not None and op.angle.source == "weight":
            out[op.angle.index] += op.angle.scale * _slope(op, both)
        both = _step(op, both, weights, x, inverse=True)
    return out


def _slope(op: Turn, both: States) -> float:
    """2 Re <bra|G|ket>, where G = dU/d(angle) U^-1 acts on one wire."""
    ket, bra = both.reshape(2, -1, 2, both.shape[-1] << op.wire)
    overlaps = np.matmul(bra.conj(), ket.swapaxes(1, 2)).sum(axis=0)
    return 2.0 * float((GENERATORS[op.name] * overlaps).sum().real)


def _step(
    op: Op, states: States, weights: Float64s, x: Float64s, *, inverse: bool = False
) -> States:
    """One operation, or its inverse, on states (..., 2^n, columns)."""
    if isinstance(op, Shuffle):
        return _shuffle(op, states, inverse=inverse)
    turn = 0.0 if op.angle is None else angle_value(op.angle, weights, x)
    matrix = elements(op.name, -turn if inverse else turn)
    if isinstance(turn, np.ndarray):
        return _turn_each(op.wire, matrix, states)
    paired = states.reshape(-1, 2, states.shape[-1] << op.wire)
    turned: States = np.matmul(np.array(matrix).reshape(2, 2), paired)
    return turned.reshape(states.shape)


def _shuffle(op: Shuffle, states: States, *, inverse: bool) -> States:
    if inverse:
        return (states if op.plain else op.factors.conj() * states).take(op.inverse, axis=-2)
    moved = states.take(op.order, axis=-2)
    return moved if op.plain else op.factors * moved


def _turn_each(wire: int, matrix: Elements, states: States) -> States:
    """One matrix for each column."""
    paired = states.reshape(-1, 2, 1 << wire, states.shape[-1])
    low, high = paired[:, 0], paired[:, 1]
    turned: States = np.empty(paired.shape, np.result_type(states, *matrix))
    turned[:, 0] = matrix[0] * low + matrix[1] * high
    turned[:, 1] = matrix[2] * low + matrix[3] * high
    return turned.reshape(states.shape)
