"""Circuits drawn elsewhere, as gate lists: from Qiskit or PennyLane, whichever is installed.

An angle may be a number, a feature or weight times a number, or what a ZZ feature map has:
a number times (pi - x_i) (pi - x_j). Measurements and barriers are left out: what is observed is
the caller's choice, by `proto.ansatz.assemble`.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.lowering import SILENT, is_known, lowered
from edge_client.circuit.program import angle_value
from proto.circuit import MAX_QUBITS, Angle, Gate
from proto.errors import ConfigError
from proto.files import write_whole

ROUNDING = 1e-9

PENNYLANE = {
    "Hadamard": "h",
    "PauliX": "x",
    "PauliY": "y",
    "PauliZ": "z",
    "S": "s",
    "Adjoint(S)": "sdg",
    "T": "t",
    "Adjoint(T)": "tdg",
    "SX": "sx",
    "RX": "rx",
    "RY": "ry",
    "RZ": "rz",
    "PhaseShift": "p",
    "U1": "p",
    "CNOT": "cx",
    "CY": "cy",
    "CZ": "cz",
    "SWAP": "swap",
    "IsingXX": "rxx",
    "IsingZZ": "rzz",
    "Rot": "rot",
    "CRX": "crx",
    "CRY": "cry",
    "CRZ": "crz",
    "ControlledPhaseShift": "cp",
    "GlobalPhase": "gphase",
    "Identity": "id",
    "Barrier": "barrier",
}
"""PennyLane's names, as OpenQASM's where it has them."""

Numbers = NDArray[np.float64]
Law = Callable[[Numbers], float]
"""An angle in radians, of all features and then all weights."""


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers that angles may read: so many features, and so many in all with the weights."""

    features: int
    count: int


def from_qiskit(
    circuit: Any, features: Sequence[Any] = (), weights: Sequence[Any] = ()
) -> tuple[Gate, ...]:
    """The gates of a Qiskit QuantumCircuit; features and weights are its Parameters, in order.

    Qubit q of the circuit becomes wire q. Raises ConfigError that names the gate it cannot take.
    """
    order = [*features, *weights]
    span = Span(len(features), len(order))
    wires = {qubit: number for number, qubit in enumerate(circuit.qubits)}
    if unknown := set(circuit.parameters) - set(order):
        names = ", ".join(sorted(parameter.name for parameter in unknown))
        raise ConfigError(f"parameters that are neither features nor weights: {names}")

    def law(value: Any) -> Law:
        read = [(order.index(p), p) for p in getattr(value, "parameters", ())]
        if not read:
            return lambda _: float(value)
        return lambda numbers: float(value.bind({p: float(numbers[i]) for i, p in read}))

    gates: list[Gate] = []
    for number, item in enumerate(circuit.data):
        where = tuple(wires[qubit] for qubit in item.qubits)
        label = f"gate {number} ({item.operation.name})"
        laws = [law(value) for value in item.operation.params if _is_number(value)]
        gates += _gates(label, item.operation.name, where, [_angle_of(one, span) for one in laws])
    return tuple(gates)


def from_pennylane(
    circuit: Any, features: int = 0, weights: int | tuple[int, ...] = 0
) -> tuple[Gate, ...]:
    """The gates of a PennyLane QNode, called as qnode(x, w), or of a tape.

    features: how many numbers x has. weights: how many w has, or its shape, read row by row. A tape
    has no features: its trainable parameters are the weights. Wire labels become wires as the
    tape orders them. Raises ConfigError that names the gate it cannot take.
    """
    draw, span = _tapes(circuit, features, weights)
    tape = cache(lambda numbers: _decomposed(draw(np.array(numbers))))
    first = tape((0.0,) * span.count)
    wires = {label: number for number, label in enumerate(first.wires)}

    def law(number: int, place: int) -> Law:
        return lambda numbers: float(tape(tuple(numbers)).operations[number].parameters[place])

    gates: list[Gate] = []
    for number, item in enumerate(first.operations):
        name, label = PENNYLANE.get(item.name, item.name), f"gate {number} ({item.name})"
        laws = [law(number, k) for k, value in enumerate(item.parameters) if _is_number(value)]
        where = tuple(wires[wire] for wire in item.wires)
        gates += _gates(label, name, where, [_angle_of(one, span) for one in laws])
    return tuple(gates)


def save_gates(path: Path, gates: Sequence[Gate]) -> None:
    """Write gates as the file that a task's `model.gates` names. Raises StorageError."""
    write_whole(path, msgspec.json.encode(gates))


def _tapes(
    circuit: Any, features: int, weights: int | tuple[int, ...]
) -> tuple[Callable[[Numbers], Any], Span]:
    """The tape at given numbers."""
    if not hasattr(circuit, "device"):
        places = list(circuit.trainable_params)
        return lambda numbers: circuit.bind_new_parameters(numbers.tolist(), places), Span(
            0, len(places)
        )
    import pennylane as qml  # noqa: PLC0415 - an extra, heavy to import

    shape = (weights,) if isinstance(weights, int) else weights
    build = qml.workflow.construct_tape(circuit, level="top")
    return lambda numbers: build(numbers[:features], numbers[features:].reshape(shape)), Span(
        features, features + math.prod(shape)
    )


def _decomposed(tape: Any) -> Any:
    import pennylane as qml  # noqa: PLC0415 - an extra, heavy to import

    with warnings.catch_warnings():
        # What has no decomposition stays, and is named by us.
        warnings.simplefilter("ignore")
        (plain,), _ = qml.transforms.decompose(tape, gate_set=set(PENNYLANE))
    return plain


def _gates(
    label: str, name: str, wires: tuple[int, ...], angles: list[Angle | None]
) -> tuple[Gate, ...]:
    if name in SILENT:
        return ()
    if max(wires) >= MAX_QUBITS:
        raise ConfigError(f"{label}: wire {max(wires)}; there are at most {MAX_QUBITS} wires")
    if is_known(name) and None in angles:
        raise ConfigError(
            f"{label}: its angle is neither a number, nor a feature or weight times a number, nor "
            "a number times (pi - x_i) (pi - x_j)"
        )
    try:
        return lowered(name, wires, [angle for angle in angles if angle])
    except ValueError as fault:
        raise ConfigError(f"{label}: {fault}") from None


def _is_number(value: Any) -> bool:
    return np.ndim(value) == 0


def _angle_of(law: Law, span: Span) -> Angle | None:
    """The angle that follows this law, found by asking it at a few points; None if none does."""
    zeros = np.zeros(span.count)
    zero = law(zeros)
    steps = [law(row) - zero for row in np.eye(span.count)]
    read = [place for place, step in enumerate(steps) if abs(step) > ROUNDING]
    found = Angle("constant", scale=zero)
    if len(read) == 1:
        place = read[0]
        weight = place >= span.features
        kind: Literal["weight", "feature"] = "weight" if weight else "feature"
        found = Angle(kind, place - span.features * weight, scale=steps[place])
    elif len(read) == 2:  # noqa: PLR2004
        found = Angle("zz", read[0], read[1], zero / np.pi**2)
    point = np.linspace(0.3, 1.1, span.count)
    features, weights = point[None, : span.features], point[span.features :]
    if len(read) == 2 and max(read) >= span.features:  # noqa: PLR2004
        return None
    there = float(np.ravel(angle_value(found, weights, features))[0])
    return found if abs(law(point) - there) < ROUNDING else None
