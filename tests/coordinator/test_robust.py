"""A few bad boxes move a median or a trimmed mean no further than the good ones lie."""

import itertools

import numpy as np
import pytest

from coordinator import aggregation, robust
from coordinator.robust import Held, add, init, median, trimmed_mean
from proto.errors import RemoteError

SIZE = 4


def held(*deltas: np.ndarray) -> Held:
    state = init(SIZE)
    for delta in deltas:
        state = add(state, delta.astype(np.float32), 10)
    return state


def honest(boxes: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [0.5 + 0.1 * rng.normal(size=SIZE) for _ in range(boxes)]


@pytest.mark.parametrize("finish", [median, trimmed_mean])
def test_one_liar_among_five_moves_the_result_within_the_honest_range(finish):
    good = honest(4)
    for lie in (200.0, -200.0):
        found = finish(held(*good, np.full(SIZE, lie)))
        assert np.all(found >= np.min(good, axis=0))
        assert np.all(found <= np.max(good, axis=0))
    total = aggregation.init(SIZE)
    for delta in (*good, np.full(SIZE, 200.0)):
        total = aggregation.add(total, delta.astype(np.float32), 10)
    assert np.all(aggregation.finish(total) > 10)  # what the mean makes of the same updates


def test_the_median_is_the_middle_value_of_each_number():
    deltas = [np.array([k, -k, 0, 10.0 * k]) for k in (1, 5, 2)]
    assert median(held(*deltas)).tolist() == [2, -2, 0, 20]


def test_the_trimmed_mean_leaves_a_fifth_out_at_each_end():
    deltas = [np.full(SIZE, value) for value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 100)]
    assert trimmed_mean(held(*deltas)).tolist() == [4.5] * SIZE
    assert trimmed_mean(held(*(np.full(SIZE, v) for v in (0, 1, 50)))).tolist() == [1] * SIZE


@pytest.mark.parametrize("finish", [median, trimmed_mean])
def test_the_order_of_arrival_changes_no_bit(finish):
    orders = itertools.permutations(honest(4))
    assert len({finish(held(*order)).tobytes() for order in orders}) == 1


@pytest.mark.parametrize("finish", [median, trimmed_mean])
def test_one_box_alone_gives_its_own_update_and_none_gives_an_error(finish):
    (delta,) = honest(1)
    assert np.array_equal(finish(held(delta)), delta.astype(np.float32))
    with pytest.raises(RemoteError, match="no update"):
        finish(init(SIZE))


def test_what_the_mean_refuses_is_refused_here_too():
    for delta, rows, said in (
        (np.ones(SIZE + 1), 1, "5 parameters; the model has 4"),
        (np.full(SIZE, np.nan), 1, "not finite"),
        (np.full(SIZE, 300.0), 1, "by more than"),
        (np.ones(SIZE), 0, "cannot be weighed"),
    ):
        with pytest.raises(RemoteError, match=said):
            add(init(SIZE), delta.astype(np.float32), rows)


def test_the_updates_held_at_once_are_bounded(monkeypatch):
    monkeypatch.setattr(robust, "MAX_HELD", 2 * SIZE * 4)
    with pytest.raises(RemoteError, match=r"lower rounds\.cohort"):
        held(*honest(3))
