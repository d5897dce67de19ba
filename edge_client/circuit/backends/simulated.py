"""The box's own statevector engine as a machine: exact values, or shots drawn from them."""

import time
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator

from edge_client.circuit.backends.machine import Float64s, Machine, Measured
from edge_client.circuit.engine import encode
from edge_client.circuit.program import Program, compile_circuit
from proto.circuit import Circuit

PART = 2**16
"""Amplitudes worked on at once: a mebibyte of them."""


def numpy_machine(circuit: Circuit) -> Machine:
    """A machine for an unrolled circuit; with shots, what an ideal quantum computer would give."""
    program = compile_circuit(circuit)

    def measure(angles: Float64s, shots: int, seed: int) -> Measured:
        began, rng = time.monotonic(), np.random.default_rng(seed)
        values = [
            _seen(np.abs(states) ** 2, shots, rng) @ program.signs.T
            for states in _states(program, angles)
        ]
        return Measured(np.concatenate(values), 0.0, time.monotonic() - began)

    return measure


def fidelity(program: Program, one: Float64s, other: Float64s) -> float:
    """Mean over points of the overlap of two circuits' states, angles (points, angles) each."""
    pairs = zip(_states(program, one), _states(program, other), strict=True)
    overlaps = [np.abs((a.conj() * b).sum(axis=1)) ** 2 for a, b in pairs]
    return float(np.concatenate(overlaps).mean())


def _seen(chances: Float64s, shots: int, rng: Generator) -> Float64s:
    if not shots:
        return chances
    chances /= chances.sum(axis=1, keepdims=True)
    return np.asarray(rng.multinomial(shots, chances) / shots)


def _states(program: Program, angles: Float64s) -> Iterator[Float64s]:
    """(points, 2^n) states, as many points at once as memory likes."""
    length = max(1, PART >> program.qubits)
    for start in range(0, len(angles), length):
        yield encode(program, angles[start : start + length]).states.T
