"""Rows are dealt unevenly, fairly counted, and a part is kept back."""

import numpy as np
import pytest

from edge_client.dataset import load
from firmware_sim.splits import MIN_ROWS, deal, dirichlet, write_csv
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


def test_a_deal_no_draw_gives_is_topped_up_and_stays_uneven():
    eights = load("sklearn:digits:3,8").y
    for seed in range(3):
        split = dirichlet(eights, 10, 0.3, seed)
        assert min(map(len, split.boxes)) >= MIN_ROWS
        everything = np.concatenate([*split.boxes, *split.test])
        assert sorted(everything.tolist()) == list(range(len(eights)))
        # Half of the boxes and more are nearly of one class.
        assert sum(abs(eights[rows].mean() - 0.5) > 0.3 for rows in split.boxes) >= 5


@pytest.mark.parametrize("how", ["iid", "dirichlet:0.3", "class", "size"])
def test_every_way_to_deal_serves_all_boxes_and_keeps_a_quarter_back(how):
    split = deal(how, Y, 10, 4)
    everything = np.concatenate([*split.boxes, *split.test])
    assert sorted(everything.tolist()) == list(range(len(Y)))
    assert min(map(len, split.boxes)) >= MIN_ROWS
    assert (len(split.boxes), len(split.test)) == (10, 10)
    again = deal(how, Y, 10, 4)
    assert all(np.array_equal(a, b) for a, b in zip(split.boxes, again.boxes, strict=True))


def test_even_boxes_are_alike_in_size_and_classes():
    split = deal("iid", Y, 5, 0)
    assert {len(rows) for rows in split.boxes} <= {85, 86}
    assert all(abs(Y[rows].mean() - Y.mean()) < 0.15 for rows in split.boxes)


def test_by_class_each_box_holds_few_classes_and_tests_on_the_same():
    digits = load("sklearn:digits").y
    split = deal("class", digits, 10, 0)
    for rows, test in zip(split.boxes, split.test, strict=True):
        held = set(digits[rows].tolist())
        assert len(held) <= 4  # two pieces, each across one border at most
        assert set(digits[test].tolist()) <= held


def test_by_size_the_first_box_holds_most_and_the_mix_is_the_same():
    split = deal("size", Y, 5, 0)
    sizes = [len(rows) for rows in split.boxes]
    assert sizes == sorted(sizes, reverse=True)
    spare = np.array(sizes) - MIN_ROWS
    assert spare[0] / spare[4] == pytest.approx(5, abs=0.5)
    assert abs(Y[split.boxes[0]].mean() - Y.mean()) < 0.1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("evenly", "by dirichlet:<alpha>, class, iid, size, not by 'evenly'"),
        ("dirichlet", "needs a number above 0: dirichlet:0.5"),
        ("dirichlet:-1", "needs a number above 0"),
        ("dirichlet:nan", "needs a number above 0"),
    ],
)
def test_another_way_to_deal_is_refused_with_those_there_are(how, said):
    with pytest.raises(ConfigError, match=said):
        deal(how, Y, 5, 0)


def test_a_boxs_file_reads_back_as_its_rows(tmp_path):
    table = load("sklearn:iris")
    rows = np.array([3, 77, 149])
    write_csv(tmp_path / "box.csv", table, rows, "kind")
    back = load(str(tmp_path / "box.csv"), "kind")
    assert np.array_equal(back.X, table.X[rows])
    assert back.labels == tuple(table.labels[row] for row in rows)
