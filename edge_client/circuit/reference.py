"""The circuit simulated as the textbook says: what every faster engine must agree with.

One sample at a time, whole matrices, complex128; for up to about six qubits. Simulating is a fold:
|0...0>, then each gate's matrix in turn, then expectation values.
"""

import cmath
import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from proto.circuit import Angle, Circuit, Gate

Matrix = NDArray[np.complex128]
Float64s = NDArray[np.float64]

IDENTITY = np.eye(2, dtype=np.complex128)
ZERO, ONE = np.diag([1.0 + 0j, 0]), np.diag([0j, 1.0])
X = np.array([[0, 1], [1, 0]], np.complex128)
Y = np.array([[0, -1j], [1j, 0]], np.complex128)
Z = np.diag([1.0 + 0j, -1])
H = (X + Z) / math.sqrt(2)


def expectations(circuit: Circuit, weights: Sequence[float], x: Sequence[float]) -> Float64s:
    """Each observable's value in -1..1 for one sample of features x, already squashed."""
    return _observe(circuit, _turns(circuit, weights, x))


def jacobian(circuit: Circuit, weights: Sequence[float], x: Sequence[float]) -> Float64s:
    """(observables, weights) derivatives, by the parameter-shift rule (Schuld et al. 2019).

    A weight read by several gates gets the sum over them, each shifted alone.
    """
    turns = _turns(circuit, weights, x)
    out = np.zeros((len(circuit.observables), circuit.weights))
    for number, gate in enumerate(circuit.gates):
        if gate.angle is not None and gate.angle.source == "weight":
            ahead = _observe(circuit, _shifted(turns, number, math.pi / 2))
            behind = _observe(circuit, _shifted(turns, number, -math.pi / 2))
            out[:, gate.angle.index] += gate.angle.scale * (ahead - behind) / 2
    return out


def amplitudes(circuit: Circuit, weights: Sequence[float], x: Sequence[float]) -> Matrix:
    """The final state (2^n,), little-endian."""
    return _simulate(circuit, _turns(circuit, weights, x))


def _observe(circuit: Circuit, turns: list[float]) -> Float64s:
    state = _simulate(circuit, turns)
    values = []
    for wires in circuit.observables:
        observable = _on_wires(circuit.qubits, dict.fromkeys(wires, Z))
        values.append(np.vdot(state, observable @ state).real)
    return np.array(values)


def _simulate(circuit: Circuit, turns: list[float]) -> Matrix:
    start = np.zeros(2**circuit.qubits, np.complex128)
    start[0] = 1
    matrices = (_matrix(circuit.qubits, g, t) for g, t in zip(circuit.gates, turns, strict=True))
    return reduce(lambda state, matrix: matrix @ state, matrices, start)


def _turns(circuit: Circuit, weights: Sequence[float], x: Sequence[float]) -> list[float]:
    return [0.0 if g.angle is None else _value(g.angle, weights, x) for g in circuit.gates]


def _shifted(turns: list[float], number: int, shift: float) -> list[float]:
    return [turn + shift * (place == number) for place, turn in enumerate(turns)]


def _value(angle: Angle, weights: Sequence[float], x: Sequence[float]) -> float:
    match angle.source:
        case "weight":
            return angle.scale * weights[angle.index]
        case "feature":
            return angle.scale * x[angle.index]
        case "zz":
            return angle.scale * (math.pi - x[angle.index]) * (math.pi - x[angle.other])
        case "constant":
            return angle.scale


def _matrix(qubits: int, gate: Gate, turn: float) -> Matrix:
    if gate.name in ("cx", "cz"):
        control, target = gate.wires
        then = X if gate.name == "cx" else Z
        return _on_wires(qubits, {control: ZERO}) + _on_wires(qubits, {control: ONE, target: then})
    if gate.name == "swap":
        paulis = [_on_wires(qubits, dict.fromkeys(gate.wires, pauli)) for pauli in (X, Y, Z)]
        return (_on_wires(qubits, {}) + sum(paulis)) / 2
    if gate.name == "rzz":
        both = _on_wires(qubits, dict.fromkeys(gate.wires, Z))
        return math.cos(turn / 2) * _on_wires(qubits, {}) - 1j * math.sin(turn / 2) * both
    return _on_wires(qubits, {gate.wires[0]: _single(gate.name, turn)})


def _single(name: str, turn: float) -> Matrix:
    cosine, sine = math.cos(turn / 2), math.sin(turn / 2)
    phase = cmath.exp(0.5j * turn)
    matrices = {
        "h": H,
        "x": X,
        "y": Y,
        "z": Z,
        "s": np.diag([1, 1j]),
        "sdg": np.diag([1, -1j]),
        "t": np.diag([1, cmath.exp(0.25j * math.pi)]),
        "tdg": np.diag([1, cmath.exp(-0.25j * math.pi)]),
        "sx": ((1 + 1j) * IDENTITY + (1 - 1j) * X) / 2,
        "rx": cosine * IDENTITY - 1j * sine * X,
        "ry": np.array([[cosine, -sine], [sine, cosine]], np.complex128),
        "rz": np.diag([phase.conjugate(), phase]),
        "p": np.diag([1, phase**2]),
    }
    return matrices[name]


def _on_wires(qubits: int, factors: dict[int, Matrix]) -> Matrix:
    """The whole matrix; the highest wire is the leftmost factor, as bits are written."""
    whole: Matrix = np.eye(1, dtype=np.complex128)
    for wire in reversed(range(qubits)):
        whole = np.kron(whole, factors.get(wire, IDENTITY)).astype(np.complex128)
    return whole
