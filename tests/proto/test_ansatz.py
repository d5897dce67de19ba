import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ansatz import (
    assemble,
    default_classifier,
    each_z,
    parity,
    re_uploading,
    real_amplitudes,
    ry_encoding,
    zz_feature_map,
)
from proto.circuit import MAX_QUBITS, Angle, Gate, check, check_classifier


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
def test_every_built_circuit_makes_sense(qubits, reps):
    check_classifier(default_classifier(qubits, 3, reps))
    check(assemble(qubits, re_uploading(qubits, reps), parity(qubits)))
    if reps:
        gates = (*zz_feature_map(qubits, reps), *real_amplitudes(qubits, reps))
        check(assemble(qubits, gates, parity(qubits)))


@pytest.mark.parametrize("qubits", [1, 2, 5])
def test_the_zz_map_on_any_qubits_reads_exactly_its_features(qubits):
    assert assemble(qubits, zz_feature_map(qubits), each_z(qubits)).features == qubits
