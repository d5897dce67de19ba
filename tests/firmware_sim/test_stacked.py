"""A cohort trained in one go ends where its boxes end one by one, to the bit."""

import numpy as np
import pytest

from coordinator.taskmodel import Model, classifier_of
from edge_client.circuit import steps
from edge_client.circuit.classifier import classifier_model
from edge_client.circuit.program import compile_circuit
from edge_client.train import Hyper, Rows, evaluate, local_update
from firmware_sim.stacked import Group, Stacked
from firmware_sim.turning import body_of, run_body, turned
from proto.circuit import classifier_layout
from quantization.arrays import flatten

SHAPES = [(4, 3), (2, 1), (3, 2)]
"""Features and layers."""


def group(boxes: int, rows: int, held: int, features: int, seed: int) -> Group:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(boxes, rows + held, features)).astype(np.float32)
    y = rng.integers(0, 2, (boxes, rows + held))
    return Group(z[:, :rows], y[:, :rows], z[:, rows:], y[:, rows:])


@pytest.mark.parametrize(("features", "reps"), SHAPES)
def test_boxes_with_few_many_and_no_held_back_rows_train_as_if_alone(features, reps):
    classifier = classifier_of(Model(reps=reps), features, 2)
    model, stack = classifier_model(classifier), Stacked(classifier)
    layout, arrays = classifier_layout(classifier), model.init(np.random.default_rng(0))
    groups = [
        group(3, 40, 10, features, 1),
        group(2, 9, 3, features, 2),
        group(1, 23, 0, features, 3),
    ]
    hyper = Hyper(7, 0.1)
    together = stack.train(flatten(arrays, layout), stack.cohort(groups), hyper)

    alone = [
        local_update(
            model, arrays, Rows(g.z[b], g.y[b], g.validation_z[b], g.validation_y[b]), hyper
        )
        for g in groups
        for b in range(len(g.y))
    ]
    for box, update in enumerate(alone):
        assert np.array_equal(flatten(update.arrays, layout), together.models[box])
        assert update.first_loss == together.first[box]
        assert update.last_loss == together.last[box]
        assert (update.validation_loss or 0.0) == together.received.losses[box]
        assert (update.validation_accuracy or 0.0) == together.received.accuracies[box]


def test_judging_together_gives_each_box_its_own_figures():
    classifier = classifier_of(Model(), 4, 2)
    model, stack = classifier_model(classifier), Stacked(classifier)
    arrays = model.init(np.random.default_rng(4))
    start = flatten(arrays, classifier_layout(classifier))
    parts = [group(2, 30, 0, 4, 5), group(1, 12, 0, 4, 6)]
    together = stack.judge(start, [(g.z, g.y) for g in parts])
    alone = [evaluate(model, arrays, g.z[b], g.y[b]) for g in parts for b in range(len(g.y))]
    assert together.losses == [found.loss for found in alone]
    assert together.accuracies == [found.accuracy for found in alone]


@pytest.mark.parametrize(("features", "reps"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 1)])
def test_a_first_layer_is_to_the_bit_what_its_turns_make_of_the_identity(features, reps):
    program = compile_circuit(classifier_of(Model(reps=reps), features, 2).circuit)
    angles = np.random.default_rng(features).normal(size=(40, program.weights))
    angles[0], angles[1] = 0.0, np.pi * np.round(angles[1])
    matrices = turned(program, angles)
    one = np.eye(2**program.qubits)[None]
    assert np.array_equal(body_of(program, matrices), run_body(program, one, matrices))
    for box, own in enumerate(angles):
        alone = steps.run_body(program, one[0], own, np.empty((0, features)))
        assert np.array_equal(body_of(program, matrices)[box], alone)


@pytest.mark.parametrize(
    "model",
    [Model(ansatz="efficient-su2"), Model(ansatz="re-uploading"), Model(ansatz="paper")],
)
def test_circuits_of_another_sort_are_left_to_train_alone(model):
    assert not Stacked(classifier_of(model, 4, 2)).fits
    assert Stacked(classifier_of(Model(), 4, 2)).fits
    assert not Stacked(classifier_of(Model(), 4, 3)).fits
