"""A batched statevector engine in NumPy: a state is (2^n, rows), one column a sample.

Where the body is the same for all samples and small, its matrix is worked out once and applied to
all of them: the operator picture. Nothing but the test against `reference` knows which was used.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.program import (
    Elements,
    Float64s,
    Op,
    Program,
    Shuffle,
    angle_value,
    elements,
)

States = NDArray[Any]
"""float64 while all gates so far are real, then complex128."""

OPERATOR_SIZE = 64
"""Largest 2^n for the operator picture; beyond it the matrix costs more than the samples."""

NO_WEIGHTS = np.empty(0)


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """Samples after the prefix: features x (rows, features) in radians, states (2^n, rows)."""

    x: Float64s
    states: States


@dataclass(frozen=True, eq=False, slots=True)
class Pass:
    """A forward pass, kept for its gradient."""

    program: Program
    weights: Float64s
    x: Float64s
    operator: bool
    final: States
    """(2^n, columns): a column a row, or two where real and imaginary part are split."""
    values: Float64s
    """(observables, rows)"""


def encode(program: Program, x: Float64s) -> Encoded:
    """Features (rows, features), float64 radians, through the prefix."""
    start = np.zeros((2**program.qubits, len(x)))
    start[0] = 1
    return Encoded(x, run(program.prefix, start, NO_WEIGHTS, x))


def forward(program: Program, weights: Float64s, encoded: Encoded) -> Pass:
    """Expectation values of each observable for each row, float64 weights (weights,)."""
    states = encoded.states
    if program.real and np.iscomplexobj(states):
        states = states.view(np.float64)
    rows, size = len(encoded.x), len(states)
    operator = not program.re_uploads and size <= min(OPERATOR_SIZE, states.shape[1])
    if operator:
        final = run(program.body, np.eye(size), weights, encoded.x) @ states
    else:
        final = run(program.body, states, weights, encoded.x)
    chances = final.real**2 + final.imag**2 if np.iscomplexobj(final) else final * final
    if chances.shape[1] != rows:
        chances = chances[:, 0::2] + chances[:, 1::2]
    return Pass(program, weights, encoded.x, operator, final, program.signs @ chances)


def run(ops: tuple[Op, ...], states: States, weights: Float64s, x: Float64s) -> States:
    """The states after these operations."""
    for op in ops:
        states = step(op, states, weights, x)
    return states


def step(
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
