"""FedAdam's recurrence, and its state between rounds."""

import numpy as np
import pytest

from coordinator.server_adam import FLOOR, step
from proto.errors import RemoteError


def test_rounds_are_the_papers_recurrence():
    rng, state = np.random.default_rng(0), b""
    mean, square = np.zeros(3), np.full(3, FLOOR**2)
    for _ in range(5):
        change = rng.normal(size=3).astype(np.float32)
        state, moved = step(state, change, 0.2)
        mean = 0.9 * mean + 0.1 * change
        square = 0.99 * square + 0.01 * change.astype(float) ** 2
        assert moved == pytest.approx(0.2 * mean / (np.sqrt(square) + 1e-3), rel=1e-6)


def test_a_change_that_comes_again_and_again_gains_speed():
    state, moves = b"", []
    for _ in range(10):
        state, moved = step(state, np.full(2, 0.1, np.float32), 0.1)
        moves.append(float(moved[0]))
    assert moves[5] > moves[0] > 0


def test_a_state_of_another_model_is_refused():
    state, _ = step(b"", np.zeros(3, np.float32), 0.1)
    with pytest.raises(RemoteError, match="of 3 numbers; the model has 4"):
        step(state, np.zeros(4, np.float32), 0.1)
    with pytest.raises(RemoteError, match="cannot be read"):
        step(state[:-1], np.zeros(3, np.float32), 0.1)
