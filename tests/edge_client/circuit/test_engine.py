import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge_client.circuit
from edge_client.circuit import reference
from edge_client.circuit.adjoint import gradient
from edge_client.circuit.engine import NUMPY, Engine, encode, engine_of, forward, operator_pays
from edge_client.circuit.program import Shuffle, compile_circuit
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
    zz_feature_map,
)
from proto.circuit import ROTATIONS, Angle, Circuit, Gate
from proto.errors import ConfigError
from proto.qcnn import qcnn_circuit
from tests.edge_client.circuit.circuits import circuits

DEFAULT = default_classifier().circuit
PAPER = assemble(3, (*zz_feature_map(3), *real_amplitudes(3, 2)), parity(3))
UPLOADING = assemble(3, re_uploading(3, 2), each_z(3))

ENTANGLING = assemble(3, (*ry_encoding(3), *strongly_entangling(3, 2)), each_z(3))
SU2 = assemble(3, (*angle_encoding(3, "rz"), *efficient_su2(3, 2)), each_z(3))
EFFICIENT = assemble(3, (*angle_encoding(3, "rx"), *hardware_efficient(3, 2)), each_z(3))
KNOWN = [
    default_classifier(3).circuit,
    PAPER,
    UPLOADING,
    ENTANGLING,
    SU2,
    EFFICIENT,
    qcnn_circuit(4, 3),
]

seeds = st.integers(0, 2**32 - 1)


def draw(circuit: Circuit, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.5, 1.5, (rows, max(circuit.features, 3)))
    weights = rng.uniform(-4, 4, circuit.weights)
    return weights, x, rng.normal(size=(len(circuit.observables), rows))


@pytest.fixture(scope="module", params=["numpy", "numba"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn; the extra one only where its extra is installed."""
    if request.param == "numba":
        pytest.importorskip("numba", reason="the extra numba is not installed")
    return engine_of(request.param)


def assert_equals_reference(circuit: Circuit, rows: int, seed: int, engine: Engine) -> None:
    weights, x, slopes = draw(circuit, rows, seed)
    program = compile_circuit(circuit)
    done = forward(program, weights, encode(program, x), engine)
    expected = np.stack([reference.expectations(circuit, weights, row) for row in x], axis=1)
    assert np.allclose(done.values, expected, rtol=0, atol=1e-10)
    jacobians = [reference.jacobian(circuit, weights, row) for row in x]
    expected = sum(slopes[:, b] @ jacobian for b, jacobian in enumerate(jacobians))
    assert np.allclose(gradient(done, slopes), expected, rtol=0, atol=1e-10)


@given(circuits(), st.sampled_from([1, 3, 20]), seeds)
@settings(max_examples=50, deadline=None)
def test_any_circuit_has_the_references_values_and_gradient(engine, circuit, rows, seed):
    assert_equals_reference(circuit, rows, seed, engine)


@pytest.mark.parametrize("circuit", KNOWN)
@pytest.mark.parametrize("rows", [1, 9])
def test_the_known_circuits_have_the_references_values_and_gradient(engine, circuit, rows):
    assert_equals_reference(circuit, rows, 0, engine)


def test_more_than_six_qubits_agree_with_the_reference_too(engine):
    gates = (*ry_encoding(7), *real_amplitudes(7, 1))
    assert_equals_reference(assemble(7, gates, parity(7)), 1, 1, engine)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_operator_picture_is_only_another_way_to_count(engine, seed):
    weights, x, slopes = draw(DEFAULT, 40, seed)
    program = compile_circuit(DEFAULT)
    many = forward(program, weights, encode(program, x), engine)
    quarters = [encode(program, x[i : i + 4]) for i in range(0, 40, 4)]
    few = [forward(program, weights, encoded, engine) for encoded in quarters]
    assert many.operator
    assert not any(part.operator for part in few)
    assert np.allclose(many.values, np.hstack([p.values for p in few]), rtol=0, atol=1e-12)
    parts = [gradient(p, slopes[:, 4 * i : 4 * i + 4]) for i, p in enumerate(few)]
    assert np.allclose(gradient(many, slopes), sum(parts), rtol=0, atol=1e-12)


def test_gates_before_the_first_weight_are_evaluated_once():
    program = compile_circuit(DEFAULT)
    assert len(program.prefix) == 4
    assert not program.re_uploads
    assert compile_circuit(UPLOADING).re_uploads


def test_a_run_of_cx_is_one_permutation():
    program = compile_circuit(DEFAULT)
    assert sum(isinstance(op, Shuffle) for op in program.body) == 3
    assert len(program.body) == 16 + 3


def test_real_circuits_never_pay_for_imaginary_parts():
    program = compile_circuit(DEFAULT)
    encoded = encode(program, np.zeros((5, 4)))
    assert encoded.states.dtype == np.float64
    paper = compile_circuit(PAPER)
    assert forward(paper, np.zeros(9), encode(paper, np.zeros((50, 3)))).final.dtype == np.float64


def test_a_bell_pair_agrees_with_itself():
    bell = Circuit(2, 0, 0, (Gate("h", (0,)), Gate("cx", (0, 1))), ((0,), (0, 1)))
    program = compile_circuit(bell)
    done = forward(program, np.empty(0), encode(program, np.empty((1, 0))))
    assert np.allclose(done.values, [[0], [1]], rtol=0, atol=1e-15)


def test_wire_zero_is_the_lowest_bit():
    state = reference.amplitudes(Circuit(3, 0, 0, (Gate("x", (0,)),), ((0,),)), [], [])
    assert np.abs(state).argmax() == 1


@pytest.mark.parametrize("name", ROTATIONS)
def test_each_turn_has_the_gradient_of_the_shift_rule(engine, name):
    mix = [Gate("h", (0,)), Gate("h", (1,)), Gate("t", (0,)), Gate("cx", (0, 1))]
    wires = (1, 0) if name == "rzz" else (1,)
    gates = [*mix, Gate(name, wires, Angle("weight", 0, scale=-1.5)), Gate("sx", (1,)), *mix]
    assert_equals_reference(assemble(2, gates, each_z(2)), 3, 0, engine)


def test_the_operator_picture_pays_for_many_rows_and_never_with_re_uploading():
    small, uploading = compile_circuit(DEFAULT), compile_circuit(UPLOADING)
    assert operator_pays(small, 1000, NUMPY)
    assert not operator_pays(small, 4, NUMPY)
    assert not operator_pays(uploading, 100_000, NUMPY)


def test_an_engine_is_never_chosen_in_silence():
    assert engine_of("numpy") is NUMPY
    with pytest.raises(ConfigError, match="no engine 'gpu': numpy or numba is accepted"):
        engine_of("gpu")


def test_without_its_extra_an_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("kernels", "compiled"):
        monkeypatch.delitem(sys.modules, f"edge_client.circuit.{name}", raising=False)
        monkeypatch.delattr(edge_client.circuit, name, raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'qfleet\[numba\]'"):
        engine_of("numba")
