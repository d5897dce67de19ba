"""Asynchronous rounds in memory: who waits for whom, and what becomes of each update."""

from pathlib import Path

import msgspec
import pytest

from coordinator import admission, reports
from coordinator.folding import Figures
from coordinator.jobstate import JobState
from coordinator.store import Store
from coordinator.taskfile import Data, RoundsTable, TaskFile, Train
from coordinator.taskmodel import Model
from edge_client.spool import look_at
from edge_client.state import Work
from firmware_sim.fleet import Fleet
from firmware_sim.link import Link
from proto.messages import TRAIN
from tests.flow.test_one_round import private_rows

NAMES = ("pi-1", "pi-2", "pi-3", "pi-4", "slow")


def task(**table) -> TaskFile:
    values = {"kind": "async", "concurrency": 5, "buffer": 2, "count": 12, "quorum": 2}
    return TaskFile(
        job="job",
        data=Data(classes=("low", "high"), columns=("a", "b", "c"), components=0),
        model=Model(reps=1),
        training=Train(steps=2),
        rounds=RoundsTable(**values | table),
    )


def fleet_of(home: Path, slow: float, link: Link | None = None) -> tuple[Fleet, Store]:
    """Four boxes that train for a second, and one that takes longer."""
    fleet = Fleet(home, link)
    store = fleet.start_coordinator()
    for seed, name in enumerate(NAMES):
        config = private_rows(home / f"{name}.csv", seed)
        fleet.add_box(name, config)
        if name == "slow":
            fleet.kill_box(name)
            fleet.start_box(name, config, seconds=slow)
    fleet.run(lambda: all(row.online for row in store.members()), 60.0)
    return fleet, store


def finish(fleet: Fleet, store: Store) -> None:
    fleet.run(lambda: store.job("job").phase == "finished")
    fleet.clock.run(fleet.clock.now + 120.0)  # what is late arrives, and is answered


def trained(store: Store) -> list:
    return [row for row in store.rounds("job") if row.kind == TRAIN]


def at_work(store: Store) -> set[str]:
    state = msgspec.json.decode(store.job("job").state, type=JobState)
    return {member.box for member in state.members}


def lines(store: Store) -> list[str]:
    return [row.text for row in store.said("job", 0)]


def counted(store: Store) -> list[tuple[str, int]]:
    """Each update in a model: its box, and the turn it was made for."""
    done = [row.turn for row in trained(store) if row.outcome == "done"]
    return [(row.box, row.made) for turn in done for row in store.metrics(turn)]


def check(fleet: Fleet, store: Store) -> None:
    """What must hold of every run, whatever happened on the way."""
    done = [row for row in trained(store) if row.outcome == "done"]
    assert [row.round for row in done] == list(range(1, len(done) + 1))
    assert len(set(counted(store))) == len(counted(store)) == sum(row.included for row in done)
    assert all(row.included >= 2 for row in done)
    assert {row.outcome for row in store.rounds("job")} <= {"done", "missed"}
    assert all(not look_at(fleet.home / name).updates for name in NAMES)


def test_nobody_waits_for_the_slow_box_and_what_it_learns_is_not_lost(tmp_path):
    fleet, store = fleet_of(tmp_path, slow=5.0)
    fleet.submit(task())
    began = fleet.clock.now
    finish(fleet, store)

    check(fleet, store)
    done = trained(store)
    assert len(done) == 12
    assert done[-1].closed - done[0].opened < 12 * 5.0 / 2
    assert began < fleet.clock.now
    mine = [made for box, made in counted(store) if box == "slow"]
    assert mine
    turns = {row.turn: row for row in done}
    stale = [msgspec.json.decode(row.result, type=Figures).staleness for row in done]
    assert max(stale) > 0
    assert [line for line in lines(store) if "steps stale" in line]
    # Its updates were made for turns before the ones they are counted in.
    for row in done:
        for update in store.metrics(row.turn):
            assert update.made <= row.turn
            assert update.made in turns
    assert store.rounds("job")[-1].kind == 2  # the last model is judged by all
    assert store.rounds("job")[-1].included == 5


def test_a_box_that_falls_too_far_behind_is_refused_and_both_logs_tell(tmp_path, caplog):
    caplog.set_level("INFO", "edge_client")
    fleet, store = fleet_of(tmp_path, slow=30.0)
    fleet.submit(task(max_staleness=2, count=40))
    finish(fleet, store)

    check(fleet, store)
    given_up = "slow is given up: the model is more than 2 steps past the one it was given"
    assert given_up in lines(store)
    made = [made for box, made in counted(store) if box == "slow"]
    assert made == []


def test_an_update_that_is_too_stale_when_it_comes_is_refused_with_the_reason(tmp_path, caplog):
    caplog.set_level("INFO", "edge_client")
    fleet, store = fleet_of(tmp_path, slow=4.0, link=(link := Link(0)))
    fleet.submit(task(max_staleness=1, count=60))
    fleet.run(lambda: fleet.boxes["slow"].state.work is Work.TRAINING)
    link.cut("sim-slow-box")
    fleet.clock.after(20.0, lambda: link.mend("sim-slow-box"))
    finish(fleet, store)

    check(fleet, store)
    reason = "steps past the one it was made from; at most 1 are taken"
    refused = [line for line in lines(store) if line.startswith("refused from slow")]
    assert any(reason in line for line in refused), lines(store)
    told = [r.message for r in caplog.records if "the coordinator refused an update" in r.message]
    assert any(reason in line for line in told)


@pytest.mark.parametrize("at", [2.0, 3.05, 4.0, 6.5, 9.0])
def test_a_coordinator_killed_at_any_time_counts_each_update_once(tmp_path, at):
    fleet, store = fleet_of(tmp_path, slow=7.0)
    fleet.submit(task(count=10))
    fleet.clock.run(fleet.clock.now + at)
    members = msgspec.json.decode(store.job("job").state, type=JobState).members
    fleet.kill_coordinator()
    fleet.clock.run(fleet.clock.now + 20.0)
    store = fleet.start_coordinator()
    finish(fleet, store)

    check(fleet, store)
    assert len([row for row in trained(store) if row.outcome == "done"]) == 10
    assert not [line for line in lines(store) if "dropped" in line or "refused" in line]
    # Whoever was at work then has its update in a model.
    assert {(m.box, m.turn) for m in members if m.turn} <= set(counted(store))


def test_people_are_told_who_is_at_work_how_stale_steps_are_and_who_was_asked(tmp_path):
    fleet, store = fleet_of(tmp_path, slow=5.0)
    fleet.submit(task())
    fleet.run(lambda: len(trained(store)) >= 4 and "slow" in at_work(store))
    shown = reports.show(store, "job")
    assert shown["asynchronous"]
    assert "slow" in shown["waiting_for"]
    assert shown["history"][0]["staleness"] == 0.0
    made = reports.decisions(store, "job")
    asked = {box for row in made for box in row["cohort"]}
    assert asked == set(NAMES)
    assert all(row["came"]["not_delivered"] == [] for row in made)
    finish(fleet, store)


def test_an_adaptive_server_and_error_feedback_go_with_it(tmp_path):
    fleet, store = fleet_of(tmp_path, slow=4.0)
    file = task(aggregation="fedadam", count=6)
    file = msgspec.structs.replace(file, training=Train(steps=2, keep=0.5, bits=8))
    fleet.submit(file)
    finish(fleet, store)
    check(fleet, store)


def test_a_revoked_box_frees_its_place_and_the_others_get_new_keys(tmp_path):
    fleet, store = fleet_of(tmp_path, slow=40.0)
    fleet.submit(task(count=30, max_staleness=50))
    fleet.run(lambda: len(trained(store)) == 5)
    other = fleet.open_store()
    admission.revoke(other, "slow")
    other.close()
    finish(fleet, store)
    assert "slow" in fleet.expelled
    assert [row.outcome for row in trained(store)] == ["done"] * 30
    assert "slow" not in {box for box, _ in counted(store)}
