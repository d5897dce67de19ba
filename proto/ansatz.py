"""Common circuits, built as gate lists. Names and gate order are Qiskit's where it has them.

Encodings read the features, ansatzes the weights; `proto.qcnn` has the convolutional ones.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from proto.circuit import Angle, Circuit, Classifier, Gate, GateName, unseen


def assemble(qubits: int, gates: Iterable[Gate], observables: Sequence[tuple[int, ...]]) -> Circuit:
    """A circuit of these gates, counting the features and weights they read."""
    gates = tuple(gates)
    angles = [gate.angle for gate in gates if gate.angle]
    weights = [a.index for a in angles if a.source == "weight"]
    features = [i for a in angles if a.source in ("feature", "zz") for i in (a.index, a.other)]
    return Circuit(
        qubits=qubits,
        features=1 + max(features, default=-1),
        weights=1 + max(weights, default=-1),
        gates=gates,
        observables=tuple(observables),
    )


def without_dead(circuit: Circuit) -> Circuit:
    """The circuit less the turns by weights that no observable sees; the other weights close up.

    Expectation values stay the same. Last layers of RZ, for one, are lost on Z.
    """
    dead = unseen(circuit)
    place = {old: new for new, old in enumerate(sorted(set(range(circuit.weights)) - dead))}
    gates = [_renumbered(gate, place) for gate in circuit.gates if _weight(gate) not in dead]
    return msgspec.structs.replace(circuit, gates=tuple(gates), weights=len(place))


def each_z(qubits: int) -> tuple[tuple[int, ...], ...]:
    """<Z> of each qubit."""
    return tuple((wire,) for wire in range(qubits))


def parity(qubits: int) -> tuple[tuple[int, ...], ...]:
    """The product of Z on all qubits, as the only observable."""
    return (tuple(range(qubits)),)


def angle_encoding(qubits: int, rotation: Literal["rx", "ry", "rz"] = "ry") -> tuple[Gate, ...]:
    """A turn by x_q on each qubit q; behind an H for RZ, which |0> would not notice."""
    first = [Gate("h", (wire,)) for wire in range(qubits) if rotation == "rz"]
    return (*first, *(Gate(rotation, (wire,), Angle("feature", wire)) for wire in range(qubits)))


def ry_encoding(qubits: int) -> tuple[Gate, ...]:
    """RY(x_q) on each qubit q."""
    return angle_encoding(qubits, "ry")


def z_feature_map(qubits: int, reps: int = 2) -> tuple[Gate, ...]:
    """Qiskit's `z_feature_map`: H and P(2 x_q) on each qubit q."""
    layer = [Gate("h", (wire,)) for wire in range(qubits)]
    layer += [Gate("p", (wire,), Angle("feature", wire, scale=2.0)) for wire in range(qubits)]
    return tuple(layer) * reps


def zz_feature_map(qubits: int, reps: int = 1) -> tuple[Gate, ...]:
    """Qiskit's `zz_feature_map` with full entanglement (Havlicek et al. 2019)."""
    layer = [Gate("h", (wire,)) for wire in range(qubits)]
    layer += [Gate("p", (wire,), Angle("feature", wire, scale=2.0)) for wire in range(qubits)]
    for low in range(qubits):
        for high in range(low + 1, qubits):
            entangle = Gate("cx", (low, high))
            layer += [entangle, Gate("p", (high,), Angle("zz", low, high, 2.0)), entangle]
    return tuple(layer) * reps


def real_amplitudes(qubits: int, reps: int = 3) -> tuple[Gate, ...]:
    """Qiskit's `real_amplitudes` with reverse-linear entanglement: qubits * (reps + 1) weights."""
    gates = list(_turns("ry", qubits, 0))
    for rep in range(1, reps + 1):
        gates += [Gate("cx", (wire, wire + 1)) for wire in range(qubits - 2, -1, -1)]
        gates += _turns("ry", qubits, rep * qubits)
    return tuple(gates)


def efficient_su2(qubits: int, reps: int = 3) -> tuple[Gate, ...]:
    """Qiskit's `efficient_su2` with reverse-linear entanglement: 2 * qubits * (reps + 1) weights.

    The last RZ are dead to Z observables; `without_dead` takes them out.
    """
    gates: list[Gate] = []
    for rep in range(reps + 1):
        if rep:
            gates += [Gate("cx", (wire, wire + 1)) for wire in range(qubits - 2, -1, -1)]
        gates += _turns("ry", qubits, 2 * rep * qubits)
        gates += _turns("rz", qubits, (2 * rep + 1) * qubits)
    return tuple(gates)


def strongly_entangling(qubits: int, layers: int = 3) -> tuple[Gate, ...]:
    """PennyLane's `StronglyEntanglingLayers` (Schuld et al. 2018): 3 * qubits * layers weights.

    Weights in the order of its array (layers, qubits, 3), each Rot(a, b, c) being RZ(a) RY(b) RZ(c)
    in time. Ring by ring the CX reach one qubit further.
    """
    gates: list[Gate] = []
    for layer in range(layers):
        for wire in range(qubits):
            first = 3 * (layer * qubits + wire)
            gates += [
                Gate("rz", (wire,), Angle("weight", first)),
                Gate("ry", (wire,), Angle("weight", first + 1)),
                Gate("rz", (wire,), Angle("weight", first + 2)),
            ]
        gates += _ring(qubits, 1 + layer % max(1, qubits - 1))
    return tuple(gates)


def hardware_efficient(qubits: int, reps: int = 3) -> tuple[Gate, ...]:
    """RY and RZ on each qubit, then CZ of neighbours in two steps, reps times; RY at the end.

    After Kandala et al. 2017: what a chip with qubits in a line does natively, each repetition two
    CZ deep. qubits * (2 * reps + 1) weights.
    """
    pairs = [*range(0, qubits - 1, 2), *range(1, qubits - 1, 2)]
    gates: list[Gate] = []
    for rep in range(reps):
        gates += _turns("ry", qubits, 2 * rep * qubits)
        gates += _turns("rz", qubits, (2 * rep + 1) * qubits)
        gates += [Gate("cz", (wire, wire + 1)) for wire in pairs]
    return (*gates, *_turns("ry", qubits, 2 * reps * qubits))


def re_uploading(qubits: int, layers: int = 3) -> tuple[Gate, ...]:
    """Layers of RX(x), RY(w), RZ(w) and a ring of CX, then RY(w).

    That is qubits * (2 * layers + 1) weights. The features enter again in each layer
    (Perez-Salinas et al. 2020). The last turn is RY alone: no Z observable could see an RZ there.
    """
    gates: list[Gate] = []
    for layer in range(layers):
        gates += [Gate("rx", (wire,), Angle("feature", wire)) for wire in range(qubits)]
        gates += _turns("ry", qubits, 2 * layer * qubits)
        gates += _turns("rz", qubits, (2 * layer + 1) * qubits)
        gates += _ring(qubits)
    return (*gates, *_turns("ry", qubits, 2 * layers * qubits))


def default_classifier(features: int = 4, classes: int = 2, reps: int = 3) -> Classifier:
    """RY(arctan x), RealAmplitudes, <Z> of each qubit, a linear head: 21 numbers by default."""
    gates = (*ry_encoding(features), *real_amplitudes(features, reps))
    return Classifier(assemble(features, gates, each_z(features)), "arctan", classes, "linear")


def _turns(name: GateName, qubits: int, first: int) -> tuple[Gate, ...]:
    return tuple(Gate(name, (wire,), Angle("weight", first + wire)) for wire in range(qubits))


def _ring(qubits: int, reach: int = 1) -> tuple[Gate, ...]:
    if qubits == 1:
        return ()
    return tuple(Gate("cx", (wire, (wire + reach) % qubits)) for wire in range(qubits))


def _weight(gate: Gate) -> int | None:
    return gate.angle.index if gate.angle and gate.angle.source == "weight" else None


def _renumbered(gate: Gate, place: dict[int, int]) -> Gate:
    index = _weight(gate)
    if gate.angle is None or index is None:
        return gate
    angle = msgspec.structs.replace(gate.angle, index=place[index])
    return msgspec.structs.replace(gate, angle=angle)
