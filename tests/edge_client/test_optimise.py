import numpy as np
import pytest

from edge_client.optimise import adam


def test_the_first_step_goes_one_learning_rate_against_the_gradients_sign():
    optimiser = adam(0.1)
    arrays = {"w": np.array([1.0, 2.0, 3.0], np.float32)}
    grad = {"w": np.array([5.0, -0.001, 0.0], np.float32)}
    _, moved = optimiser.step(optimiser.init(arrays), arrays, grad)
    assert moved["w"].tolist() == pytest.approx([0.9, 2.1, 3.0], abs=1e-5)


def test_steps_are_the_papers_recurrence():
    optimiser = adam(0.01, decay=0.8, square_decay=0.9, floor=1e-8)
    arrays = {"w": np.zeros((2, 3), np.float32)}
    state = optimiser.init(arrays)
    rng = np.random.default_rng(0)
    mean, square, w = np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 3))
    for t in range(1, 6):
        g = rng.normal(size=(2, 3)).astype(np.float32)
        state, arrays = optimiser.step(state, arrays, {"w": g})
        mean, square = 0.8 * mean + 0.2 * g, 0.9 * square + 0.1 * g.astype(float) ** 2
        w -= 0.01 * (mean / (1 - 0.8**t)) / (np.sqrt(square / (1 - 0.9**t)) + 1e-8)
    assert state.steps == 5
    assert np.allclose(arrays["w"], w, rtol=0, atol=1e-6)


def test_a_step_changes_neither_the_old_state_nor_the_old_arrays():
    optimiser = adam(0.1)
    arrays = {"w": np.ones(2, np.float32)}
    state = optimiser.init(arrays)
    optimiser.step(state, arrays, {"w": np.ones(2, np.float32)})
    assert state.steps == 0
    assert not state.mean["w"].any()
    assert arrays["w"].tolist() == [1, 1]


def test_a_bowls_bottom_is_found():
    optimiser = adam(0.1)
    arrays = {"w": np.array([3.0, -4.0], np.float32)}
    state = optimiser.init(arrays)
    for _ in range(400):
        state, arrays = optimiser.step(state, arrays, {"w": 2 * (arrays["w"] - np.float32(1))})
    assert np.allclose(arrays["w"], 1, atol=1e-3)
