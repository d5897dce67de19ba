"""A cohort trained in one go ends where its boxes end one by one, to the bit."""

from dataclasses import astuple

import numpy as np
import pytest

from coordinator.taskmodel import Model, classifier_of
from edge_client.circuit.classifier import classifier_model
from edge_client.train import Hyper, Rows, evaluate, local_update
from firmware_sim.stacked import Group, Stacked

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
    arrays = model.init(np.random.default_rng(0))
    groups = [
        group(3, 40, 10, features, 1),
        group(2, 9, 3, features, 2),
        group(1, 23, 0, features, 3),
    ]
    hyper = Hyper(7, 0.1)
    together = stack.train(arrays, stack.cohort(groups), hyper)

    alone = [
        local_update(
            model, arrays, Rows(g.z[b], g.y[b], g.validation_z[b], g.validation_y[b]), hyper
        )
        for g in groups
        for b in range(len(g.y))
    ]
    for box, update in enumerate(alone):
        for name, array in update.arrays.items():
            assert np.array_equal(array, together.arrays[name][box])
        assert update.first_loss == together.first[box].loss
        assert update.last_loss == together.last[box].loss
        seen = together.received[box]
        assert update.validation_loss == (seen.loss if seen else None)
        assert update.validation_accuracy == (seen.accuracy if seen else None)


def test_judging_together_gives_each_box_its_own_figures():
    classifier = classifier_of(Model(), 4, 2)
    model, stack = classifier_model(classifier), Stacked(classifier)
    arrays = model.init(np.random.default_rng(4))
    parts = [group(2, 30, 0, 4, 5), group(1, 12, 0, 4, 6)]
    together = stack.judge(arrays, [(g.z, g.y) for g in parts])
    alone = [evaluate(model, arrays, g.z[b], g.y[b]) for g in parts for b in range(len(g.y))]
    assert [(j.loss, j.accuracy, j.rows) for j in together] == list(map(astuple, alone))


@pytest.mark.parametrize(
    "model",
    [Model(ansatz="efficient-su2"), Model(ansatz="re-uploading"), Model(ansatz="paper")],
)
def test_circuits_of_another_sort_are_left_to_train_alone(model):
    assert not Stacked(classifier_of(model, 4, 2)).fits
    assert Stacked(classifier_of(Model(), 4, 2)).fits
    assert not Stacked(classifier_of(Model(), 4, 3)).fits
