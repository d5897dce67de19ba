import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.circuit import reference
from edge_client.circuit.adjoint import gradient
from edge_client.circuit.engine import encode, forward
from edge_client.circuit.program import Shuffle, compile_circuit
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
from proto.circuit import Circuit, Gate
from tests.edge_client.circuit.circuits import circuits

DEFAULT = default_classifier().circuit
PAPER = assemble(3, (*zz_feature_map(3), *real_amplitudes(3, 2)), parity(3))
UPLOADING = assemble(3, re_uploading(3, 2), each_z(3))

seeds = st.integers(0, 2**32 - 1)


def draw(circuit: Circuit, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.5, 1.5, (rows, max(circuit.features, 3)))
    weights = rng.uniform(-4, 4, circuit.weights)
    return weights, x, rng.normal(size=(len(circuit.observables), rows))


def assert_equals_reference(circuit: Circuit, rows: int, seed: int) -> None:
    weights, x, slopes = draw(circuit, rows, seed)
    program = compile_circuit(circuit)
    done = forward(program, weights, encode(program, x))
    expected = np.stack([reference.expectations(circuit, weights, row) for row in x], axis=1)
    assert np.allclose(done.values, expected, rtol=0, atol=1e-10)
    jacobians = [reference.jacobian(circuit, weights, row) for row in x]
    expected = sum(slopes[:, b] @ jacobian for b, jacobian in enumerate(jacobians))
    assert np.allclose(gradient(done, slopes), expected, rtol=0, atol=1e-10)


@given(circuits(), st.sampled_from([1, 3, 20]), seeds)
@settings(max_examples=50, deadline=None)
def test_any_circuit_has_the_references_values_and_gradient(circuit, rows, seed):
    assert_equals_reference(circuit, rows, seed)


@pytest.mark.parametrize("circuit", [default_classifier(3).circuit, PAPER, UPLOADING])
@pytest.mark.parametrize("rows", [1, 9])
def test_the_known_circuits_have_the_references_values_and_gradient(circuit, rows):
    assert_equals_reference(circuit, rows, 0)


def test_more_than_six_qubits_agree_with_the_reference_too():
    gates = (*ry_encoding(7), *real_amplitudes(7, 1))
    assert_equals_reference(assemble(7, gates, parity(7)), 1, 1)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_operator_picture_is_only_another_way_to_count(seed):
    weights, x, slopes = draw(DEFAULT, 40, seed)
    program = compile_circuit(DEFAULT)
    many = forward(program, weights, encode(program, x))
    few = [forward(program, weights, encode(program, x[i : i + 4])) for i in range(0, 40, 4)]
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
