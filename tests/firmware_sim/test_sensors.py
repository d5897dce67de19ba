import numpy as np
import pytest

from firmware_sim import sensors
from firmware_sim.population import populate
from firmware_sim.scenario import parse

FLEET = parse('name = "x"\n[work]\nnoisy = 0.3\n[[group]]\nname = "a"\ncount = 60\nboard = "pi-4"')
CLIENTS = populate(FLEET, 2)


def test_rows_are_the_clients_own_and_the_same_for_a_seed() -> None:
    first = sensors.rows(CLIENTS[0], 0.5, 1)
    assert first.X.shape == (CLIENTS[0].rows, 6)
    assert np.array_equal(first.X, sensors.rows(CLIENTS[0], 0.5, 1).X)
    assert not np.array_equal(first.X[:20], sensors.rows(CLIENTS[1], 0.5, 1).X[:20])
    assert not np.array_equal(first.X, sensors.rows(CLIENTS[0], 0.5, 2).X)


def test_a_small_skew_number_means_uneven_classes() -> None:
    uneven = np.std([sensors.rows(c, 0.1, 1).y.mean() for c in CLIENTS])
    even = np.std([sensors.rows(c, 100.0, 1).y.mean() for c in CLIENTS])
    assert uneven > 3 * even


def test_drift_moves_readings_by_as_much_as_it_says() -> None:
    still, moved = sensors.rows(CLIENTS[0], 0.5, 1), sensors.rows(CLIENTS[0], 0.5, 1, drift=2.0)
    assert np.linalg.norm((moved.X - still.X).mean(axis=0)) == pytest.approx(2.0)


def test_a_straight_line_learns_nothing_and_a_curve_does() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    neighbors = pytest.importorskip("sklearn.neighbors")
    clean = [sensors.rows(c, 5.0, 1) for c in CLIENTS if not c.noisy]
    X, y = np.concatenate([t.X for t in clean]), np.concatenate([t.y for t in clean])
    held = sensors.held_back(1)
    assert linear_model.LogisticRegression().fit(X, y).score(held.X, held.y) < 0.6
    assert neighbors.KNeighborsClassifier().fit(X, y).score(held.X, held.y) > 0.9


def test_noisy_clients_have_labels_that_say_little() -> None:
    assert 5 < sum(c.noisy for c in CLIENTS) < 35


def test_a_teacher_the_target_and_the_end_are_judged_on_rows_of_their_own() -> None:
    parts = [sensors.for_teacher(4), sensors.held_back(4), sensors.for_the_end(4)]
    seen = [{row.tobytes() for row in part.X} for part in parts]
    assert [len(found) for found in seen] == [500, 2000, 2000]
    assert len(set.union(*seen)) == 4500
    assert all(part.y.mean() == 0.5 for part in parts)
    other = {row.tobytes() for row in sensors.for_teacher(5).X}
    assert not other & seen[0]
