"""A gate is called dead only where the textbook's derivative by its angle is zero."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.circuit import reference
from proto import lightcone
from proto.circuit import ROTATIONS, unseen
from proto.lightcone import Step, seen
from proto.qcnn import qcnn_circuit
from tests.edge_client.circuit.circuits import circuits


@given(circuits(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_no_living_weight_is_called_dead(circuit, seed):
    rng = np.random.default_rng(seed)
    weights, x = rng.uniform(-4, 4, circuit.weights), rng.uniform(-1.5, 1.5, 3)
    slopes = reference.jacobian(circuit, weights, x)
    assert np.abs(slopes[:, sorted(unseen(circuit))]).max(initial=0) < 1e-12


def test_every_weight_of_the_small_qcnn_moves_an_observable():
    circuit = qcnn_circuit(4)
    rng = np.random.default_rng(0)
    weights, x = rng.uniform(-4, 4, circuit.weights), rng.uniform(-1.5, 1.5, 4)
    assert np.abs(reference.jacobian(circuit, weights, x)).max(axis=0).min() > 1e-3


@given(circuits(), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_with_bounds_alone_no_living_weight_is_called_dead_either(circuit, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lightcone, "MAX_STRINGS", 0)
        few = unseen(circuit)
    rng = np.random.default_rng(seed)
    weights, x = rng.uniform(-4, 4, circuit.weights), rng.uniform(-1.5, 1.5, 3)
    slopes = reference.jacobian(circuit, weights, x)
    assert np.abs(slopes[:, sorted(few)]).max(initial=0) < 1e-12


@pytest.mark.parametrize("limit", [0, 256])
@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ([("rz", (0,))], [False]),
        ([("rz", (0,)), ("h", (0,))], [True, True]),
        ([("rz", (0,)), ("ry", (0,))], [True, True]),
        ([("rx", (1,))], [False]),
        ([("rx", (1,)), ("swap", (0, 1))], [True, True]),
        ([("rz", (1,)), ("cx", (1, 0))], [False, True]),
        ([("rz", (0,)), ("cx", (0, 1)), ("rx", (0,))], [True, True, True]),
        ([("rx", (1,)), ("cz", (0, 1)), ("rx", (0,))], [True, True, True]),
        ([("rx", (1,)), ("rzz", (0, 1))], [False, False]),
    ],
)
def test_what_z_on_the_first_wire_sees(gates, expected, limit, monkeypatch):
    monkeypatch.setattr(lightcone, "MAX_STRINGS", limit)
    turns = [name in ROTATIONS for name, _ in gates]
    found = seen([Step(name, wires) for name, wires in gates], [[0]])
    assert [f for f, turn in zip(found, turns, strict=True) if turn] == [
        e for e, turn in zip(expected, turns, strict=True) if turn
    ]
