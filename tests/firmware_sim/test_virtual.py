"""Virtual fleets: the same run by seed, however it is sealed, stored or trained."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.taskfile import Data, RoundsTable, TaskFile, Train
from coordinator.taskmodel import Model
from edge_client import config
from edge_client.dataset import Table
from edge_client.requests import Result
from firmware_sim.fleet import Fleet
from firmware_sim.poison import poisoned
from firmware_sim.virtual import Plan, Still, VirtualFleet

BOXES = 4


def rows(box: str) -> Table:
    number = int(box[1:])
    X = np.random.default_rng(number).normal(size=(24 + number % 2, 2))
    return Table(X, (X.sum(axis=1) > 0).astype(np.int64), ("a", "b"), ("low", "high"))


TASK = TaskFile(
    job="job",
    data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
    model=Model(reps=1),
    training=Train(steps=3),
    rounds=RoundsTable(count=3, quorum=BOXES, cohort=BOXES, seed=2),
)


def virtual(trace: Path | None = None, **plan) -> VirtualFleet:
    fleet = VirtualFleet(Plan(Still(rows), traced=True, trace=trace, **plan))
    fleet.start_coordinator()
    fleet.submit(TASK)
    for number in range(BOXES):
        fleet.add_box(f"b{number}")
        fleet.start_box(f"b{number}")
    fleet.run_job("job", 3600.0)
    fleet.trace.close()
    return fleet


def models(fleet: Fleet) -> list[bytes]:
    return [row.digest for row in fleet.store.model_history("job")]


def test_the_same_seed_gives_the_same_log_to_the_byte(tmp_path):
    first, again = virtual(tmp_path / "1"), virtual(tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert first.trace.digest() == again.trace.digest()
    assert first.trace.lines > 100


def test_another_seed_gives_another_log():
    assert virtual().trace.digest() != virtual(seed=1).trace.digest()


def test_sealing_really_or_only_its_cost_changes_no_event_no_size_and_no_model():
    costed, real = virtual(), virtual(sealed=True)
    assert costed.trace.digest() == real.trace.digest()
    assert models(costed) == models(real)
    assert costed.broker.traffic.by_class() == real.broker.traffic.by_class()


def test_training_together_or_one_by_one_gives_the_same_run():
    assert virtual().trace.digest() == virtual(together=False).trace.digest()


class Spoilt(Still):
    """One box's updates do not unpack."""

    def sends(self, box: str, result: Result) -> Result:
        return poisoned(result, "wrong-shape") if box == "b2" else result


@pytest.mark.parametrize(
    ("world", "heard"),
    [
        (Still(rows, 0.1), set()),  # sooner than a yes leaves
        (Still(rows, 1.0), {"b0", "b1", "b2", "b3"}),
        (Spoilt(rows, 0.1), {"b2"}),
    ],
)
def test_a_yes_that_comes_with_its_update_is_an_event_only_where_that_is_refused(
    tmp_path, world, heard
):
    fleet = VirtualFleet(Plan(world, traced=True, trace=tmp_path / "log"))
    fleet.start_coordinator()
    fleet.submit(replace(TASK, rounds=replace(TASK.rounds, quorum=BOXES - 1, deadline="1m")))
    for number in range(BOXES):
        fleet.add_box(f"b{number}")
        fleet.start_box(f"b{number}")
    fleet.run_job("job", 3600.0)
    fleet.trace.close()
    assert fleet.finished("job")
    lines = (tmp_path / "log").read_text().splitlines()
    answers = [line.split(" ", 3)[3] for line in lines if line.split(" ", 3)[2] == "Answered"]
    assert {json.loads(answer)["box"] for answer in answers} == heard


def test_the_fleet_on_disk_goes_through_the_same_rounds_to_the_same_models(tmp_path):
    fleet = Fleet(tmp_path)
    store = fleet.start_coordinator()
    fleet.submit(TASK)
    for number in range(BOXES):
        table = rows(f"b{number}")
        lines = [
            f"{a!r},{b!r},{label}"
            for (a, b), label in zip(table.X.tolist(), table.labels, strict=True)
        ]
        path = tmp_path / f"b{number}.csv"
        path.write_text("a,b,level\n" + "\n".join(lines))
        fleet.add_box(f"b{number}", config.EdgeConfig(data=config.Data(source=str(path))))
    fleet.run(until=lambda: store.job("job").phase == "finished")
    other = virtual()
    done = [(r.turn, r.kind, r.round, r.outcome, r.included) for r in store.rounds("job")]
    assert done == [
        (r.turn, r.kind, r.round, r.outcome, r.included) for r in other.store.rounds("job")
    ]
    assert models(fleet) == models(other)


def test_a_killed_box_comes_back_with_what_was_on_its_disk():
    fleet = VirtualFleet(Plan(Still(rows, 30.0)))
    fleet.start_coordinator()
    fleet.submit(TASK)
    for number in range(BOXES):
        fleet.add_box(f"b{number}")
        fleet.start_box(f"b{number}")
    fleet.clock.at(40.0, lambda: fleet.kill_box("b1"))
    fleet.clock.at(50.0, lambda: fleet.start_box("b1"))
    fleet.run_job("job", 3600.0)
    assert fleet.finished("job")
    assert models(fleet) == models(virtual())
    assert fleet.disk("b1").memory.session == 2
    assert fleet.boxes["b1"].state.turns == {"job": 4}


def test_a_coordinator_that_is_killed_goes_on_from_its_store():
    fleet = VirtualFleet(Plan(Still(rows, 30.0)))
    fleet.start_coordinator()
    fleet.submit(TASK)
    for number in range(BOXES):
        fleet.add_box(f"b{number}")
        fleet.start_box(f"b{number}")
    fleet.clock.at(45.0, fleet.kill_coordinator)
    fleet.clock.at(70.0, fleet.start_coordinator)
    fleet.run_job("job", 3600.0)
    assert models(fleet) == models(virtual())


def test_an_update_of_a_turn_is_kept_once_in_memory_as_on_disk():
    store = virtual().store
    row = store.metrics(1)[0]
    assert not store.add_update(row)
    assert not store.add_update(replace(row, id=b"n" * 16))
    assert not store.add_update(replace(row, id=b"n" * 16, box="b9"))
    assert store.add_update(replace(row, id=b"n" * 16, box="b9", sequence=999))
