"""Asynchronous rounds of emulated fleets: the same by seed, on disk as in memory, and replayed."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.taskfile import RoundsTable
from edge_client import config
from firmware_sim.chaos import ASYNC
from firmware_sim.emulation import Settings, emulate
from firmware_sim.fleet import Fleet
from firmware_sim.replay import replay
from firmware_sim.scenario import parse, with_policy
from firmware_sim.virtual import Plan, Still, VirtualFleet
from proto.errors import ConfigError
from tests.firmware_sim import test_virtual
from tests.firmware_sim.test_chaos import chaos

FLEET = """
name = "mixed"
lasts = "12h"
[[group]]
name = "quick"
count = 5
board = "pi-5"
[[group]]
name = "slow"
count = 3
board = "pi-zero-2w"
[work]
components = 2
target = 0.7
effort = 2000.0
[work.model]
reps = 1
[work.training]
steps = 3
[work.rounds]
count = 4
cohort = 4
quorum = 2
deadline = "30m"
"""


def test_the_same_scenario_and_seed_give_the_same_result_to_the_byte():
    scenario = with_policy(parse(FLEET), "fedbuff")
    first, again = (replace(emulate(scenario, 5), cost={}) for _ in range(2))
    assert msgspec.json.encode(first) == msgspec.json.encode(again)
    assert first.trace != emulate(scenario, 6).trace
    assert (first.policy, first.phase) == ("fedbuff", "finished")


def test_fedbuff_makes_as_many_updates_of_as_many_boxes_at_once():
    rounds = with_policy(parse(FLEET), "fedbuff").work.rounds
    assert (rounds.kind, rounds.policy) == ("async", "random")
    assert rounds.concurrency == 4
    assert rounds.count * rounds.buffer == 4 * 4
    robust = parse(FLEET.replace("quorum = 2", 'quorum = 3\naggregation = "median"'))
    with pytest.raises(ConfigError, match=r"median.*sync"):
        with_policy(robust, "fedbuff")


def test_energy_of_work_that_goes_on_is_wasted_only_once_it_is_given_up():
    result = emulate(with_policy(parse(FLEET), "fedbuff"), 1)
    trained = [row for row in result.rounds if row.kind == "train"]
    assert all(len(row.included) >= 2 for row in trained)
    assert all(row.wasted_j <= row.energy_j * 1.0001 + 1e-6 for row in trained[:1])
    assert sum(row.wasted_j for row in result.rounds) < sum(row.energy_j for row in result.rounds)


def test_a_record_of_it_replays(tmp_path):
    record = tmp_path / "record.jsonl"
    emulate(with_policy(parse(FLEET), "fedbuff"), 2, Settings(record=record))
    found = replay(record)
    assert found.untrue == ()
    assert found.phases == {"fleet": "finished"}
    trained = [row for row in found.rounds if row.kind == "train"]
    assert {row.outcome for row in trained} == {"done"}
    assert all(row.included for row in trained)


TASK = replace(
    test_virtual.TASK,
    rounds=RoundsTable(kind="async", concurrency=3, buffer=2, count=5, quorum=2, seed=2),
)


def test_the_fleet_on_disk_goes_through_the_same_steps_to_the_same_models(tmp_path: Path):
    fleet = Fleet(tmp_path)
    store = fleet.start_coordinator()
    fleet.submit(TASK)
    other = VirtualFleet(Plan(Still(test_virtual.rows)))
    other.start_coordinator()
    other.submit(TASK)
    for number in range(4):
        name = f"b{number}"
        table = test_virtual.rows(name)
        cells = [
            f"{a!r},{b!r},{label}"
            for (a, b), label in zip(table.X.tolist(), table.labels, strict=True)
        ]
        path = tmp_path / f"{name}.csv"
        path.write_text("a,b,level\n" + "\n".join(cells))
        fleet.add_box(name, config.EdgeConfig(data=config.Data(source=str(path))))
        other.add_box(name)
        other.start_box(name)
    fleet.run(until=lambda: store.job("job").phase == "finished")
    other.run_job("job", 3600.0)
    done = [
        [(r.turn, r.kind, r.round, r.included) for r in s.rounds("job")]
        for s in (store, other.store)
    ]
    assert done[0] == done[1]
    assert test_virtual.models(fleet) == test_virtual.models(other)
    assert np.isfinite([r.closed for r in store.rounds("job")]).all()


@pytest.mark.parametrize("kind", ["kill-before", "kill-after", "duplicate"])
def test_cuts_at_every_sort_of_step_leave_no_trace(tmp_path, kind):
    template = tmp_path / "template"
    chaos._join(template)
    run = chaos._Run(template, tmp_path / "quiet", None, ASYNC)
    end, steps = run.end(), run.saboteur.steps
    ours = [s for s in steps if s.actor == "coordinator"]
    seen: dict[tuple[str, str], chaos.Step] = {}
    for step in ours:
        seen.setdefault((step.state, step.event), step)
    assert {("collecting", "UpdateStored"), ("folding", "Folded"), ("publishing", "Published")} <= {
        *seen
    }
    for at, name in enumerate(("UpdateStored", "Folded", "Published", "Consider")):
        step = [s for s in ours if s.event == name][2]
        cut = chaos.Cut(kind, step)
        assert chaos._try(template, tmp_path / f"cut-{at}", cut, end, ASYNC) is None, cut
