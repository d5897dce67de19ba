import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.aggregation import MAX_DELTA, MAX_WEIGHT, add, add_all, check, finish, init
from edge_client.circuit.classifier import classifier_model
from edge_client.train import Hyper, Rows, local_update
from proto.ansatz import default_classifier
from proto.errors import RemoteError
from quantization.arrays import delta as change
from quantization.arrays import flatten, layout_of

SIZE = 5
DELTAS = st.lists(st.floats(-MAX_DELTA, MAX_DELTA, width=32), min_size=SIZE, max_size=SIZE).map(
    lambda numbers: np.array(numbers, np.float32)
)
UPDATES = st.lists(st.tuples(DELTAS, st.integers(1, 10**6)), min_size=1, max_size=8)


def mean(updates) -> np.ndarray:
    total = init(SIZE)
    for delta, weight in updates:
        total = add(total, delta, weight)
    return finish(total)


@settings(deadline=None)
@given(UPDATES.flatmap(lambda updates: st.tuples(st.just(updates), st.permutations(updates))))
def test_the_mean_is_the_same_to_the_bit_in_any_order(orders):
    first, second = orders
    assert mean(first).tobytes() == mean(second).tobytes()


@settings(deadline=None)
@given(UPDATES)
def test_added_together_or_one_by_one_the_mean_is_the_same_to_the_bit(updates):
    deltas, weights = zip(*updates, strict=True)
    assert (
        finish(add_all(init(SIZE), np.array(deltas), weights)).tobytes() == mean(updates).tobytes()
    )


@settings(deadline=None)
@given(UPDATES)
def test_the_mean_is_the_weighted_mean_to_the_last_bits_of_a_float32(updates):
    weights = np.array([weight for _, weight in updates], np.float64)
    deltas = np.array([delta for delta, _ in updates], np.float64)
    exact = (deltas * weights[:, None]).sum(axis=0) / weights.sum()
    assert np.all(np.abs(mean(updates) - exact) <= 2.0**-23 * np.maximum(1.0, np.abs(exact)))


def test_a_box_alone_gives_its_own_update_back():
    delta = np.array([0.5, -0.25, 1e-3, 0.0, 3.0], np.float32)
    assert mean([(delta, 7)]) == pytest.approx(delta, abs=2.0**-24)


def test_twice_the_rows_count_twice():
    one, zero = np.ones(SIZE, np.float32), np.zeros(SIZE, np.float32)
    assert mean([(one, 20), (zero, 10)]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(number):
    delta = np.zeros(SIZE, np.float32)
    delta[3] = number
    with pytest.raises(RemoteError, match="not finite"):
        add(init(SIZE), delta, 1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_no_honest_box_would_send_is_refused_not_clipped(sign):
    edge = np.full(SIZE, sign * MAX_DELTA, np.float32)
    check(edge)
    with pytest.raises(RemoteError, match="by more than 256"):
        add(init(SIZE), np.nextafter(edge, np.float32(sign * np.inf)), 1)


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
def test_an_update_of_another_size_is_refused(size):
    with pytest.raises(RemoteError, match=f"{size} parameters; the model has {SIZE}"):
        add(init(SIZE), np.zeros(size, np.float32), 1)


@pytest.mark.parametrize("rows", [0, -1, MAX_WEIGHT + 1])
def test_an_update_of_no_rows_or_of_absurdly_many_is_refused(rows):
    with pytest.raises(RemoteError, match="cannot be weighed"):
        add(init(SIZE), np.zeros(SIZE, np.float32), rows)


def test_a_rounds_rows_are_capped_so_that_the_sum_cannot_overflow():
    worst = np.full(SIZE, -MAX_DELTA, np.float32)
    total = add(init(SIZE), worst, MAX_WEIGHT)
    assert finish(total).tolist() == worst.tolist()
    with pytest.raises(RemoteError, match="cannot be weighed"):
        add(total, worst, 1)


def test_a_refused_update_leaves_the_sum_as_it_was():
    total = add(init(SIZE), np.ones(SIZE, np.float32), 3)
    with pytest.raises(RemoteError):
        add(total, np.full(SIZE, np.nan, np.float32), 3)
    assert (total.weight, total.count, finish(total).tolist()) == (3, 1, [1.0] * SIZE)


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(RemoteError, match="no update"):
        finish(init(SIZE))


def test_a_plain_step_of_boxes_of_one_class_each_is_a_step_on_all_their_rows():
    model = classifier_model(default_classifier(2, reps=1))
    arrays, y = model.init(np.random.default_rng(1)), np.repeat([0, 1], [50, 20])
    z = (np.random.default_rng(0).normal(size=(70, 2)) + y[:, None]).astype(np.float32)

    def step(rows: np.ndarray) -> tuple[np.ndarray, int]:
        own = Rows(z[rows], y[rows], z[:0], y[:0])
        update = local_update(model, arrays, own, Hyper(1, 0.5, optimiser="sgd"))
        return flatten(change(update.arrays, arrays), layout_of(arrays)), update.rows

    apart = [step(np.flatnonzero(y == label)) for label in (0, 1)]
    together, _ = step(np.arange(70))
    total = init(together.size)
    for delta, rows in apart:
        total = add(total, delta, rows)
    assert finish(total) == pytest.approx(together, abs=1e-6)
    assert np.abs(together).max() > 0.01
