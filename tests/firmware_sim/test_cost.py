"""What an update costs, counted and not timed: calls are the same on every machine."""

import sys
from types import FrameType

from coordinator.taskfile import RoundsTable, TaskFile
from firmware_sim.virtual import Plan, Still, VirtualFleet
from tests.firmware_sim.test_virtual import TASK, rows

ROUNDS = 3


def calls_per_update(boxes: int) -> float:
    """Calls of functions, Python's and C's, from the first training round to the job's end."""
    fleet, calls = VirtualFleet(Plan(Still(rows, 0.1))), 0
    store = fleet.start_coordinator()
    for number in range(boxes):
        fleet.add_box(f"b{number}")
        fleet.start_box(f"b{number}")
    fleet.clock.run(until=5.0)
    rounds = RoundsTable(count=ROUNDS, quorum=boxes, cohort=boxes, seed=2)
    fleet.submit(TaskFile(TASK.job, TASK.data, TASK.model, TASK.training, rounds=rounds))
    while not store.rounds("job"):
        fleet.clock.step()

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        fleet.run_job("job", 3600.0)
    finally:
        sys.setprofile(before)
    assert [row.included for row in store.rounds("job")] == [boxes] * (ROUNDS + 1)
    return calls / (boxes * ROUNDS)


def test_an_update_of_a_large_cohort_costs_no_more_than_one_of_a_small_cohort():
    small, large = calls_per_update(20), calls_per_update(200)
    # What a whole round costs is shared by more; nothing may grow with the cohort.
    assert large < small
