"""Rows are dealt unevenly, fairly counted, and a part is kept back."""

import numpy as np
import pytest

from edge_client.dataset import load
from firmware_sim.judge import worst_decile
from firmware_sim.splits import MIN_ROWS, dirichlet, write_csv
from proto.errors import ConfigError

Y = load("sklearn:breast_cancer").y


@pytest.mark.parametrize("seed", range(5))
def test_each_row_is_dealt_once_or_kept_back(seed):
    split = dirichlet(Y, 8, 0.5, seed)
    everything = np.concatenate([*split.boxes, *split.test])
    assert sorted(everything.tolist()) == list(range(len(Y)))
    assert min(len(part) for part in split.boxes) >= MIN_ROWS == 20
    assert sum(len(part) for part in split.test) == round(0.25 * len(Y))


def test_the_same_seed_deals_the_same_rows_and_another_does_not():
    one, same, other = (dirichlet(Y, 8, 0.5, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one.boxes, same.boxes, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one.boxes, other.boxes, strict=False))


def test_a_small_alpha_deals_unevenly_and_a_large_one_evenly():
    def spread(alpha: float) -> float:
        shares = [
            Y[part].mean() for seed in range(5) for part in dirichlet(Y, 6, alpha, seed).boxes
        ]
        return float(np.std(shares))

    assert spread(0.5) > 3 * spread(100.0)


def test_more_boxes_than_rows_allow_are_refused_with_the_most_there_can_be():
    with pytest.raises(ConfigError, match="enough for 21 boxes of 20 rows"):
        dirichlet(Y, 30, 0.5, 0)


def test_a_boxs_file_reads_back_as_its_rows(tmp_path):
    table = load("sklearn:iris")
    rows = np.array([3, 77, 149])
    write_csv(tmp_path / "box.csv", table, rows, "kind")
    back = load(str(tmp_path / "box.csv"), "kind")
    assert np.array_equal(back.X, table.X[rows])
    assert back.labels == tuple(table.labels[row] for row in rows)


def test_the_worst_decile_is_the_lowest_tenth_or_the_lowest_one():
    assert worst_decile([0.9, 0.5, 0.8]) == 0.5
    assert worst_decile([n / 20 for n in range(20)]) == pytest.approx(0.025)
