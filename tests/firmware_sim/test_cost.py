"""What an update costs, counted and not timed: the same on every machine.

Calls alone would not tell of a cohort that is gone through in C, by `in` or `sorted`: elements of
collections are counted as well, in a process whose packages are imported for it (scans.py).
"""

import json
import subprocess
import sys
from collections import deque
from types import FrameType

import pytest

from coordinator.taskfile import RoundsTable, TaskFile
from firmware_sim.virtual import Plan, Still, VirtualFleet
from tests.firmware_sim.scans import Counted, rewritten
from tests.firmware_sim.test_virtual import TASK, rows
from tests.waiting import until

ROUNDS = 3
SMALL, LARGE = 20, 200


def collecting(boxes: int) -> VirtualFleet:
    """A fleet whose first round has begun."""
    fleet = VirtualFleet(Plan(Still(rows, 0.1)))
    store = fleet.start_coordinator()
    for number in range(boxes):
        fleet.add_box(f"b{number}")
        fleet.start_box(f"b{number}")
    fleet.clock.run(until=5.0)
    rounds = RoundsTable(count=ROUNDS, quorum=boxes, cohort=boxes, seed=2)
    fleet.submit(TaskFile(TASK.job, TASK.data, TASK.model, TASK.training, rounds=rounds))
    until(lambda: store.rounds("job"), meanwhile=fleet.clock.step)
    return fleet


def finish(fleet: VirtualFleet, boxes: int) -> int:
    """Run it to its end; how many updates that took."""
    fleet.run_job("job", 3600.0)
    assert [row.included for row in fleet.store.rounds("job")] == [boxes] * (ROUNDS + 1)
    return boxes * ROUNDS


def calls_per_update(boxes: int) -> float:
    """Calls of functions, Python's and C's, from the first training round to the job's end."""
    fleet, calls = collecting(boxes), 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        updates = finish(fleet, boxes)
    finally:
        sys.setprofile(before)
    return calls / updates


def test_an_update_of_a_large_cohort_costs_no_more_than_one_of_a_small_cohort():
    small, large = calls_per_update(SMALL), calls_per_update(LARGE)
    # What a whole round costs is shared by more; nothing may grow with the cohort.
    assert large < small


def test_an_update_of_a_large_cohort_goes_through_no_more_than_one_of_a_small_cohort():
    asked = (sys.executable, "-m", "tests.firmware_sim.scans", str(SMALL), str(LARGE))
    done = subprocess.run(asked, capture_output=True, check=True)
    small, large = json.loads(done.stdout)
    assert large < 1.1 * small


@pytest.mark.parametrize(
    "text",
    [
        "7 in many",
        "7 not in deque(many)",
        "sorted(many)",
        "max(len(str(one)) for one in many)",
        "[*many]",
        "many + [1]",
        "many == list(range(100))",
        "many.index(99)",
        "set().union(many)",
        "{one: 1 for one in many}",
    ],
)
def test_what_goes_through_a_list_is_counted_whatever_does_it(text):
    counted = Counted()
    names = {"many": list(range(100)), "deque": deque, "__counted__": counted}
    found = eval(rewritten(text, "text", "eval"), names)
    assert found == eval(text, names)
    assert 100 <= counted.elements <= 200


def test_what_is_hashed_is_looked_up_at_once():
    counted = Counted()
    names = {"many": dict.fromkeys(range(100)), "__counted__": counted}
    assert eval(rewritten("7 in many and many[7] is None", "text", "eval"), names)
    assert counted.elements == 0
