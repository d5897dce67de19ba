import numpy as np
import pytest

from edge_client.hybrid.reading import pooled, signs, sketched
from proto.errors import LocalError

BASE = bytes(range(32))
GOLDEN = [1, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1]


def test_the_first_token_and_the_size_of_the_others_count_for_nothing():
    states = np.random.default_rng(0).normal(size=(5, 16))
    massive = states * np.array([[2e4], [1], [300], [5], [1]])
    massive[0, 3] = 6e4
    assert np.allclose(pooled(states), pooled(massive))


def test_each_token_has_a_mean_square_of_one():
    assert pooled(np.array([[9.0, 9.0], [3.0, -4.0]])) == pytest.approx(
        np.array([3.0, -4.0]) / np.sqrt(12.5)
    )


def test_a_text_of_one_token_and_a_state_of_zeros_are_read_too():
    assert pooled(np.array([[2.0, 2.0]])).tolist() == [1.0, 1.0]
    assert pooled(np.zeros((3, 4))).tolist() == [0.0] * 4


@pytest.mark.parametrize("bad", [np.zeros((0, 4)), np.zeros(4), np.full((2, 4), np.nan)])
def test_states_that_are_none_are_refused(bad):
    with pytest.raises(LocalError, match="trunk state"):
        pooled(bad)


def test_the_sketch_is_the_same_everywhere_and_another_for_another_base():
    assert np.array_equal(signs(BASE, 576, 64), signs(BASE, 576, 64))
    assert not np.array_equal(signs(BASE, 576, 64), signs(BASE[::-1], 576, 64))
    # What every release has to give again: boxes of different releases share a feature map.
    assert (signs(BASE, 6, 4) > 0).astype(int).ravel().tolist() == GOLDEN


def test_a_sketch_keeps_distances():
    rows = np.random.default_rng(1).normal(size=(30, 576))
    small = sketched(rows, BASE, 128)
    pairs = [(i, j) for i in range(30) for j in range(i)]
    ratios = [
        np.linalg.norm(small[i] - small[j]) / np.linalg.norm(rows[i] - rows[j]) for i, j in pairs
    ]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)
    assert 0.75 < min(ratios) < max(ratios) < 1.25
