import numpy as np
import pytest

from edge_client.circuit.classifier import classifier_model
from edge_client.model import Model
from edge_client.train import Hyper, Rows, evaluate, local_update
from proto.ansatz import default_classifier
from proto.errors import LocalError

MODEL = classifier_model(default_classifier(2, reps=1))


def clouds(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds a straight line tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    return (rng.normal(size=(rows, 2)) * 0.4 + 2.0 * y[:, None] - 1).astype(np.float32), y


def example() -> tuple[dict[str, np.ndarray], Rows]:
    return MODEL.init(np.random.default_rng(1)), Rows(*clouds(60), *clouds(20, 1))


def test_training_lowers_the_loss_and_learns_the_task():
    arrays, rows = example()
    update = local_update(MODEL, arrays, rows, Hyper(60, 0.1))
    assert update.last_loss < update.first_loss / 2
    assert evaluate(MODEL, update.arrays, rows.validation_z, rows.validation_y).accuracy > 0.95
    assert (update.gradients, update.rows) == (60, 60)


@pytest.mark.parametrize("batch", [0, 16])
def test_the_losses_reported_are_of_the_received_and_of_the_trained_model(batch):
    arrays, rows = example()
    update = local_update(MODEL, arrays, rows, Hyper(5, 0.1, batch))
    received = evaluate(MODEL, arrays, rows.validation_z, rows.validation_y)
    assert update.first_loss == evaluate(MODEL, arrays, rows.z, rows.y).loss
    assert update.last_loss == evaluate(MODEL, update.arrays, rows.z, rows.y).loss
    assert (update.validation_loss, update.validation_accuracy) == (
        received.loss,
        received.accuracy,
    )


def test_validation_rows_never_touch_the_training():
    arrays, rows = example()
    other = Rows(rows.z, rows.y, rows.validation_z * 9, 1 - rows.validation_y)
    one, two = (local_update(MODEL, arrays, r, Hyper(5, 0.1)) for r in (rows, other))
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in arrays)


@pytest.mark.parametrize("batch", [0, 7])
def test_the_same_seed_gives_the_same_update_to_the_bit(batch):
    arrays, rows = example()
    one, two = (local_update(MODEL, arrays, rows, Hyper(9, 0.1, batch, 3)) for _ in range(2))
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in arrays)


def test_another_seed_draws_other_batches():
    arrays, rows = example()
    one, two = (local_update(MODEL, arrays, rows, Hyper(9, 0.1, 7, seed)) for seed in (3, 4))
    assert not np.array_equal(one.arrays["angles"], two.arrays["angles"])


def test_no_steps_leave_the_model_as_received():
    arrays, rows = example()
    update = local_update(MODEL, arrays, rows, Hyper(0, 0.1))
    assert update.first_loss == update.last_loss
    assert all(np.array_equal(update.arrays[name], arrays[name]) for name in arrays)


def test_without_validation_rows_there_are_no_validation_figures():
    arrays, rows = example()
    bare = Rows(rows.z, rows.y, rows.z[:0], rows.y[:0])
    update = local_update(MODEL, arrays, bare, Hyper(1, 0.1))
    assert update.validation_loss is None
    assert update.validation_accuracy is None


def test_progress_tells_each_step_and_its_loss():
    arrays, rows = example()
    told: list[tuple[int, float]] = []
    hyper = Hyper(4, 0.1)
    update = local_update(MODEL, arrays, rows, hyper, lambda *step: told.append(step))
    assert [step for step, _ in told] == [1, 2, 3, 4]
    assert told[0][1] == pytest.approx(update.first_loss, abs=1e-9)


def test_a_pass_over_the_rows_uses_no_row_twice():
    seen: list[int] = []

    class Numbered:
        def __init__(self, index: np.ndarray) -> None:
            self.index = index
            self.rows = len(index)

        def take(self, index: np.ndarray) -> "Numbered":
            return Numbered(self.index[index])

    def loss_and_grad(arrays, part: Numbered, y):
        seen.extend(part.index.tolist())
        return 0.0, {"w": np.zeros(1, np.float32)}

    model = Model(
        init=lambda rng: {"w": np.zeros(1, np.float32)},
        prepare=lambda z: Numbered(np.arange(len(z))),
        loss_and_grad=loss_and_grad,
        predict=lambda arrays, part: np.full((part.rows, 2), 0.5),
    )
    _, rows = example()
    local_update(model, {"w": np.zeros(1, np.float32)}, rows, Hyper(7, 0.1, 8))
    assert len(seen) == len(set(seen)) == 56


def test_a_box_with_one_class_only_trains_all_the_same():
    arrays, rows = example()
    ones = Rows(rows.z, np.ones_like(rows.y), rows.z[:0], rows.y[:0])
    update = local_update(MODEL, arrays, ones, Hyper(5, 0.1))
    assert update.last_loss < update.first_loss


def test_an_evaluation_counts_right_answers():
    arrays, rows = example()
    right = MODEL.predict(arrays, MODEL.prepare(rows.z)).argmax(axis=1)
    assert evaluate(MODEL, arrays, rows.z, right).accuracy == 1.0
    assert evaluate(MODEL, arrays, rows.z, 1 - right).accuracy == 0.0


def test_rows_or_settings_that_make_no_sense_are_refused():
    arrays, rows = example()
    none = Rows(rows.z[:0], rows.y[:0], rows.z, rows.y)
    with pytest.raises(LocalError, match="no rows"):
        local_update(MODEL, arrays, none, Hyper(1, 0.1))
    with pytest.raises(LocalError, match="labels for"):
        evaluate(MODEL, arrays, rows.z, rows.y[:3])
    for values in ((-1, 0.1), (1, 0.0), (1, float("nan")), (1, 0.1, -2)):
        with pytest.raises(LocalError):
            Hyper(*values)
