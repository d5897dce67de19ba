"""Selection by the paper's rule, by real boxes: who is not chosen does no work."""

from msgspec.structs import replace

from coordinator.reports import decisions
from coordinator.taskfile import Steps
from proto.messages import TRAIN
from tests.flow.test_faults import NAMES, finish, make, task


def rounds(store) -> list[dict]:
    return [d for d in decisions(store, "job") if d["kind"] == "train"]


def test_the_paper_asks_each_once_and_then_those_nearest_the_fleets_loss(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(task(5, policy="paper", cohort=2, quorum=2))
    finish(fleet)
    store = fleet.open_store()
    first, second, third, *_ = rounds(store)
    (left_out,) = set(NAMES) - set(first["cohort"])
    assert left_out in second["cohort"]
    assert all(score <= 0 for score in third["scores"].values())
    worst = min(third["scores"], key=third["scores"].get)
    assert set(third["cohort"]) == set(NAMES) - {worst}
    assert worst not in {row.box for row in store.metrics(third["turn"])}


def test_without_a_teacher_every_box_does_the_tasks_own_steps(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(replace(task(4), steps=Steps(rule="adaptive", lower=True)))
    finish(fleet)
    assert [d["steps"] for d in rounds(fleet.open_store())] == [{}] * 4


def test_boxes_that_agree_end_the_job_before_its_last_round(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(task(50, plateau=0.05))
    finish(fleet)
    store = fleet.open_store()
    done = [r for r in store.rounds("job") if r.kind == TRAIN]
    assert len(done) < 10
    assert any("distance from the fleet's loss changed" in row.text for row in store.said("job", 0))
