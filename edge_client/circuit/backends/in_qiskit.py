"""An unrolled circuit for Qiskit, transpiled once, and its parameters' order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.backends.machine import Float64s
from proto.circuit import Circuit

SEED = 1
"""The transpiler draws; every round and every box shall get the same circuit."""


def build(circuit: Circuit) -> tuple[Any, Any]:
    """A QuantumCircuit without measurements, and its vector of angles."""
    from qiskit import QuantumCircuit  # noqa: PLC0415 - heavy, for this backend alone
    from qiskit.circuit import ParameterVector  # noqa: PLC0415

    angles = ParameterVector("angle", circuit.features)
    made = QuantumCircuit(circuit.qubits)
    for gate in circuit.gates:
        turn = []
        if gate.angle is not None:
            fixed = gate.angle.source == "constant"
            turn = [gate.angle.scale if fixed else angles[gate.angle.index]]
        getattr(made, gate.name)(*turn, *gate.wires)
    return made, angles


def transpile(circuit: Any, backend: Any, level: int) -> Any:
    """The circuit in the backend's own gates."""
    from qiskit.transpiler import generate_preset_pass_manager  # noqa: PLC0415 - heavy

    manager = generate_preset_pass_manager(
        optimization_level=level, backend=backend, seed_transpiler=SEED
    )
    return manager.run(circuit)


def columns(circuit: Any, angles: Any) -> NDArray[np.intp]:
    """Which of our angles each parameter of a transpiled circuit is, in the circuit's order.

    An angle that no measurement sees may be gone; that the rest is in our order is checked, because
    a wrong order would train in silence.
    """
    places = {parameter: place for place, parameter in enumerate(angles)}
    found = [places[parameter] for parameter in circuit.parameters]
    assert found == sorted(found), "the transpiler changed the parameters' order"
    return np.array(found, np.intp)


def signs(circuit: Circuit) -> Float64s:
    """(observables, 2^n): the value of each observable at each outcome."""
    outcome = np.arange(2**circuit.qubits)
    bits = [sum((outcome >> wire) & 1 for wire in wires) for wires in circuit.observables]
    return 1.0 - 2.0 * (np.array(bits) % 2)
