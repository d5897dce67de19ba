"""Qiskit and PennyLane give the same numbers, and their circuits can be taken over.

Skipped where the extras aer and pennylane are not installed; constraints.txt has their versions.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.taskfile import read, task_of
from edge_client.circuit import reference
from edge_client.circuit.adjoint import gradient
from edge_client.circuit.engine import encode, forward
from edge_client.circuit.importing import from_pennylane, from_qiskit, save_gates
from edge_client.circuit.program import compile_circuit
from proto import ansatz
from proto.ansatz import assemble, default_classifier, each_z, parity
from proto.circuit import Angle, Circuit, Gate
from proto.errors import ConfigError
from proto.qasm import to_qasm3
from proto.qcnn import qcnn_circuit
from tests.edge_client.circuit.circuits import circuits

CLOSE = {"rtol": 0, "atol": 1e-9}

# Their own deprecations are not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

QISKITS = {
    "real_amplitudes": ansatz.real_amplitudes(3, 2),
    "efficient_su2": ansatz.efficient_su2(3, 2),
}
MAPS = {"zz_feature_map": ansatz.zz_feature_map(3, 2), "z_feature_map": ansatz.z_feature_map(3, 2)}
ALL_KINDS = [
    default_classifier().circuit,
    assemble(3, (*ansatz.zz_feature_map(3), *ansatz.efficient_su2(3, 2)), parity(3)),
    assemble(3, (*ansatz.ry_encoding(3), *ansatz.strongly_entangling(3, 2)), each_z(3)),
    assemble(3, (*ansatz.angle_encoding(3, "rz"), *ansatz.hardware_efficient(3, 2)), each_z(3)),
    assemble(3, ansatz.re_uploading(3, 2), each_z(3)),
    qcnn_circuit(4),
]


@pytest.fixture(scope="module")
def qiskit():
    for module in ("qiskit", "qiskit.qasm3", "qiskit.circuit.library", "qiskit.quantum_info"):
        pytest.importorskip(module, reason="the extra aer is not installed")
    return pytest.importorskip("qiskit")


@pytest.fixture(scope="module")
def qml():
    pytest.importorskip("pennylane_lightning", reason="the extra pennylane is not installed")
    return pytest.importorskip("pennylane", reason="the extra pennylane is not installed")


def numbers(circuit: Circuit, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-4, 4, circuit.weights), rng.uniform(-1.5, 1.5, max(circuit.features, 3))


def turn_of(angle: Angle, weights, x):
    match angle.source:
        case "weight":
            return angle.scale * weights[angle.index]
        case "feature":
            return angle.scale * x[angle.index]
        case "zz":
            return angle.scale * (math.pi - x[angle.index]) * (math.pi - x[angle.other])
    return angle.scale


def in_qiskit(qiskit, circuit: Circuit, weights, x):
    drawn = qiskit.QuantumCircuit(circuit.qubits)
    for gate in circuit.gates:
        turn = [] if gate.angle is None else [turn_of(gate.angle, weights, x)]
        getattr(drawn, gate.name)(*turn, *gate.wires)
    return drawn


def chances(qiskit, drawn) -> np.ndarray:
    return qiskit.quantum_info.Statevector(drawn).probabilities()


def z_values(circuit: Circuit, probabilities: np.ndarray) -> list[float]:
    signs = compile_circuit(circuit).signs
    return list(signs @ probabilities)


@given(circuits(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_any_circuit_has_the_values_of_qiskits_statevector(qiskit, circuit, seed):
    weights, x = numbers(circuit, seed)
    program = compile_circuit(circuit)
    done = forward(program, weights, encode(program, x[None]))
    theirs = z_values(circuit, chances(qiskit, in_qiskit(qiskit, circuit, weights, x)))
    assert np.allclose(done.values[:, 0], theirs, **CLOSE)


@pytest.mark.parametrize("qubits", [8, 10, 12])
def test_wide_circuits_have_the_values_of_qiskits_statevector(qiskit, qubits):
    gates = (*ansatz.zz_feature_map(qubits), *ansatz.real_amplitudes(qubits, 2))
    circuit = assemble(qubits, gates, each_z(qubits))
    weights, x = np.random.default_rng(qubits).uniform(-1.5, 1.5, (2, circuit.weights))
    program = compile_circuit(circuit)
    done = forward(program, weights, encode(program, x[None, :qubits]))
    theirs = z_values(circuit, chances(qiskit, in_qiskit(qiskit, circuit, weights, x)))
    assert np.allclose(done.values[:, 0], theirs, **CLOSE)


NAMES = {
    "h": "Hadamard",
    "x": "PauliX",
    "y": "PauliY",
    "z": "PauliZ",
    "s": "S",
    "t": "T",
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


def node_of(qml, circuit: Circuit, x):
    """Lightning's observables, differentiated by its adjoint method."""

    def tape(weights):
        for gate in circuit.gates:
            turn = [] if gate.angle is None else [turn_of(gate.angle, weights, x)]
            if gate.name in ("sdg", "tdg"):
                qml.adjoint({"sdg": qml.S, "tdg": qml.T}[gate.name])(wires=list(gate.wires))
            else:
                getattr(qml, NAMES[gate.name])(*turn, wires=list(gate.wires))
        return [qml.expval(qml.prod(*map(qml.PauliZ, wires))) for wires in circuit.observables]

    device = qml.device("lightning.qubit", wires=circuit.qubits)
    return qml.QNode(tape, device, diff_method="adjoint")


def assert_lightning_agrees(qml, circuit: Circuit, seed: int) -> None:
    weights, x = numbers(circuit, seed)
    node, program = node_of(qml, circuit, x), compile_circuit(circuit)
    done = forward(program, weights, encode(program, x[None]))
    assert np.allclose(done.values[:, 0], node(weights), **CLOSE)
    if circuit.weights:
        theirs = qml.jacobian(lambda w: qml.numpy.stack(node(w)))(
            qml.numpy.array(weights, requires_grad=True)
        )
        for number, row in enumerate(theirs):
            slopes = np.eye(len(circuit.observables))[:, number : number + 1]
            assert np.allclose(gradient(done, slopes), row, **CLOSE)


@given(circuits(), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_circuit_has_lightnings_values_and_gradient(qml, circuit, seed):
    assert_lightning_agrees(qml, circuit, seed)


@pytest.mark.parametrize("circuit", [*ALL_KINDS, qcnn_circuit(8)])
def test_every_ansatz_has_lightnings_values_and_gradient(qml, circuit):
    assert_lightning_agrees(qml, circuit, 1)


@pytest.mark.parametrize("circuit", ALL_KINDS)
def test_every_gradient_is_that_of_parameter_shift(circuit):
    weights, x = numbers(circuit)
    program = compile_circuit(circuit)
    done = forward(program, weights, encode(program, x[None]))
    slopes = np.ones((len(circuit.observables), 1))
    shifted = reference.jacobian(circuit, weights, x).sum(axis=0)
    assert np.allclose(gradient(done, slopes), shifted, **CLOSE)


@given(circuits(), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_qiskit_reads_our_export_to_the_same_probabilities(qiskit, circuit, seed):
    pytest.importorskip("qiskit_qasm3_import", reason="the extra aer is not installed")
    if circuit.weights:
        circuit = ansatz.without_dead(circuit)
    circuit = _renumbered_features(circuit)
    weights, x = numbers(circuit, seed)
    drawn = qiskit.qasm3.loads(to_qasm3(circuit, weights.tolist()))
    drawn.remove_final_measurements()
    bound = drawn.assign_parameters({p: x[int(p.name[1:])] for p in drawn.parameters})
    ours = np.abs(reference.amplitudes(circuit, weights, x)) ** 2
    assert np.allclose(chances(qiskit, bound), ours, **CLOSE)


def _renumbered_features(circuit: Circuit) -> Circuit:
    """With turns that read each feature, on a wire by itself: `check` wants no number unread."""
    extra = [Gate("rx", (0,), Angle("feature", index)) for index in range(circuit.features)]
    turns = [Gate("ry", (0,), Angle("weight", index)) for index in range(circuit.weights)]
    observables = tuple((wire,) for wire in range(circuit.qubits))
    return assemble(circuit.qubits, (*circuit.gates, *extra, *turns), observables)


@pytest.mark.parametrize("name", QISKITS)
def test_our_ansatz_is_qiskits_gate_for_gate(qiskit, name):
    theirs = getattr(qiskit.circuit.library, name)(3, reps=2)
    assert from_qiskit(theirs, weights=list(theirs.parameters)) == QISKITS[name]


@pytest.mark.parametrize("name", MAPS)
def test_our_feature_map_is_qiskits_gate_for_gate(qiskit, name):
    theirs = getattr(qiskit.circuit.library, name)(3, reps=2)
    ours = assemble(3, MAPS[name], each_z(3))
    taken = assemble(3, from_qiskit(theirs, features=list(theirs.parameters)), each_z(3))
    _, x = numbers(ours)
    states = [reference.amplitudes(circuit, [], x) for circuit in (ours, taken)]
    assert abs(np.vdot(*states)) == pytest.approx(1, abs=1e-9)


def test_our_strongly_entangling_layers_are_pennylanes(qml):
    @qml.qnode(qml.device("lightning.qubit", wires=4))
    def node(x, w):
        qml.AngleEmbedding(x, wires=range(4), rotation="Y")
        qml.StronglyEntanglingLayers(w, wires=range(4))
        return qml.expval(qml.PauliZ(0))

    gates = from_pennylane(node, features=4, weights=(3, 4, 3))
    assert gates == (*ansatz.ry_encoding(4), *ansatz.strongly_entangling(4, 3))


@pytest.mark.parametrize(
    "name", ["u", "sxdg", "cy", "crx", "cry", "crz", "cp", "rxx", "rzz", "sx", "tdg", "swap"]
)
def test_a_gate_we_do_not_have_is_taken_by_those_we_have(qiskit, name):
    gate = qiskit.circuit.library.get_standard_gate_name_mapping()[name]
    drawn = qiskit.QuantumCircuit(2)
    drawn.ry(0.3, 0)
    drawn.rx(1.1, 1)
    drawn.append(gate, list(range(gate.num_qubits)))
    drawn.rx(0.7, 0)
    drawn.ry(0.9, 1)
    order = list(drawn.parameters)
    circuit = assemble(2, from_qiskit(drawn, weights=order), each_z(2))
    weights = np.array([0.4, 1.3, -2.1])[: len(order)]
    bound = drawn.assign_parameters(dict(zip(order, weights, strict=True)))
    ours = np.abs(reference.amplitudes(circuit, weights, [])) ** 2
    assert np.allclose(ours, chances(qiskit, bound), **CLOSE)


def test_a_gate_that_is_not_known_is_named(qiskit, qml):
    drawn = qiskit.QuantumCircuit(3)
    drawn.h(0)
    drawn.ccx(0, 1, 2)
    with pytest.raises(ConfigError, match=r"gate 1 \(ccx\): no such gate here; known are cp, crx"):
        from_qiskit(drawn)
    tape = qml.tape.QuantumScript([qml.DepolarizingChannel(0.1, wires=0)])
    with pytest.raises(ConfigError, match=r"gate 0 \(DepolarizingChannel\): no such gate"):
        from_pennylane(tape)


def test_an_angle_that_cannot_be_said_is_named_with_its_gate(qiskit):
    a, b = map(qiskit.circuit.Parameter, "ab")
    for turn in (a * a, a + 1, a * b, a.sin()):
        drawn = qiskit.QuantumCircuit(1)
        drawn.ry(turn, 0)
        with pytest.raises(ConfigError, match=r"gate 0 \(ry\): its angle is neither"):
            from_qiskit(drawn, weights=[a, b])
    with pytest.raises(ConfigError, match="neither features nor weights: a"):
        from_qiskit(drawn)


def test_a_circuit_of_qiskits_becomes_a_task_by_way_of_a_file(qiskit, tmp_path):
    theirs = qiskit.circuit.library.real_amplitudes(4, reps=1)
    save_gates(tmp_path / "mine.json", from_qiskit(theirs, weights=list(theirs.parameters)))
    (tmp_path / "task.toml").write_text(
        'job = "job"\n[data]\nclasses = ["a", "b"]\ncolumns = ["p", "q", "r", "s"]\n'
        '[model]\nansatz = "own"\ngates = "mine.json"\n'
    )
    task = task_of(read(tmp_path / "task.toml"), "fleet", 1)
    assert task.model.circuit == default_classifier(4, reps=1).circuit


def test_a_tapes_trainable_numbers_are_its_weights(qml):
    operations = [qml.RY(0.1, 0), qml.IsingZZ(0.2, [0, 1]), qml.RX(0.3, 1), qml.Barrier([0, 1])]
    tape = qml.tape.QuantumScript(operations, trainable_params=[0, 2])
    assert from_pennylane(tape) == (
        Gate("ry", (0,), Angle("weight", 0)),
        Gate("rzz", (0, 1), Angle("constant", scale=0.2)),
        Gate("rx", (1,), Angle("weight", 1)),
    )
