"""The numba engine: a program's body as tables of numbers, run by compiled loops."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit import kernels
from edge_client.circuit.program import Float64s, Op, Program, Shuffle, angle_value
from proto.circuit import Angle

TILE_SIZE = 32768
"""Amplitudes of a tile; narrower ones fit smaller caches, but spend more on each loop's start."""
LEAST, MOST = 16, 64
"""Columns of a tile at least and at most."""

CODES = {"h": kernels.H, "rx": kernels.RX, "ry": kernels.RY, "rz": kernels.RZ}

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Tables:
    """A body, gate by gate, for the kernels.

    ops: code, wire, slot (row of the shuffles, or of the angles that differ from row to row),
    whether the angle differs; then of each shuffle order, inverse, factors and whether all are 1.
    """

    ops: tuple[NDArray[Any], ...]
    reads: Numbers
    """The weight a turn reads, or -1."""
    scales: Float64s
    constants: Float64s
    """Angles in radians that read neither weight nor feature."""
    differing: tuple[Angle, ...]
    """Those that read features."""


def run_body(
    program: Program, states: NDArray[Any], weights: Float64s, x: Float64s
) -> NDArray[Any]:
    """States (2^n, columns) after the body."""
    tables, flat = _tables(program), _flat(program, states)
    parts = 1 if program.real else 2
    kernels.forward(tables.ops, _angles(tables, weights, x), flat, parts, _tile(len(states)))
    return flat if program.real else flat.view(np.complex128)


def walk_back(program: Program, both: NDArray[Any], weights: Float64s, x: Float64s) -> Float64s:
    """(weights,) slopes of ket and bra (2, 2^n, columns) behind the body."""
    tables, flat = _tables(program), _flat(program, both)
    reads = (tables.reads, tables.scales, program.weights)
    parts, tile = 1 if program.real else 2, _tile(both.shape[1])
    slopes = kernels.backward(tables.ops, _angles(tables, weights, x), reads, flat, parts, tile)
    return np.asarray(slopes)


def _tile(size: int) -> int:
    return int(np.clip(TILE_SIZE // size, LEAST, MOST))


def _flat(program: Program, states: NDArray[Any]) -> Float64s:
    """A copy as float64: real and imaginary parts in turn, unless the program is real."""
    if program.real:
        return np.array(states, np.float64, order="C")
    return np.array(states, np.complex128, order="C").view(np.float64)


@lru_cache(maxsize=8)
def _tables(program: Program) -> Tables:
    body = program.body
    shuffles = [op for op in body if isinstance(op, Shuffle)]
    differing = [op for op in body if _source(op) in ("feature", "zz")]
    slots = {id(op): slot for ops in (shuffles, differing) for slot, op in enumerate(ops)}
    size = 2**program.qubits
    factors = np.array([op.factors[:, 0] for op in shuffles], np.complex128).reshape(-1, size)
    ops = (
        np.array([0 if isinstance(op, Shuffle) else CODES[op.name] for op in body], np.int64),
        np.array([0 if isinstance(op, Shuffle) else op.wire for op in body], np.int64),
        np.array([slots.get(id(op), 0) for op in body], np.int64),
        np.array([_source(op) in ("feature", "zz") for op in body], np.bool_),
        np.array([op.order for op in shuffles], np.int64).reshape(-1, size),
        np.array([op.inverse for op in shuffles], np.int64).reshape(-1, size),
        factors.real.copy(),
        factors.imag.copy(),
        np.array([op.plain for op in shuffles], np.bool_),
    )
    angles = [_angle(op) for op in body]
    return Tables(
        ops=ops,
        reads=np.array([a.index if a and a.source == "weight" else -1 for a in angles], np.int64),
        scales=np.array([a.scale if a else 0.0 for a in angles]),
        constants=np.array([_constant(op) for op in body]),
        differing=tuple(angle for op in differing if (angle := _angle(op))),
    )


def _angle(op: Op) -> Angle | None:
    return None if isinstance(op, Shuffle) else op.angle


def _source(op: Op) -> str | None:
    angle = _angle(op)
    return None if angle is None else angle.source


def _constant(op: Op) -> float:
    angle = _angle(op)
    if angle is None:
        return np.pi / 2  # an h reads the cosine of half of it: the root of 1/2
    return angle.scale if angle.source == "constant" else 0.0


def _angles(tables: Tables, weights: Float64s, x: Float64s) -> tuple[Float64s, ...]:
    """Cosines and sines of half the angles: (gates,), then (differing gates, rows)."""
    half = tables.constants.copy()
    by_weight = tables.reads >= 0
    half[by_weight] = tables.scales[by_weight] * weights[tables.reads[by_weight]]
    half /= 2
    each = np.empty((0, 0))
    if tables.differing:
        each = np.stack([angle_value(angle, weights, x) for angle in tables.differing]) / 2
    return np.cos(half), np.sin(half), np.cos(each), np.sin(each)
