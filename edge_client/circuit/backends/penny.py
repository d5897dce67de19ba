"""Any device of PennyLane's, by its name."""

import time
from typing import Any

import numpy as np

from edge_client.circuit.backends.machine import (
    Float64s,
    JobFailed,
    Machine,
    Measured,
    NotHere,
    load,
)
from proto.circuit import Circuit

GATES = {
    "h": "Hadamard",
    "x": "PauliX",
    "y": "PauliY",
    "z": "PauliZ",
    "s": "S",
    "sdg": "S",
    "t": "T",
    "tdg": "T",
    "sx": "SX",
    "rx": "RX",
    "ry": "RY",
    "rz": "RZ",
    "p": "PhaseShift",
    "cx": "CNOT",
    "cz": "CZ",
    "swap": "SWAP",
    "rzz": "IsingZZ",
}
INVERSE = ("sdg", "tdg")


def pennylane_machine(circuit: Circuit, device: str) -> Machine:
    """A machine for an unrolled circuit. Raises ConfigError for a device that is not here."""
    qml = load("pennylane", "pennylane")

    def measure(angles: Float64s, shots: int, seed: int) -> Measured:
        began = time.monotonic()
        run = qml.QNode(
            lambda turns: _apply(qml, circuit, turns),
            _device(qml, device, circuit.qubits, seed if shots else None),
            diff_method=None,
        )
        try:
            found = (qml.set_shots(run, shots=shots) if shots else run)(angles)
        except (qml.exceptions.DeviceError, RuntimeError) as error:
            raise JobFailed(f"PennyLane: {error}") from error
        values = np.stack([np.broadcast_to(v, len(angles)) for v in found], axis=1)
        return Measured(values.astype(np.float64), 0.0, time.monotonic() - began)

    _device(qml, device, circuit.qubits, None)
    return measure


def _device(qml: Any, name: str, wires: int, seed: int | None) -> Any:
    options = {} if seed is None else {"seed": seed}
    try:
        return qml.device(name, wires=wires, **options)
    except (qml.exceptions.DeviceError, ImportError, TypeError) as error:
        text = f"PennyLane has no device {name!r} here: install the plug-in that brings it"
        raise NotHere(text) from error


def _apply(qml: Any, circuit: Circuit, turns: Float64s) -> Any:
    """All points at once: each angle is a column of them."""
    for gate in circuit.gates:
        turn = []
        if gate.angle is not None:
            fixed = gate.angle.source == "constant"
            turn = [gate.angle.scale if fixed else turns[:, gate.angle.index]]
        known = getattr(qml, GATES[gate.name])
        (qml.adjoint(known) if gate.name in INVERSE else known)(*turn, wires=list(gate.wires))
    return [
        qml.expval(qml.prod(*map(qml.PauliZ, wires)) if len(wires) > 1 else qml.PauliZ(wires[0]))
        for wires in circuit.observables
    ]
