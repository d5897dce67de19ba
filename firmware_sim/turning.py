"""A circuit's body on many boxes' states at once: real turns, each box by an angle of its own.

Arrays begin with the boxes; where something is the same for all of them, it is there once. Each
gate is one call, and does to a box's states what `edge_client.circuit.steps` would, to the bit.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.program import Float64s, Op, Program, Shuffle, Turn


def turned(program: Program, angles: Float64s) -> Float64s:
    """The body's turns RY, (turns, boxes, 2, 2), by angles (boxes, weights)."""
    places, scales = _read(program)
    own = np.concatenate([angles.T, np.ones((1, len(angles)))])[places]
    halves = (0.5 * (scales * own)).ravel().tolist()
    matrices = np.empty((len(halves), 2, 2))
    # By `math`, as a box does: the last bits of NumPy's may differ.
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.fromiter(map(math.cos, halves), np.float64)
    matrices[:, 1, 0] = np.fromiter(map(math.sin, halves), np.float64)
    np.negative(matrices[:, 1, 0], out=matrices[:, 0, 1])
    return matrices.reshape(len(places), len(angles), 2, 2)


@lru_cache(maxsize=64)
def _read(program: Program) -> tuple[NDArray[np.intp], Float64s]:
    """Which weight each turn is by, a constant's being one behind the last; scales (turns, 1)."""
    turns = [op.angle for op in program.body if isinstance(op, Turn) and op.angle is not None]
    places = [angle.index if angle.source == "weight" else program.weights for angle in turns]
    return np.array(places, np.intp), np.array([[angle.scale] for angle in turns]).reshape(-1, 1)


def run_body(program: Program, states: Float64s, matrices: Float64s) -> Float64s:
    """States (boxes, 2^n, columns) behind the body, whose turns are these."""
    return _run(program.body, states, matrices)


def body_of(program: Program, matrices: Float64s) -> Float64s:
    """The body as a matrix, (boxes, 2^n, 2^n): what `run_body` makes of the identity.

    A first layer, a turn on each wire, is the turns' Kronecker product. Each of its elements is one
    product of their elements, in whatever order a sum with nothing but zeros beside it is taken.
    """
    first = program.body[: program.qubits]
    if [op.wire if isinstance(op, Turn) else None for op in first] != list(range(program.qubits)):
        return run_body(program, np.eye(2**program.qubits)[None], matrices)
    layer = matrices[0]
    for own in matrices[1 : program.qubits]:
        size = 2 * layer.shape[1]
        layer = (own[:, :, None, :, None] * layer[:, None, :, None]).reshape(-1, size, size)
    return _run(program.body[program.qubits :], layer, matrices[program.qubits :])


def _run(ops: tuple[Op, ...], states: Float64s, matrices: Float64s) -> Float64s:
    turns = iter(matrices)
    for op in ops:
        states = _turn(op, next(turns), states) if isinstance(op, Turn) else _shuffle(op, states)
    return states


def walk_back(program: Program, kets: Float64s, bras: Float64s, matrices: Float64s) -> Float64s:
    """(boxes, weights): slopes of kets and bras (boxes, 2^n, columns) behind the body."""
    out = np.zeros((len(kets), program.weights))
    # A turn's inverse is its transpose.
    turns = iter(np.ascontiguousarray(matrices[::-1].swapaxes(2, 3)))
    for op in reversed(program.body):
        if isinstance(op, Turn):
            if op.angle is not None and op.angle.source == "weight":
                out[:, op.angle.index] += op.angle.scale * _slopes(op, kets, bras)
            if op is program.body[0]:
                break  # nobody asks for the states before the first weight
            inverse = next(turns)
            kets = _turn(op, inverse, kets)
            bras = _turn(op, inverse, bras)
        else:
            kets = _unshuffle(op, kets)
            bras = _unshuffle(op, bras)
    return out


def _turn(op: Turn, matrices: Float64s, states: Float64s) -> Float64s:
    paired = states.reshape(len(states), -1, 2, states.shape[2] << op.wire)
    found = np.matmul(matrices[:, None], paired)
    return np.asarray(found.reshape(len(found), *states.shape[1:]))


def _slopes(op: Turn, kets: Float64s, bras: Float64s) -> Float64s:
    """2 <bra|G|ket> of each box, where G is RY's generator ((0, -1/2), (1/2, 0)) on one wire."""
    shape = (-1, 2, kets.shape[2] << op.wire)
    ket, bra = kets.reshape(len(kets), *shape), bras.reshape(len(bras), *shape)
    overlaps = np.matmul(bra, ket.swapaxes(2, 3)).sum(axis=1)
    return np.asarray(overlaps[:, 1, 0] - overlaps[:, 0, 1])


def _shuffle(op: Shuffle, states: Float64s) -> Float64s:
    moved = states.take(op.order, axis=1)
    return moved if op.plain else np.asarray(op.factors * moved)


def _unshuffle(op: Shuffle, states: Float64s) -> Float64s:
    return np.asarray((states if op.plain else op.factors * states).take(op.inverse, axis=1))
