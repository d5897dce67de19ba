"""The guided tour: three boxes, a coordinator and a broker in memory train one circuit together."""

from pathlib import Path

import numpy as np
import pytest

from coordinator.taskfile import Data, RoundsTable, TaskFile
from edge_client import config
from edge_client.predict import predictor
from firmware_sim.fleet import Fleet

TASK = TaskFile(
    job="tour",
    data=Data(classes=("low", "high"), columns=("a", "b", "c"), components=2),
    rounds=RoundsTable(count=1, quorum=3, cohort=3),
)


def private_rows(path: Path, seed: int) -> config.EdgeConfig:
    """Forty rows that only one box ever sees."""
    X = np.random.default_rng(seed).normal(size=(40, 3)) + seed / 10
    lines = [f"{a},{b},{c},{'high' if a + b > 0 else 'low'}" for a, b, c in X]
    path.write_text("a,b,c,level\n" + "\n".join(lines))
    return config.EdgeConfig(data=config.Data(source=str(path)))


def traces(row: str) -> list[bytes]:
    """A row in the clear: cells as text or float64; all of it as float32 (chance finds 4 bytes)."""
    cells = row.split(",")[:3]
    wide, narrow = np.array(cells, "f8"), np.array(cells, "f4")
    forms = [*wide, *wide.byteswap(), narrow, narrow.byteswap()]
    return [*map(str.encode, cells), *(form.tobytes() for form in forms)]


def test_three_boxes_learn_one_model_and_keep_their_rows(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    wire = bytearray()
    fleet.broker.tap = lambda _topic, payload: wire.extend(payload)
    store = fleet.start_coordinator()

    # Each box makes its own keys and joins by a one-use token.
    for seed, name in enumerate(("pi-1", "pi-2", "pi-3")):
        fleet.add_box(name, private_rows(tmp_path / f"{name}.csv", seed))

    # The owner hands in a task. Rounds follow: moments, one of training, one of evaluation.
    fleet.submit(TASK)
    fleet.run(until=lambda: store.job("tour").phase == "finished")

    assert [(r.kind, r.included) for r in store.rounds("tour")] == [(0, 3), (1, 3), (2, 3)]
    assert len({m.data for m in store.model_history("tour")}) == 2

    # Every box now holds the fleet's newest model and predicts without a network.
    chances = predictor(tmp_path / "pi-2", "tour").probabilities(np.zeros((5, 3)))
    assert chances.sum(axis=1) == pytest.approx(1.0)

    # The broker read the task, and sealed frames: no row is anywhere in what it carried.
    assert b"tour" in wire
    rows = [row for path in tmp_path.glob("*.csv") for row in path.read_text().splitlines()[1:]]
    assert [any(t in wire for t in traces(row)) for row in rows] == [False] * 120
