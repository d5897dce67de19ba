import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ansatz import assemble, default_classifier, each_z, parity, ry_encoding
from proto.circuit import (
    MAX_GATES,
    Angle,
    Circuit,
    Classifier,
    Gate,
    check,
    check_classifier,
    classifier_layout,
)
from proto.errors import RemoteError


def circuit(*gates: Gate, qubits: int = 2, features: int = 0, weights: int = 0) -> Circuit:
    return Circuit(qubits, features, weights, gates, ((0,),))


def turn(source: str, index: int = 0, other: int = 0, scale: float = 1.0) -> Gate:
    return Gate("ry", (0,), Angle(source, index, other, scale))


def test_the_default_classifier_has_21_numbers():
    assert classifier_layout(default_classifier()) == (
        ("angles", (16,)),
        ("head", (1, 4)),
        ("bias", (1,)),
    )


def test_more_classes_have_one_logit_each():
    layout = dict(classifier_layout(default_classifier(features=5, classes=3)))
    assert layout == {"angles": (20,), "head": (3, 5), "bias": (3,)}


def test_a_parity_head_trains_angles_only():
    gates = default_classifier().circuit.gates
    classifier = Classifier(assemble(4, gates, parity(4)), head="parity")
    check_classifier(classifier)
    assert classifier_layout(classifier) == (("angles", (16,)),)


def test_a_classifier_survives_the_wire():
    classifier = default_classifier()
    data = msgspec.msgpack.encode(classifier)
    assert msgspec.msgpack.decode(data, type=Classifier) == classifier


@pytest.mark.parametrize(
    ("faulty", "text"),
    [
        (
            circuit(Gate("h", (2,))),
            r"gate 0 \(h on 2\): wire 2 is out of range; there are 2 qubits",
        ),
        (circuit(Gate("h", (0,)), Gate("x", (-1,))), r"gate 1 \(x on -1\): wire -1"),
        (circuit(Gate("cx", (1, 1))), r"gate 0 \(cx on 1, 1\): names the same wire twice"),
        (circuit(Gate("cx", (1,))), r"needs 2 wire"),
        (circuit(Gate("h", (0, 1))), r"needs 1 wire"),
        (circuit(Gate("toffoli", (0, 1))), r"no such gate"),
        (circuit(Gate("rx", (0,))), r"gate 0 \(rx on 0\): needs an angle"),
        (circuit(Gate("h", (0,), Angle("constant"))), r"takes no angle"),
        (circuit(turn("weight", 1), weights=1), r"weight 1 is out of range; there are 1"),
        (circuit(turn("feature", 3), features=2), r"feature 3 is out of range; there are 2"),
        (circuit(turn("zz", 0, 2), features=2), r"feature 2 is out of range"),
        (circuit(turn("constant", scale=float("nan"))), r"scale nan"),
        (circuit(turn("constant", scale=1e4)), r"scale 10000"),
        (circuit(turn("moon")), r"angle source 'moon'"),
        (circuit(turn("weight"), weights=3), r"weight 1 is dead: no gate reads it"),
        (circuit(turn("feature"), features=2), r"feature 1 is dead"),
        (circuit(qubits=13), r"qubits: 13; 1 to 12 is accepted"),
        (Circuit(2, 0, 0, (), ()), r"observables: 0"),
        (Circuit(2, 0, 0, (), ((),)), r"observable 0: names no wire"),
        (Circuit(2, 0, 0, (), ((0,), (0, 2))), r"observable 1: wire 2"),
        (Circuit(2, 0, 0, (Gate("h", (0,)),) * (MAX_GATES + 1), ((0,),)), r"gates: 4097"),
    ],
)
def test_a_fault_is_named_with_its_gate(faulty, text):
    with pytest.raises(RemoteError, match=text):
        check(faulty)


def test_zz_reads_both_of_its_features():
    check(circuit(turn("zz", 0, 1), features=2))


@pytest.mark.parametrize(
    ("classifier", "text"),
    [
        (Classifier(default_classifier().circuit, head="parity"), "exactly one observable"),
        (Classifier(default_classifier().circuit, classes=1), "classes: 1"),
        (Classifier(default_classifier().circuit, squash="tanh"), "squash 'tanh'"),
        (Classifier(default_classifier().circuit, head="deep"), "head 'deep'"),
        (Classifier(assemble(1, ry_encoding(1), each_z(1)), classes=3, head="parity"), "2 classes"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(classifier, text):
    with pytest.raises(RemoteError, match=text):
        check_classifier(classifier)


@given(st.data())
def test_whatever_decodes_is_either_checked_or_refused(data):
    raw = bytearray(msgspec.msgpack.encode(default_classifier()))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        classifier = msgspec.msgpack.decode(bytes(raw), type=Classifier)
        check_classifier(classifier)
    except (msgspec.MsgspecError, UnicodeDecodeError, RemoteError):
        return
    assert len(classifier_layout(classifier)) == 3
