"""A box's own teacher speaks of no row it was trained on.

A circuit stands for the language model: any model is taught and asked in the same way.
"""

import numpy as np
import pytest

from edge_client.circuit.classifier import classifier_model
from edge_client.hybrid.teacher import FOLDS, Lesson, folds, own
from proto.ansatz import default_classifier


def test_each_row_is_spoken_about_once_by_who_has_not_seen_it():
    train = np.arange(5, 36)
    spoken = []
    for kept, left in folds(train):
        assert not set(kept) & set(left)
        assert set(kept) | set(left) == set(train)
        spoken += left.tolist()
    assert sorted(spoken) == train.tolist()
    assert len(list(folds(train))) == FOLDS


@pytest.fixture
def lesson():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 4)).astype(np.float32)
    y = (z[:, 0] > 0).astype(np.int64)
    model = classifier_model(default_classifier())
    return model, Lesson(model.prepare(z), y, np.arange(40))


def test_an_own_teacher_learns_and_judges_rows_it_has_not_seen(lesson):
    model, told = lesson
    logits = own(model, told, 80, 0.1)
    assert logits.shape == (60, 2)
    right = logits.argmax(axis=1) == told.y
    assert right[:40].mean() > 0.8
    assert right[40:].mean() > 0.8
    assert np.array_equal(logits, own(model, told, 80, 0.1))


def test_a_rows_own_label_does_not_reach_what_is_said_of_it(lesson):
    model, told = lesson
    before = own(model, told, steps=10)
    changed = told.y.copy()
    changed[7] = 1 - changed[7]
    after = own(model, Lesson(told.rows, changed, told.train), steps=10)
    assert np.array_equal(before[7], after[7])
    assert not np.array_equal(before, after)


def test_labels_outside_the_training_rows_are_never_read(lesson):
    model, told = lesson
    changed = told.y.copy()
    changed[40:] = 1 - changed[40:]
    after = own(model, Lesson(told.rows, changed, told.train), steps=10)
    assert np.array_equal(own(model, told, steps=10), after)
