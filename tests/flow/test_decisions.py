"""Who was asked and why, told by a real coordinator about real boxes; and what would be next."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.operate import ask
from coordinator.rehearsal import rehearse
from coordinator.reports import decisions
from coordinator.selection.request import Budget
from coordinator.taskfile import RoundsTable, Selection, TaskFile, read
from firmware_sim.fleet import Fleet
from proto.errors import ConfigError
from tests.flow.test_faults import NAMES, finish, make, phase, slow, state, task, until_round

TASK = """
job = "job"
[data]
classes = ["low", "high"]
columns = ["a", "b"]
components = 0
[model]
reps = 1
[training]
steps = 2
[rounds]
count = 3
quorum = 2
cohort = 2
policy = "oort"
seed = 5
"""


def choosy(rounds: int = 4, policy: str = "oort", **table) -> TaskFile:
    return task(rounds, policy=policy, cohort=2, quorum=2, **table)


def trained(fleet: Fleet) -> list[dict]:
    return [d for d in decisions(fleet.open_store(), "job") if d["kind"] == "train"]


def call(fleet: Fleet, *words: str) -> str:
    found = CliRunner().invoke(app, [*words, "--home", str(fleet.home / "coordinator")])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_each_round_says_who_was_chosen_by_what_and_what_came_of_it(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(choosy(6))
    finish(fleet)
    first, *_, last = trained(fleet)
    assert first["forecast"]["seconds"] is None
    assert set(first["came"]["delivered"]) == set(first["cohort"])
    assert first["came"]["not_delivered"] == []
    assert set(last["scores"]) == set(NAMES)
    assert len(last["hand_rule"]) == 2
    assert last["forecast"]["slowest"] in last["cohort"]
    assert last["forecast"]["seconds"] == pytest.approx(last["came"]["seconds"], rel=0.2)
    assert last["forecast"]["bytes"] == pytest.approx(last["came"]["bytes"], rel=0.3)
    shown = call(fleet, "decisions", "job")
    assert "oort" in shown
    told = json.loads(call(fleet, "decisions", "job", "--json"))
    assert [d["scores"] for d in told] == [d["scores"] for d in decisions(fleet.store, "job")]


def test_where_the_hand_rule_would_have_asked_the_same_boxes_they_are_not_named_twice(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(choosy(2, "stalest"))
    finish(fleet)
    assert call(fleet, "decisions", "job").count("the same") == len(fleet.store.rounds("job"))


@pytest.mark.parametrize("policy", ["fedcs", "tifl", "power-of-choice", "eafl", "refl"])
def test_every_method_runs_a_whole_job(tmp_path, policy):
    fleet = make(tmp_path)
    fleet.submit(choosy(3, policy))
    finish(fleet)
    assert [(d["came"]["outcome"], d["fallback"]) for d in trained(fleet)] == [("done", "")] * 3


def test_a_coordinator_that_died_remembers_what_boxes_did_and_plans_the_same(tmp_path):
    def cohorts(home: Path, *, killed: bool) -> list[list[str]]:
        fleet = make(home)
        slow(fleet, "pi-3", seconds=20.0)
        fleet.submit(choosy(5))
        if killed:
            until_round(fleet, 3)
            fleet.kill_coordinator()
            fleet.start_coordinator()
        finish(fleet)
        return [d["cohort"] for d in trained(fleet)]

    assert cohorts(tmp_path / "a", killed=True) == cohorts(tmp_path / "b", killed=False)


def test_a_box_that_misses_its_deadline_is_asked_less_often(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(task(14, cohort=2, quorum=1, deadline="20s"))
    until_round(fleet, 3)
    slow(fleet, "pi-2", seconds=60.0)
    finish(fleet)
    asked = ["pi-2" in d["cohort"] for d in trained(fleet)]
    assert 2 <= sum(asked) <= 5  # turn by turn it would be nine of fourteen


def test_a_budget_of_asks_is_kept_and_the_log_says_what_the_job_waits_for(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(replace(task(5), selection=Selection(budget=Budget(asks=2))))
    fleet.run(lambda: state(fleet).spent != (), 7200.0)
    assert (phase(fleet), state(fleet).round, state(fleet).spent) == ("waiting", 3, NAMES)
    said = [row.text for row in fleet.store.said("job", 0) if "share of this job" in row.text]
    assert said == ["waits: pi-1, pi-2, pi-3 did their share of this job (budget.asks)"]


def test_a_budget_of_bytes_makes_cohorts_smaller(tmp_path):
    fleet = make(tmp_path)
    # Some 500 bytes a box: two of them are paid for.
    budget = Selection(budget=Budget(bytes=1200))
    fleet.submit(replace(task(3, cohort=3, quorum=1, gather="1s"), selection=budget))
    finish(fleet)
    assert [len(d["cohort"]) for d in trained(fleet)] == [2, 2, 2]
    assert all(d["came"]["bytes"] <= 1200 for d in trained(fleet))


# --- the next plan --------------------------------------------------------------------------------


def test_a_dry_run_of_a_new_task_says_whom_it_would_ask_and_hands_nothing_in(tmp_path):
    fleet = make(tmp_path)
    fleet.run(lambda: all(row.online for row in fleet.store.members()), 60.0)
    fleet.kill_box("pi-3")
    fleet.run(lambda: not fleet.store.box("pi-3").online, 600.0)
    path = tmp_path / "task.toml"
    path.write_text(TASK)
    told = json.loads(call(fleet, "run", str(path), "--dry-run", "--json"))
    assert [box["box"] for box in told["cohort"]] == ["pi-1", "pi-2"]
    assert (told["known"], told["enough"], told["refused"]) == (False, True, {"pi-3": "off line"})
    assert told["bytes"] > 0
    assert fleet.store.jobs() == []
    shown = call(fleet, "run", str(path), "--dry-run")
    assert "not pi-3: off line" in shown
    assert "B up and down" in shown


def test_a_dry_run_of_a_job_is_the_plan_that_is_carried_out_next(tmp_path):
    fleet = make(tmp_path)
    slow(fleet, "pi-1", seconds=25.0)
    fleet.submit(choosy(6))
    until_round(fleet, 4)
    ask(fleet.open_store(), "job", "stop")
    fleet.run(lambda: phase(fleet) == "stopped", 600.0)
    told = rehearse(fleet.open_store(), choosy(6), "sim", fleet.wall())
    assert told["next"] == "round 4"
    ask(fleet.open_store(), "job", "resume")
    finish(fleet)
    done = next(d for d in trained(fleet) if d["round"] == 4 and d["came"]["outcome"] == "done")
    assert [box["box"] for box in told["cohort"]] == list(done["cohort"])
    assert {box["box"]: box["score"] for box in told["cohort"]} == {
        box: done["scores"][box] for box in done["cohort"]
    }
    assert told["seconds"] == done["forecast"]["seconds"]
    with pytest.raises(ConfigError, match="is finished"):
        rehearse(fleet.open_store(), choosy(6), "sim", fleet.wall())


def test_a_dry_run_says_when_the_round_would_wait(tmp_path):
    fleet = make(tmp_path)
    fleet.run(lambda: all(row.online for row in fleet.store.members()), 60.0)
    path = tmp_path / "task.toml"
    path.write_text(TASK.replace("quorum = 2", "quorum = 4").replace("cohort = 2", "cohort = 4"))
    assert "NOT ENOUGH boxes for the quorum of 4" in call(fleet, "run", str(path), "--dry-run")


def test_a_dry_run_without_the_agents_model_says_how_to_get_it_and_plans_by_the_hand_rule(
    tmp_path, monkeypatch
):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("QFLEET_CACHE", str(tmp_path / "bare"))
    fleet = make(tmp_path)
    fleet.run(lambda: all(row.online for row in fleet.store.members()), 60.0)
    path = tmp_path / "task.toml"
    path.write_text(TASK.replace('"oort"', '"agent"'))
    shown = call(fleet, "run", str(path), "--dry-run")
    assert "as agent would plan it now" in shown
    assert "the hand rule chose: the agent cannot answer" in " ".join(shown.split())
    assert "quantize pull smollm2-135m" in " ".join(shown.split())
    path.write_text(path.read_text() + '[selection]\nweights = "mine.gguf"\n')
    with pytest.raises(ConfigError, match=r"there is no .*mine\.gguf"):
        read(path)


def test_a_task_file_sets_the_constants_and_budgets_of_selection(tmp_path):
    path = tmp_path / "task.toml"
    path.write_text(TASK + "[selection.oort]\npenalty = 1.5\n[selection.budget]\nasks = 9\n")
    table = read(path).selection
    assert (table.oort.penalty, table.budget.asks, table.tifl.tiers) == (1.5, 9, 5)
    for wrong, said in (
        ("[selection.oort]\npenalty = -1\n", "oort.penalty"),
        ("[selection.budget]\nwatts = 1\n", "unknown field `watts`"),
        ('[weights]\nformat = "x"\n', "weights"),
    ):
        path.write_text(TASK + wrong)
        with pytest.raises(ConfigError, match=said):
            read(path)
    assert RoundsTable().policy == "stalest"
