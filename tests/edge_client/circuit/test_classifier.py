import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.circuit import classifier as module
from edge_client.circuit import reference
from edge_client.circuit.classifier import classifier_model
from edge_client.circuit.engine import NUMPY
from proto.ansatz import assemble, default_classifier, parity, real_amplitudes, zz_feature_map
from proto.circuit import Circuit, Classifier, Gate, classifier_layout
from proto.errors import ConfigError, LocalError, RemoteError

BINARY = default_classifier()
THREE = default_classifier(3, classes=3, reps=2)
PARITY = Classifier(
    assemble(3, (*zz_feature_map(3), *real_amplitudes(3, 1)), parity(3)), "none", 2, "parity"
)
ALL = [BINARY, THREE, PARITY]


def draw(classifier: Classifier, rows: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    arrays = classifier_model(classifier).init(rng)
    z = rng.normal(size=(rows, classifier.circuit.features)).astype(np.float32)
    return arrays, z, rng.integers(0, classifier.classes, rows)


def textbook_chances(classifier: Classifier, arrays, row: np.ndarray) -> np.ndarray:
    row = row.astype(float)
    x = np.arctan(row) if classifier.squash == "arctan" else row
    values = reference.expectations(classifier.circuit, arrays["angles"].astype(float), x)
    if classifier.head == "parity":
        return np.array([1 + values[0], 1 - values[0]]) / 2
    logits = arrays["head"].astype(float) @ values + arrays["bias"]
    if classifier.classes == 2:
        one = 1 / (1 + np.exp(-logits[0]))
        return np.array([1 - one, one])
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("classifier", ALL)
def test_probabilities_and_loss_are_the_textbooks(classifier):
    model = classifier_model(classifier)
    arrays, z, y = draw(classifier, 6)
    chances = np.stack([textbook_chances(classifier, arrays, row) for row in z])
    prepared = model.prepare(z)
    assert np.allclose(model.predict(arrays, prepared), chances, rtol=0, atol=1e-10)
    loss, _ = model.loss_and_grad(arrays, prepared, y)
    assert loss == pytest.approx(-np.log(chances[np.arange(6), y]).mean(), abs=1e-10)


@pytest.mark.parametrize("classifier", ALL)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_the_gradient_is_the_slope_of_the_loss(classifier, seed):
    model = classifier_model(classifier)
    arrays, z, y = draw(classifier, 30, seed)
    prepared = model.prepare(z)
    _, grad = model.loss_and_grad(arrays, prepared, y)
    rng = np.random.default_rng(seed)
    way = {name: rng.normal(size=a.shape).astype(np.float32) for name, a in arrays.items()}
    ahead, behind = (
        {name: (a + sign * way[name]).astype(np.float32) for name, a in arrays.items()}
        for sign in (2.0**-8, -(2.0**-8))
    )
    taken = {name: ahead[name].astype(float) - behind[name] for name in arrays}
    rise = model.loss_and_grad(ahead, prepared, y)[0] - model.loss_and_grad(behind, prepared, y)[0]
    foretold = sum(float((grad[name] * taken[name]).sum()) for name in arrays)
    assert rise == pytest.approx(foretold, abs=2e-5)


@pytest.mark.parametrize("classifier", ALL)
def test_fresh_arrays_have_the_agreed_layout(classifier):
    arrays, _, _ = draw(classifier, 1)
    assert tuple((name, a.shape) for name, a in arrays.items()) == classifier_layout(classifier)
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("classifier", ALL)
@pytest.mark.parametrize("cap", ["CACHE_BYTES", "PART_BYTES"])
def test_little_memory_changes_nothing_but_the_speed(classifier, cap, monkeypatch):
    arrays, z, y = draw(classifier, 50)
    model = classifier_model(classifier)
    loss, grad = model.loss_and_grad(arrays, model.prepare(z), y)
    monkeypatch.setattr(module, cap, 1000)
    small_loss, small_grad = model.loss_and_grad(arrays, model.prepare(z), y)
    assert small_loss == pytest.approx(loss, abs=1e-12)
    assert all(np.allclose(small_grad[n], grad[n], rtol=1e-5, atol=1e-6) for n in grad)


@pytest.mark.parametrize("classifier", ALL)
def test_some_prepared_rows_are_those_rows_prepared(classifier):
    arrays, z, _ = draw(classifier, 20)
    model = classifier_model(classifier)
    index = np.array([3, 17, 4])
    taken = model.predict(arrays, model.prepare(z).take(index))
    assert np.allclose(taken, model.predict(arrays, model.prepare(z[index])), rtol=0, atol=1e-12)


def test_certain_and_wrong_costs_much_but_stays_finite():
    classifier = Classifier(assemble(1, real_amplitudes(1, 0), parity(1)), "none", 2, "parity")
    model = classifier_model(classifier)
    arrays = {"angles": np.zeros(1, np.float32)}
    prepared = model.prepare(np.empty((1, 0), np.float32))
    loss, grad = model.loss_and_grad(arrays, prepared, np.array([1]))
    assert loss == pytest.approx(-np.log(1e-10))
    assert np.isfinite(grad["angles"]).all()


def test_a_linear_head_survives_huge_logits():
    arrays, z, y = draw(BINARY, 10)
    arrays["head"] = np.full((1, 4), 1e6, np.float32)
    model = classifier_model(BINARY)
    loss, grad = model.loss_and_grad(arrays, model.prepare(z), y)
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in grad.values())


def test_rows_that_do_not_fit_are_refused():
    model = classifier_model(BINARY)
    arrays, z, y = draw(BINARY, 5)
    with pytest.raises(LocalError, match=r"\(rows, 4\) is needed"):
        model.prepare(z[:, :3])
    with pytest.raises(LocalError, match="NaN"):
        model.prepare(np.full((2, 4), np.nan, np.float32))
    with pytest.raises(LocalError, match="not one of the 2 classes"):
        model.loss_and_grad(arrays, model.prepare(z), y + 2)
    with pytest.raises(LocalError, match="labels for 5 rows"):
        model.loss_and_grad(arrays, model.prepare(z), y[:4])


def test_a_classifier_that_makes_no_sense_is_refused_before_training():
    with pytest.raises(RemoteError, match="gate 0"):
        classifier_model(Classifier(Circuit(1, 0, 0, (Gate("h", (3,)),), ((0,),))))


def test_the_settings_name_the_engine(monkeypatch):
    monkeypatch.setenv("QFLEET_ENGINE", "abacus")
    with pytest.raises(ConfigError, match="no engine 'abacus'"):
        classifier_model(BINARY)
    assert classifier_model(BINARY, NUMPY)
