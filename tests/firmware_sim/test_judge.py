"""The harness judges each round's model on rows no box held, by a way of its own."""

from pathlib import Path

import numpy as np
import pytest

from coordinator.store import Store
from coordinator.taskfile import Data, Model, RoundsTable, TaskFile, Train
from edge_client import config
from edge_client.dataset import Table
from edge_client.predict import predictor
from firmware_sim.fleet import Fleet
from firmware_sim.judge import judge, worst_decile
from firmware_sim.splits import Split, dirichlet, write_csv
from proto.errors import ConfigError

ROUNDS = 3
TASK = TaskFile(
    job="job",
    data=Data(classes=("high", "low"), columns=("a", "b", "c"), components=2),
    model=Model(reps=1),
    training=Train(steps=8),
    rounds=RoundsTable(count=ROUNDS, quorum=2, cohort=2),
)


def table_of_two_classes() -> Table:
    """A line parts them; one row in ten is on the wrong side, so that no model is perfect."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
    y[::10] = 1 - y[::10]
    return Table(X, y, ("a", "b", "c"), ("high", "low"))


@pytest.fixture(scope="module")
def table() -> Table:
    return table_of_two_classes()


@pytest.fixture(scope="module")
def split(table: Table) -> Split:
    return dirichlet(table.y, 2, 5.0, seed=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, table: Table, split: Split) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    store = fleet.start_coordinator()
    for number, rows in enumerate(split.boxes, 1):
        path = fleet.home / f"box-{number}.csv"
        write_csv(path, table, rows, "level")
        fleet.add_box(f"box-{number}", config.EdgeConfig(data=config.Data(source=str(path))))
    fleet.submit(TASK)
    fleet.run(until=lambda: store.job("job").phase == "finished")
    return fleet


def accuracy_on_box(fleet: Fleet, table: Table, rows: np.ndarray) -> float:
    """As the box itself would predict with the model it holds."""
    found = predictor(fleet.home / "box-1", "job")
    best = found.probabilities(table.X[rows]).argmax(axis=1)
    classes = found.task.data.classes
    return float(np.mean([classes[k] == table.labels[r] for k, r in zip(best, rows, strict=True)]))


def test_each_model_is_judged_on_the_rows_kept_back(trained, table, split):
    verdict = judge(trained.store, "job", table, split)
    assert len(verdict.by_round) == 1 + ROUNDS
    # Only the last model is still with the boxes; they find the same, by their own way.
    test = np.concatenate(split.test)
    assert verdict.by_round[-1] == pytest.approx(accuracy_on_box(trained, table, test))
    assert verdict.by_round[-1] > verdict.by_round[0]
    assert 0.75 < verdict.pooled < 1.0


def test_the_box_served_worst_is_found_by_its_own_test_rows(trained, table, split):
    verdict = judge(trained.store, "job", table, split)
    served = [accuracy_on_box(trained, table, rows) for rows in split.test]
    assert verdict.worst_decile == pytest.approx(min(served))
    assert min(served) < max(served)


def test_a_box_without_test_rows_of_its_own_is_no_failure(trained, table, split):
    bare = Split(split.boxes, (*split.test, np.array([], np.intp)))
    assert judge(trained.store, "job", table, bare) == judge(trained.store, "job", table, split)


def test_rows_in_training_do_not_count(trained, table, split):
    spoilt = table.y.copy()
    held = np.concatenate(split.boxes)
    spoilt[held] = 1 - spoilt[held]
    told = judge(trained.store, "job", Table(table.X, spoilt, table.columns, table.classes), split)
    honest = judge(trained.store, "job", table, split)
    assert told.by_round == honest.by_round
    assert told.pooled < 0.5 < honest.pooled


def test_a_job_without_a_trained_model_is_told_in_words(
    tmp_path: Path, table: Table, split: Split
) -> None:
    fleet = Fleet(tmp_path)
    store: Store = fleet.start_coordinator()
    with pytest.raises(ConfigError, match="no job 'job'"):
        judge(store, "job", table, split)
    fleet.submit(TASK)
    with pytest.raises(ConfigError, match="before any round of training"):
        judge(store, "job", table, split)
    fleet.run(until=lambda: store.model("job", "model") is not None)
    with pytest.raises(ConfigError, match="before any round of training"):
        judge(store, "job", table, split)


def test_the_worst_decile_is_a_mean_of_the_lowest_tenth():
    assert worst_decile([0.9, 0.1, 0.5]) == pytest.approx(0.1)
    assert worst_decile([n / 19 for n in range(19)]) == 0.0
    assert worst_decile([n / 20 for n in reversed(range(20))]) == pytest.approx(0.025)
