"""Jobs on a machine that fails and a box that dies: nothing finished is run or paid for twice."""

from pathlib import Path

import numpy as np
import pytest

from edge_client.circuit.backends.checkpoint import PIECE, BudgetSpent, Checkpoint
from edge_client.circuit.backends.jobs import Jobs
from edge_client.circuit.backends.machine import JobFailed, Measured
from edge_client.circuit.backends.measured import measured_model
from edge_client.circuit.backends.simulated import numpy_machine
from edge_client.circuit.backends.unrolled import unroll
from edge_client.train import Hyper, Rows, local_update
from proto.ansatz import default_classifier

TURN = b"this turn"
CLASSIFIER = default_classifier(2, reps=1)
UNROLLED = unroll(CLASSIFIER.circuit)
ANGLES = np.random.default_rng(0).normal(size=(3, 5, len(UNROLLED.sources)))


class PowerCut(BaseException):
    pass


class Flaky:
    """A real simulator on a bad day: which of its jobs fail, and after which the power goes."""

    def __init__(self, failing: int = 0, cut_after: int = 10**9) -> None:
        self._machine = numpy_machine(UNROLLED.circuit)
        self._failing, self._cut_after = failing, cut_after
        self.done = 0

    def __call__(self, angles, shots, seed) -> Measured:
        if self._failing:
            self._failing -= 1
            raise JobFailed("the queue is closed")
        if self.done >= self._cut_after:
            raise PowerCut
        self.done += 1
        return self._machine(angles, shots, seed)


def train(path: Path | None, machine: Flaky, budget: int = 0) -> dict[str, np.ndarray]:
    checkpoint = Checkpoint(path, TURN, budget)
    try:
        jobs = Jobs(machine, 32, checkpoint, seed=3)
        model = measured_model(CLASSIFIER, UNROLLED, jobs)
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, 40)
        z = (rng.normal(size=(40, 2)) + y[:, None]).astype(np.float32)
        rows = Rows(z, y, z[:10], y[:10])
        arrays = model.init(np.random.default_rng(1))
        return local_update(model, arrays, rows, Hyper(6, 0.1, 8, 5)).arrays
    finally:
        checkpoint.close()


@pytest.mark.parametrize("finished", [1, 4, 8])
def test_a_box_that_died_goes_on_after_its_last_finished_job(tmp_path, finished):
    whole = Flaky()
    expected = train(None, whole)
    first, second = Flaky(cut_after=finished), Flaky()
    with pytest.raises(PowerCut):
        train(tmp_path / "jobs.journal", first)
    arrays = train(tmp_path / "jobs.journal", second)
    assert (first.done, first.done + second.done) == (finished, whole.done)
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_a_record_torn_by_a_power_cut_costs_its_own_job_alone(tmp_path):
    path, first, second = tmp_path / "jobs.journal", Flaky(cut_after=4), Flaky()
    with pytest.raises(PowerCut):
        train(path, first)
    # The last record is the cut job's shots; the one before it the last result.
    path.write_bytes(path.read_bytes()[:-40])
    expected = train(None, whole := Flaky())
    arrays = train(path, second)
    assert second.done == whole.done - 3
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_a_result_larger_than_a_record_is_kept_whole(tmp_path):
    values = np.random.default_rng(0).normal(size=(PIECE // 8, 5)).astype(np.float32)
    one = Checkpoint(tmp_path / "jobs.journal", TURN, 0)
    one.keep(b"key", values.astype(np.float64))
    one.close()
    two = Checkpoint(tmp_path / "jobs.journal", TURN, 0)
    assert np.array_equal(two.find(b"key"), values)
    assert two.find(b"another") is None
    two.close()


def test_the_next_turn_forgets_results_but_not_what_they_cost(tmp_path):
    path = tmp_path / "jobs.journal"
    one = Checkpoint(path, b"turn 1", 100)
    one.spend(60)
    one.keep(b"key", np.ones((1, 1)))
    one.close()
    two = Checkpoint(path, b"turn 2", 100)
    assert two.find(b"key") is None
    two.close()
    three = Checkpoint(path, b"turn 1", 100)
    assert three.find(b"key") is None
    with pytest.raises(BudgetSpent, match="60 of 100 shots are spent and the next job needs 41"):
        three.spend(41)
    three.spend(40)
    three.close()


def test_the_budget_stops_before_the_job_that_would_break_it():
    machine = Flaky()
    jobs = Jobs(machine, 10, Checkpoint(None, TURN, 310))
    jobs.run(ANGLES)
    jobs.run(ANGLES)
    with pytest.raises(BudgetSpent, match=r"raise model\.shot_budget in a new job"):
        jobs.run(ANGLES)
    assert machine.done == 2


def test_a_failed_job_is_tried_again_after_longer_and_longer_pauses(caplog):
    paused: list[float] = []
    jobs = Jobs(
        Flaky(failing=3), 0, Checkpoint(None, TURN, 0), pauses=(1, 2, 4), sleep=paused.append
    )
    assert jobs.run(ANGLES).shape == (3, 5, 2)
    assert paused == [1, 2, 4]
    assert "job 1 failed (try 3), again in 4 s: the queue is closed" in caplog.text


def test_tries_that_failed_count_towards_the_budget_too():
    machine = Flaky(failing=2)
    checkpoint = Checkpoint(None, TURN, 310)
    jobs = Jobs(machine, 10, checkpoint, pauses=(0, 0), sleep=lambda _: None)
    with pytest.raises(BudgetSpent, match="300 of 310 shots are spent"):
        jobs.run(ANGLES)
    assert machine.done == 0


def test_a_job_that_always_fails_is_given_up():
    machine = Flaky(failing=100)
    jobs = Jobs(machine, 0, Checkpoint(None, TURN, 0), pauses=(0, 0), sleep=lambda _: None)
    with pytest.raises(JobFailed, match="queue is closed"):
        jobs.run(ANGLES)
    assert machine.done == 0


def test_equal_jobs_of_a_round_draw_different_shots_and_a_seed_repeats_them():
    def draws() -> list[np.ndarray]:
        jobs = Jobs(Flaky(), 8, Checkpoint(None, TURN, 0), seed=1)
        return [jobs.run(ANGLES), jobs.run(ANGLES)]

    (one, two), (again, _) = draws(), draws()
    assert not np.array_equal(one, two)
    assert np.array_equal(one, again)


def test_times_in_the_queue_and_on_the_machine_are_told_apart(caplog):
    caplog.set_level("INFO")

    def busy(angles, shots, seed) -> Measured:
        return Measured(np.zeros((len(angles), 2)), 75.0, 2.5)

    Jobs(busy, 64, Checkpoint(None, TURN, 0)).run(ANGLES)
    assert "15 points, 64 shots each; 75.0 s in the queue, 2.50 s running" in caplog.text
