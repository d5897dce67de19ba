import numpy as np
import pytest

from edge_client.hybrid.temperature import COLDEST, WARMEST, log_chances, loss, temperature
from proto.errors import LocalError


def honest(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose own chances the labels are drawn by."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, 3), scale=2.0)
    chances = np.exp(log_chances(logits, 1.0))
    return logits, np.array([rng.choice(3, p=row) for row in chances])


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 4.0])
def test_a_teacher_that_is_too_sure_is_cooled_to_what_it_knows(too_sure):
    logits, y = honest(4000)
    assert temperature(too_sure * logits, y) == pytest.approx(too_sure, rel=0.08)


def test_no_other_temperature_fits_better():
    logits, y = honest(60)
    best, smooth = temperature(logits, y), (60 * np.eye(3)[y] + 1) / 63
    losses = [
        -(smooth * log_chances(logits, best * f)).sum(axis=1).mean()
        for f in (0.8, 0.99, 1.0, 1.01, 1.25)
    ]
    assert min(losses) == losses[2]


def test_the_shift_of_a_rows_logits_means_nothing():
    logits, y = honest(60)
    assert temperature(logits + 1e3, y) == pytest.approx(temperature(logits, y), rel=1e-6)


@pytest.mark.parametrize("rows", [2, 20, 200])
def test_a_teacher_always_right_is_believed_as_far_as_so_many_rows_can_tell(rows):
    y = np.arange(rows) % 2
    logits = 9.0 * np.eye(2)[y]
    said = log_chances(logits, temperature(logits, y))
    assert np.exp(loss(said, y)) == pytest.approx((rows + 2) / (rows + 1))


def test_a_teacher_always_wrong_is_believed_as_little_as_possible():
    y = np.array([0, 1])
    assert temperature(0.3 * np.eye(2)[1 - y], y) == pytest.approx(WARMEST)


def test_a_teacher_that_hardly_says_anything_is_made_no_surer_than_the_bound():
    y = np.arange(400) % 2
    assert temperature(1e-3 * np.eye(2)[y], y) == pytest.approx(COLDEST)


def test_without_rows_a_teacher_stays_as_it_is():
    assert temperature(np.empty((0, 2)), np.empty(0, np.int64)) == 1.0


def test_a_broken_teacher_is_refused():
    with pytest.raises(LocalError, match="NaN"):
        temperature(np.array([[np.nan, 1.0]]), np.array([0]))
