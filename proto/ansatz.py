"""Common circuits, built as gate lists. Names and gate order are Qiskit's where it has them."""

from collections.abc import Iterable, Sequence

from proto.circuit import Angle, Circuit, Classifier, Gate, GateName


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


def each_z(qubits: int) -> tuple[tuple[int, ...], ...]:
    """<Z> of each qubit."""
    return tuple((wire,) for wire in range(qubits))


def parity(qubits: int) -> tuple[tuple[int, ...], ...]:
    """The product of Z on all qubits, as the only observable."""
    return (tuple(range(qubits)),)


def ry_encoding(qubits: int) -> tuple[Gate, ...]:
    """RY(x_q) on each qubit q."""
    return tuple(Gate("ry", (wire,), Angle("feature", wire)) for wire in range(qubits))


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


def _ring(qubits: int) -> tuple[Gate, ...]:
    if qubits == 1:
        return ()
    return tuple(Gate("cx", (wire, (wire + 1) % qubits)) for wire in range(qubits))
