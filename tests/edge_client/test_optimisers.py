"""Every optimiser trains the same model through the same door, and what it asks is counted."""

import sys

import numpy as np
import pytest

from edge_client.circuit.backends.checkpoint import Checkpoint
from edge_client.circuit.backends.jobs import Jobs
from edge_client.circuit.backends.measured import measured_model
from edge_client.circuit.backends.simulated import numpy_machine
from edge_client.circuit.backends.unrolled import unroll
from edge_client.circuit.classifier import classifier_model
from edge_client.model import Model
from edge_client.optimisers.chosen import OPTIMISERS
from edge_client.optimisers.spsa import _metric, _way
from edge_client.train import Hyper, Rows, local_update
from proto.ansatz import assemble, default_classifier, each_z
from proto.circuit import Angle, Classifier, Gate
from proto.errors import ConfigError, LocalError

CLASSIFIER = default_classifier(2, reps=1)


def clouds(rows: int = 60, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    z = (rng.normal(size=(rows, 2)) * 0.4 + 2.0 * y[:, None] - 1).astype(np.float32)
    return Rows(z, y, z[:0], y[:0])


def measured(classifier: Classifier = CLASSIFIER, shots: int = 0) -> tuple[Model, Jobs]:
    unrolled = unroll(classifier.circuit)
    jobs = Jobs(numpy_machine(unrolled.circuit), shots, Checkpoint(None, b"", 0))
    return measured_model(classifier, unrolled, jobs), jobs


def trained(name: str, steps: int, rate: float, shots: int = 0, batch: int = 0):
    model, jobs = measured(shots=shots)
    arrays = model.init(np.random.default_rng(1))
    return local_update(model, arrays, clouds(), Hyper(steps, rate, batch, 2, name)), jobs


@pytest.mark.parametrize(
    ("name", "steps", "rate"),
    [
        ("adam", 30, 0.1),
        ("adamw", 30, 0.1),
        ("sgd", 40, 1.0),
        ("lbfgs", 10, 0.1),
        ("cobyla", 80, 0.3),
        ("spsa", 80, 0.1),
        ("qn-spsa", 80, 0.1),
    ],
)
def test_every_optimiser_learns_the_task(name, steps, rate):
    if name == "cobyla":
        pytest.importorskip("scipy", reason="SciPy is not installed")
    update, _ = trained(name, steps, rate)
    assert update.last_loss < update.first_loss / 2


def test_the_test_above_names_every_optimiser():
    assert set(OPTIMISERS) == {"adam", "adamw", "sgd", "lbfgs", "cobyla", "spsa", "qn-spsa"}


@pytest.mark.parametrize(
    ("name", "evaluations", "gradients"), [("adam", 0, 5), ("spsa", 10, 0), ("qn-spsa", 10, 0)]
)
def test_work_is_counted_in_what_was_asked(name, evaluations, gradients):
    update, _ = trained(name, 5, 0.1)
    assert (update.evaluations, update.gradients) == (evaluations, gradients)


def test_two_points_are_looked_at_in_one_job_and_cost_their_shots():
    _, jobs = trained("spsa", 5, 0.1, shots=16, batch=10)
    # The received and the trained model on all 60 rows, and two points on 10 rows a step.
    assert jobs.shots == 16 * (60 + 60 + 5 * 2 * 10)


def test_few_shots_are_enough_for_spsa():
    update, _ = trained("spsa", 150, 0.05, shots=16)
    assert update.last_loss < 0.7 * update.first_loss


def test_lbfgs_gets_further_than_adam_on_as_many_gradients():
    rows, model = clouds(), classifier_model(CLASSIFIER)
    arrays = model.init(np.random.default_rng(1))
    lbfgs = local_update(model, arrays, rows, Hyper(15, 0.1, optimiser="lbfgs"))
    adam = local_update(model, arrays, rows, Hyper(lbfgs.gradients, 0.1))
    assert lbfgs.last_loss < adam.last_loss


def test_lbfgs_never_goes_uphill():
    rows, model = clouds(), classifier_model(CLASSIFIER)
    losses: list[float] = []
    arrays = model.init(np.random.default_rng(1))
    hyper = Hyper(20, 0.1, optimiser="lbfgs")
    local_update(model, arrays, rows, hyper, lambda _, loss: losses.append(loss))
    assert losses == sorted(losses, reverse=True)


def test_cobyla_keeps_within_its_steps():
    pytest.importorskip("scipy", reason="SciPy is not installed")
    update, _ = trained("cobyla", 40, 0.3)
    assert 2 < update.evaluations <= 40


def test_the_head_is_trained_by_its_exact_gradient_whatever_the_optimiser():
    model, _ = measured()
    rows = clouds()
    arrays, prepared = model.init(np.random.default_rng(1)), model.prepare(rows.z)
    _, grad = model.loss_and_grad(arrays, prepared, rows.y)
    (probe,) = model.probing.probe([arrays], prepared, rows.y)
    assert set(probe.own) == {"head", "bias"}
    assert all(np.allclose(probe.own[name], grad[name], atol=1e-6) for name in probe.own)


def test_the_metric_of_a_single_turn_is_a_quarter():
    circuit = assemble(1, [Gate("ry", (0,), Angle("weight", 0))], each_z(1))
    model, _ = measured(Classifier(circuit))

    class Looked:
        exact = ("head", "bias")

        @staticmethod
        def overlap(one, other):
            return model.probing.overlap(one, other, model.prepare(np.empty((1, 0), np.float32)))

    arrays = model.init(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    way, other = (_way(arrays, Looked.exact, rng) for _ in range(2))
    assert _metric(Looked, arrays, way, other) == pytest.approx(0.25, rel=0.03)


def test_the_same_seed_looks_the_same_ways():
    one, two = (trained("spsa", 5, 0.1)[0] for _ in range(2))
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays)


def test_without_scipy_cobyla_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match=r"pip install 'qfleet\[optimisers\]'"):
        trained("cobyla", 40, 0.3)


def test_an_optimiser_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(
        LocalError, match="'newton'; there is adam, adamw, sgd, lbfgs, cobyla, spsa, qn-spsa"
    ):
        trained("newton", 1, 0.1)


def test_a_model_that_gives_gradients_alone_says_so():
    model = classifier_model(CLASSIFIER)
    arrays = model.init(np.random.default_rng(1))
    with pytest.raises(LocalError, match="choose adam or lbfgs"):
        local_update(model, arrays, clouds(), Hyper(1, 0.1, optimiser="spsa"))
