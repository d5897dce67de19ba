from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from msgspec.structs import replace

from firmware_sim.behaviour import PRESETS, Life
from firmware_sim.hidden import FAULTS, Fault
from firmware_sim.links import Line, kind
from firmware_sim.population import Client
from firmware_sim.telemetry import CLASSES, COLUMNS, fails, telemetry
from proto.errors import ConfigError

HOUR = 3600.0


def board(fault: Fault | None = None, name: str = "pi-4", seed: int = 0) -> Client:
    life = Life(PRESETS["mains"], seed, 0.0)
    line = Line(kind("ethernet"), seed, (), float("inf"))
    return Client(1, "c", "g", name, line, life, 40, seed, fault)


def test_the_same_seed_gives_the_same_rows_and_another_gives_others():
    (one, split), (same, _) = telemetry(2, 20, 7), telemetry(2, 20, 7)
    assert one.texts == same.texts
    assert np.array_equal(one.X, same.X)
    assert one.texts != telemetry(2, 20, 8)[0].texts
    assert [len(part) for part in (*split.boxes, *split.test)] == [20, 20, 40, 40]


def test_half_of_each_boxs_rows_are_of_boards_about_to_fail():
    table, split = telemetry(3, 30, 0)
    for part in (*split.boxes, *split.test):
        assert Counter(table.y[part].tolist()) == {0: len(part) // 2, 1: len(part) // 2}
    assert (table.classes, table.columns) == (CLASSES, COLUMNS)


def test_no_row_of_the_test_is_one_that_a_box_holds():
    table, split = telemetry(3, 40, 1)
    rows = {(table.texts[i], *table.X[i]) for part in split.boxes for i in part}
    assert not rows & {(table.texts[i], *table.X[i]) for part in split.test for i in part}


def test_boxes_read_different_words():
    table, split = telemetry(3, 60, 0)
    words = [{w for i in part for w in table.texts[i].split()} for part in split.boxes]
    assert all(len(a & b) / len(a | b) < 0.5 for a, b in pairwise(words))


def test_a_board_without_a_fault_holds():
    assert not any(fails(board(seed=s), at, 0.5) for s in range(5) for at in (HOUR, 9 * HOUR))


@pytest.mark.parametrize("name", FAULTS)
def test_a_full_grown_fault_fails_boards_except_one_that_only_costs_money(name):
    device = "pi-zero-2w" if name == "memory-leak" else "pi-4"
    grown = Fault(name, since=-9 * HOUR)
    fates = [fails(board(grown, device, s), 3 * HOUR, 0.75) for s in range(20)]
    assert np.mean(fates) == 0 if name == "metered-link" else np.mean(fates) > 0.7


def test_a_fault_that_begins_later_fails_nobody_yet():
    later = replace(board(Fault("weak-supply", since=5 * HOUR)), seed=3)
    assert not fails(later, HOUR, 0.6)


def test_words_tell_more_than_sensors_alone():
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    table, split = telemetry(4, 80, 0)
    train, test = np.concatenate(split.boxes), np.concatenate(split.test)
    words = TfidfVectorizer().fit_transform(table.texts)
    scaled = (table.X - table.X[train].mean(axis=0)) / table.X[train].std(axis=0)

    def score(rows) -> float:
        model = LogisticRegression(C=10, max_iter=1000).fit(rows[train], table.y[train])
        return model.score(rows[test], table.y[test])

    assert score(words) > score(scaled) + 0.1
    assert score(words) < 0.95


@pytest.mark.parametrize(("boxes", "rows"), [(0, 20), (2, 1)])
def test_too_little_is_refused(boxes, rows):
    with pytest.raises(ConfigError, match="at least two rows"):
        telemetry(boxes, rows, 0)
