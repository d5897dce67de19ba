"""A box keeps the newest task of each job: an older one, though truly signed, changes nothing."""

import logging
from pathlib import Path

import pytest
from msgspec.structs import replace

from coordinator.taskfile import Data, RoundsTable, TaskFile, task_of
from edge_client import config
from edge_client.tasks import MAX_UNPROVEN, Tasks
from firmware_sim.fleet import Fleet
from proto.errors import RemoteError, SealError
from proto.identity import Identity, body_of, sign, task_id
from proto.messages import Task
from proto.topics import Topics

KEY = Identity.generate()
FILE = TaskFile(
    job="job",
    data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
    rounds=RoundsTable(count=1, quorum=2, cohort=2),
)
TASK = task_of(FILE, "fleet", serial=5)


def changed(serial: int, steps: int = 7) -> Task:
    """Another task of the same job: what an owner who hands a job in anew would make."""
    return replace(TASK, serial=serial, training=replace(TASK.training, steps=steps))


def take(tasks: Tasks, task: Task, key: Identity = KEY) -> bytes:
    return tasks.take(task.job, sign(task, key), KEY.public)[1]


@pytest.fixture
def tasks() -> Tasks:
    made = Tasks("fleet")
    take(made, TASK)
    return made


def test_an_older_task_of_a_job_is_refused_and_the_newer_stays(tasks):
    newest = task_id(body_of(sign(TASK, KEY)))
    older = changed(serial=4)
    with pytest.raises(RemoteError, match="an old task for job: serial 4"):
        take(tasks, older)
    assert tasks.job(newest) == "job"
    assert tasks.body(newest) == body_of(sign(TASK, KEY))
    assert tasks.job(task_id(body_of(sign(older, KEY)))) is None


def test_the_same_task_is_taken_again(tasks):
    assert take(tasks, TASK) == take(tasks, TASK)
    assert tasks.job(take(tasks, TASK)) == "job"


def test_another_task_of_the_same_serial_replaces_it(tasks):
    first, second = take(tasks, TASK), take(tasks, changed(serial=5))
    assert first != second
    assert (tasks.job(first), tasks.job(second)) == (None, "job")


def test_a_newer_task_replaces_it_and_from_then_on_it_is_old(tasks):
    first, second = take(tasks, TASK), take(tasks, changed(serial=6))
    assert (tasks.body(first), tasks.job(second)) == (None, "job")
    with pytest.raises(RemoteError, match="serial 5"):
        take(tasks, TASK)


def test_serials_of_different_jobs_are_nothing_to_each_other(tasks):
    other = take(tasks, replace(changed(serial=1), job="other"))
    assert tasks.job(other) == "other"
    assert tasks.job(take(tasks, TASK)) == "job"


def test_a_higher_serial_is_worth_nothing_without_the_coordinators_key(tasks):
    with pytest.raises(SealError, match="not signed by"):
        take(tasks, changed(serial=9), Identity.generate())
    assert tasks.job(take(tasks, TASK)) == "job"
    assert list(tasks.unproven()) == ["job"]
    assert tasks.unproven() == {}


def test_not_all_that_strangers_sign_is_kept(tasks):
    stranger = Identity.generate()
    for number in range(3 * MAX_UNPROVEN):
        with pytest.raises(SealError):
            take(tasks, replace(TASK, job=f"job-{number}"), stranger)
    assert len(tasks.unproven()) == MAX_UNPROVEN


# --- a running box --------------------------------------------------------------------------------


class Bench:
    """A box that runs in a fleet, and somebody who publishes truly signed tasks at it."""

    def __init__(self, home: Path) -> None:
        rows = "\n".join(f"{n},{-n},{'high' if n % 2 else 'low'}" for n in range(40))
        (home / "rows.csv").write_text(f"a,b,level\n{rows}\n")
        self.fleet = Fleet(home)
        self.store = self.fleet.start_coordinator()
        self.fleet.add_box("a", config.EdgeConfig(data=config.Data(source=str(home / "rows.csv"))))
        self.fleet.submit(FILE)
        self.fleet.run(until=lambda: self.store.enlisted("job"))
        self.task = task_of(FILE, self.fleet.name, serial=self.serial())
        self._port = self.fleet.broker.connect("replayer", lambda _: None)
        self.settle()

    def serial(self) -> int:
        return self.box_task().serial

    def box_task(self) -> Task:
        ((task, _),) = self.fleet.boxes["a"]._tasks._known.values()
        return task

    def publish(self, serial: int, steps: int = 20) -> None:
        task = replace(self.task, serial=serial)
        task = replace(task, training=replace(task.training, steps=steps))
        payload = sign(task, self.fleet.keys.identity)
        self._port.publish(Topics(self.fleet.name).job("job", "task"), payload, retain=True)
        self.settle()

    def settle(self) -> None:
        end = self.fleet.clock.now + 5.0
        self.fleet.clock.at(end, lambda: None)
        self.fleet.run(until=lambda: self.fleet.clock.now >= end)


def test_a_running_box_refuses_a_recorded_older_task_and_heeds_a_newer(tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="edge_client")
    bench = Bench(tmp_path)
    serial = bench.serial()

    bench.publish(serial - 1, steps=3)
    assert f"refused: an old task for job: serial {serial - 1}" in caplog.text
    assert (bench.serial(), bench.box_task().training.steps) == (serial, 20)

    caplog.clear()
    bench.publish(serial)
    bench.publish(serial + 1, steps=4)
    assert "refused" not in caplog.text
    assert (bench.serial(), bench.box_task().training.steps) == (serial + 1, 4)
