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
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 3)) + seed / 10
    lines = [f"{a},{b},{c},{'high' if a + b > 0 else 'low'}" for a, b, c in X]
    path.write_text("a,b,c,level\n" + "\n".join(lines))
    return config.EdgeConfig(data=config.Data(source=str(path)))


def test_three_boxes_learn_one_model_and_keep_their_rows(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    seen: list[bytes] = []
    fleet.broker.tap = lambda _topic, payload: seen.append(payload)
    store = fleet.start_coordinator()

    # Each box makes its own keys and joins by a one-use token.
    for seed, name in enumerate(("pi-1", "pi-2", "pi-3")):
        fleet.add_box(name, private_rows(tmp_path / f"{name}.csv", seed))

    # The owner hands in a task. Rounds follow: moments, one of training, one of evaluation.
    fleet.submit(TASK)
    fleet.run(until=lambda: store.job("tour").phase == "finished")

    rounds = store.rounds("tour")
    assert [(r.kind, r.outcome, r.included) for r in rounds] == [
        (0, "done", 3),
        (1, "done", 3),
        (2, "done", 3),
    ]
    first, last = store.model_history("tour")
    assert first.data != last.data

    # Every box now holds the fleet's newest model and predicts without a network.
    chances = predictor(tmp_path / "pi-2", "tour").probabilities(np.zeros((5, 3)))
    assert chances.sum(axis=1) == pytest.approx(1.0)

    # The broker saw sealed frames only: no cell of any row is anywhere in what it carried.
    wire = b"".join(seen)
    for cell in (tmp_path / "pi-1.csv").read_text().replace("\n", ",").split(",")[4:80]:
        assert cell in ("low", "high") or cell.encode() not in wire
        assert cell in ("low", "high") or np.float64(cell).tobytes() not in wire
