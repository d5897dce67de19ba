"""A trained circuit as an OpenQASM 3 program, for any tool and any QPU that reads it."""

import math
from collections.abc import Iterator, Sequence

from proto.circuit import Angle, Circuit, check
from proto.errors import LocalError

HEADER = """\
OPENQASM 3.0;
include "stdgates.inc";
// Inputs are angles in radians: features that are already scaled and squashed as the task says."""

RZZ = "gate rzz(theta) a, b { cx a, b; rz(theta) b; cx a, b; }"
"""The only gate of ours that stdgates.inc lacks."""


def to_qasm3(circuit: Circuit, angles: Sequence[float]) -> str:
    """The program: weights as constants, features as `input float[64] x0`, all qubits measured.

    Each observable is a comment: its value is the mean of the product of (-1)^bit over its bits.
    Raises RemoteError for a circuit that makes no sense, LocalError for other than `weights` finite
    angles.
    """
    check(circuit)
    if len(angles) != circuit.weights:
        raise LocalError(f"{len(angles)} angles; the circuit has {circuit.weights} weights")
    if not all(math.isfinite(angle) for angle in angles):
        raise LocalError("an angle is NaN or infinite")
    return "\n".join(_lines(circuit, angles)) + "\n"


def _lines(circuit: Circuit, angles: Sequence[float]) -> Iterator[str]:
    yield HEADER
    if any(gate.name == "rzz" for gate in circuit.gates):
        yield RZZ
    for feature in range(circuit.features):
        yield f"input float[64] x{feature};"
    yield f"qubit[{circuit.qubits}] q;"
    yield f"bit[{circuit.qubits}] c;"
    for gate in circuit.gates:
        turn = "" if gate.angle is None else f"({_expression(gate.angle, angles)})"
        yield f"{gate.name}{turn} {', '.join(f'q[{wire}]' for wire in gate.wires)};"
    yield "c = measure q;"
    for number, observable in enumerate(circuit.observables):
        yield f"// observable {number}: Z on {', '.join(f'q[{wire}]' for wire in observable)}"


def _expression(angle: Angle, angles: Sequence[float]) -> str:
    scale = float(angle.scale)
    match angle.source:
        case "weight":
            return repr(scale * float(angles[angle.index]))
        case "feature":
            return f"x{angle.index}" if scale == 1 else f"{scale!r} * x{angle.index}"
        case "zz":
            return f"{scale!r} * (pi - x{angle.index}) * (pi - x{angle.other})"
        case "constant":
            return repr(scale)
