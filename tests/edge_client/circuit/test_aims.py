"""A teacher beside the labels: the loss, its slope, and what a share of nothing changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.circuit.aims import Blend
from edge_client.circuit.backends.checkpoint import Checkpoint
from edge_client.circuit.backends.jobs import Jobs
from edge_client.circuit.backends.measured import measured_model
from edge_client.circuit.backends.simulated import numpy_machine
from edge_client.circuit.backends.unrolled import unroll
from edge_client.circuit.classifier import classifier_model, with_teacher
from edge_client.circuit.heads import log_softmax
from edge_client.train import Hyper, Rows, evaluate, local_update
from proto.circuit import Classifier
from proto.errors import LocalError
from tests.edge_client.circuit.test_classifier import ALL, BINARY, THREE, draw

WARM = Blend(0.6, 2.5)


def soft(classifier: Classifier, rows: int, seed: int = 0) -> np.ndarray:
    """A teacher's log-chances (rows, classes)."""
    logits = np.random.default_rng(seed).normal(size=(classifier.classes, rows), scale=3.0)
    return log_softmax(logits).T


def simulated(classifier: Classifier, blend: Blend):
    unrolled = unroll(classifier.circuit)
    jobs = Jobs(numpy_machine(unrolled.circuit), 0, Checkpoint(None, bytes(16), 0), 0)
    return measured_model(classifier, unrolled, jobs, blend)


def softened(log_chances: np.ndarray, warmth: float) -> np.ndarray:
    powers = np.exp(log_chances) ** (1 / warmth)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classifier", ALL)
@pytest.mark.parametrize("blend", [Blend(1.0), WARM, Blend(0.25, 0.7)])
def test_the_loss_is_the_textbooks(classifier, blend):
    model = classifier_model(classifier, blend=blend)
    arrays, z, y = draw(classifier, 40)
    taught = soft(classifier, 40).astype(np.float32)
    rows = model.prepare(with_teacher(z, taught))
    chances = model.predict(arrays, rows)
    p, q = softened(taught, blend.warmth), softened(np.log(chances), blend.warmth)
    far = (p * np.log(p / q)).sum(axis=1).mean()
    wrong = -np.log(chances[np.arange(40), y]).mean()
    expected = (1 - blend.share) * wrong + blend.share * blend.warmth**2 * far
    assert model.loss_and_grad(arrays, rows, y)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", [lambda c, b: classifier_model(c, blend=b), simulated])
@pytest.mark.parametrize("classifier", ALL)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1), warmth=st.floats(0.5, 8.0))
@settings(max_examples=5, deadline=None)
def test_the_gradient_is_the_slope_of_the_loss(make, classifier, seed, share, warmth):
    model = make(classifier, Blend(share, warmth))
    arrays, z, y = draw(classifier, 20, seed)
    rows = model.prepare(with_teacher(z, soft(classifier, 20, seed)))
    _, grad = model.loss_and_grad(arrays, rows, y)
    rng = np.random.default_rng(seed)
    way = {name: rng.normal(size=a.shape).astype(np.float32) for name, a in arrays.items()}
    ahead, behind = (
        {name: (a + sign * way[name]).astype(np.float32) for name, a in arrays.items()}
        for sign in (2.0**-8, -(2.0**-8))
    )
    rise = model.loss_and_grad(ahead, rows, y)[0] - model.loss_and_grad(behind, rows, y)[0]
    foretold = sum(
        float((grad[name] * (ahead[name].astype(float) - behind[name])).sum()) for name in arrays
    )
    assert rise == pytest.approx(foretold, abs=1e-4 * max(1.0, warmth))


@pytest.mark.parametrize("classifier", ALL)
def test_a_teacher_without_a_share_changes_no_bit_of_the_training(classifier):
    _, z, y = draw(classifier, 50)
    taught = with_teacher(z, soft(classifier, 50))
    hyper = Hyper(steps=12, learning_rate=0.1, batch=16, seed=3)

    def trained(blend: Blend | None, z: np.ndarray):
        model = classifier_model(classifier, blend=blend)
        arrays = model.init(np.random.default_rng(0))
        return local_update(model, arrays, Rows(z[:40], y[:40], z[40:], y[40:]), hyper)

    plain, untaught, teacher = trained(None, z), trained(Blend(0.0), taught), trained(WARM, taught)
    assert all((plain.arrays[n] == untaught.arrays[n]).all() for n in plain.arrays)
    assert (plain.last_loss, plain.validation_loss) == (
        untaught.last_loss,
        untaught.validation_loss,
    )
    assert not all((plain.arrays[n] == teacher.arrays[n]).all() for n in plain.arrays)


@pytest.mark.parametrize("classifier", [BINARY, THREE])
def test_a_circuit_that_only_copies_comes_near_a_teacher_of_its_own_kind(classifier):
    model = classifier_model(classifier)
    teacher, z, _ = draw(classifier, 80, seed=5)
    taught = np.log(model.predict(teacher, model.prepare(z)))
    wrong = np.zeros(80, np.int64)  # labels it must not heed
    copying = classifier_model(classifier, blend=Blend(1.0, 2.0))
    both, arrays = with_teacher(z, taught), model.init(np.random.default_rng(0))
    rows = Rows(both, wrong, both[:0], wrong[:0])
    moved = local_update(copying, arrays, rows, Hyper(steps=150, learning_rate=0.1)).arrays
    far_before, _ = copying.loss_and_grad(arrays, copying.prepare(both), wrong)
    far_after, _ = copying.loss_and_grad(moved, copying.prepare(both), wrong)
    assert far_after < 0.05 * far_before
    right = taught.argmax(axis=1)
    assert evaluate(copying, moved, both, right).accuracy > 0.95


def test_a_teachers_rows_must_be_there_and_be_numbers():
    model = classifier_model(BINARY, blend=WARM)
    _, z, _ = draw(BINARY, 3)
    with pytest.raises(LocalError, match=r"\(3, 4\); not \(rows, 4 \+ 2\)"):
        model.prepare(z)
    for bad in (np.nan, np.inf, 0.5):
        taught = soft(BINARY, 3)
        taught[1, 0] = bad
        with pytest.raises(LocalError, match="NaN or above 1"):
            model.prepare(with_teacher(z, taught))


def test_a_teacher_that_is_infinitely_sure_is_heard_as_very_sure():
    model = classifier_model(BINARY, blend=WARM)
    arrays, z, y = draw(BINARY, 3)
    taught = np.array([[0.0, -np.inf]] * 3)
    loss, grad = model.loss_and_grad(arrays, model.prepare(with_teacher(z, taught)), y)
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in grad.values())


@pytest.mark.parametrize(("share", "warmth"), [(-0.1, 1.0), (1.1, 1.0), (0.5, 0.0), (0.5, np.inf)])
def test_a_blend_that_makes_no_sense_is_refused(share, warmth):
    with pytest.raises(LocalError, match="share"):
        Blend(share, warmth)
