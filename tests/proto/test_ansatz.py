import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.ansatz import (
    angle_encoding,
    assemble,
    default_classifier,
    each_z,
    efficient_su2,
    hardware_efficient,
    parity,
    re_uploading,
    real_amplitudes,
    ry_encoding,
    strongly_entangling,
    without_dead,
    z_feature_map,
    zz_feature_map,
)
from proto.circuit import MAX_QUBITS, Angle, Gate, check, check_classifier
from proto.errors import RemoteError
from proto.qcnn import qcnn, qcnn_circuit

LAYERED = [efficient_su2, strongly_entangling, hardware_efficient, real_amplitudes]


def names(gates: tuple[Gate, ...]) -> list[str]:
    return [f"{gate.name}{''.join(map(str, gate.wires))}" for gate in gates]


def test_real_amplitudes_entangles_from_the_last_pair_to_the_first_as_qiskit_does():
    layer = ["ry0", "ry1", "ry2"]
    assert names(real_amplitudes(3, 2)) == [*layer, "cx12", "cx01", *layer, "cx12", "cx01", *layer]


def test_real_amplitudes_numbers_its_weights_in_gate_order():
    indices = [gate.angle.index for gate in real_amplitudes(4, 3) if gate.angle]
    assert indices == list(range(16))


def test_the_zz_map_is_qiskits():
    assert names(zz_feature_map(2)) == ["h0", "h1", "p0", "p1", "cx01", "p1", "cx01"]
    angles = [gate.angle for gate in zz_feature_map(2) if gate.angle]
    assert angles[1:] == [Angle("feature", 1, scale=2.0), Angle("zz", 0, 1, 2.0)]
    assert len(zz_feature_map(2, reps=2)) == 14


def test_re_uploading_enters_the_features_in_each_layer():
    gates = re_uploading(4, 3)
    entries = [gate for gate in gates if gate.angle and gate.angle.source == "feature"]
    assert len(entries) == 12
    assert assemble(4, gates, each_z(4)).weights == 28


def test_the_ring_closes_and_one_qubit_has_none():
    assert names(re_uploading(3, 1))[9:12] == ["cx01", "cx12", "cx20"]
    assert "cx" not in "".join(names(re_uploading(1, 2)))


def test_the_default_is_four_qubits_three_reps_and_each_z():
    classifier = default_classifier()
    assert (classifier.circuit.qubits, classifier.circuit.weights) == (4, 16)
    assert classifier.circuit.gates == (*ry_encoding(4), *real_amplitudes(4, 3))
    assert classifier.circuit.observables == ((0,), (1,), (2,), (3,))
    assert (classifier.squash, classifier.head) == ("arctan", "linear")


@given(st.integers(1, MAX_QUBITS), st.integers(0, 4))
@settings(deadline=None)
def test_every_built_circuit_makes_sense(qubits, reps):
    check_classifier(default_classifier(qubits, 3, reps))
    check(assemble(qubits, re_uploading(qubits, reps), parity(qubits)))
    if reps:
        gates = (*zz_feature_map(qubits, reps), *real_amplitudes(qubits, reps))
        check(assemble(qubits, gates, parity(qubits)))


@pytest.mark.parametrize("qubits", [1, 2, 5])
def test_the_zz_map_on_any_qubits_reads_exactly_its_features(qubits):
    assert assemble(qubits, zz_feature_map(qubits), each_z(qubits)).features == qubits


def test_efficient_su2_turns_by_ry_then_rz_and_entangles_backwards():
    turns = ["ry0", "ry1", "ry2", "rz0", "rz1", "rz2"]
    assert names(efficient_su2(3, 1)) == [*turns, "cx12", "cx01", *turns]


def test_strongly_entangling_reaches_one_qubit_further_in_each_layer():
    entangled = [name for name in names(strongly_entangling(4, 4)) if name.startswith("cx")]
    assert entangled[:4] == ["cx01", "cx12", "cx23", "cx30"]
    assert entangled[4:8] == ["cx02", "cx13", "cx20", "cx31"]
    assert entangled[12:] == entangled[:4]
    assert names(strongly_entangling(1, 1)) == ["rz0", "ry0", "rz0"]


def test_hardware_efficient_entangles_neighbours_in_two_steps():
    assert names(hardware_efficient(5, 1))[10:14] == ["cz01", "cz23", "cz12", "cz34"]


def test_an_angle_by_rz_is_not_lost_on_zero():
    assert names(angle_encoding(2, "rz")) == ["h0", "h1", "rz0", "rz1"]
    assert names(angle_encoding(2, "rx")) == ["rx0", "rx1"]
    assert names(z_feature_map(2, 1)) == ["h0", "h1", "p0", "p1"]


@pytest.mark.parametrize("layers", LAYERED)
@given(qubits=st.integers(1, 6), reps=st.integers(1, 4))
@settings(deadline=None)
def test_what_is_left_of_an_ansatz_without_its_dead_weights_makes_sense(layers, qubits, reps):
    whole = assemble(qubits, (*ry_encoding(qubits), *layers(qubits, reps)), each_z(qubits))
    left = without_dead(whole)
    check(left)
    assert without_dead(left) == left
    assert 0 < left.weights <= whole.weights


def test_a_weight_that_no_observable_sees_is_refused():
    with pytest.raises(RemoteError, match="weight 1 is dead: no observable can see it"):
        check(assemble(2, real_amplitudes(2, 0), ((0,),)))
    with pytest.raises(RemoteError, match="weight 2 is dead"):
        check(assemble(2, strongly_entangling(2, 1), each_z(2)))


@pytest.mark.parametrize(("qubits", "all_weights", "alive"), [(4, 27, 22), (8, 63, 54)])
def test_the_qcnn_has_the_tutorials_weights_less_the_dead_ones(qubits, all_weights, alive):
    assert assemble(qubits, qcnn(qubits), each_z(qubits)).weights == all_weights
    circuit = qcnn_circuit(qubits)
    check(circuit)
    assert circuit.weights == alive


@pytest.mark.parametrize("qubits", [4, 8])
def test_each_class_of_the_qcnn_has_an_observable_of_its_own(qubits):
    for classes in range(2, qubits + 1):
        circuit = qcnn_circuit(qubits, classes)
        check(circuit)
        assert len(set(circuit.observables)) == classes
        assert circuit.observables[0] == (qubits - 1,)
