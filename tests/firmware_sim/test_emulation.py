"""Scenarios on virtual time: what boards, lives, faults and scripts do to the real code."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from firmware_sim.behaviour import Behaviour
from firmware_sim.emulation import Emulation, Settings, emulate
from firmware_sim.outcome import Result
from firmware_sim.scenario import Scenario, read

SMALL = """
name = "small"
lasts = "6h"
[[group]]
name = "pis"
count = 4
board = "pi-4"
link = "ethernet"
rows = [30, 34]
[work]
components = 2
[work.model]
reps = 1
[work.training]
steps = 3
[work.rounds]
count = 3
quorum = 2
cohort = 4
deadline = "5m"
"""


def scenario(tmp_path: Path, more: str = "", **changes: str) -> Scenario:
    text = SMALL
    for old, new in changes.items():
        text = text.replace(f"{old} =", f"{old} = {new} #")
    path = tmp_path / "scenario.toml"
    path.write_text(text + more)
    return read(path)


def done(result: Result) -> list[tuple[str, int, int]]:
    return [(r.kind, r.round, len(r.included)) for r in result.rounds if r.outcome == "done"]


ALL = [("moments", 0, 4), ("train", 1, 4), ("train", 2, 4), ("train", 3, 4), ("evaluate", 3, 4)]


def test_the_same_scenario_and_seed_give_the_same_result_to_the_byte(tmp_path):
    first, again = (replace(emulate(scenario(tmp_path), 5), cost={}) for _ in range(2))
    assert msgspec.json.encode(first) == msgspec.json.encode(again)
    assert done(first) == ALL
    assert first.phase == "finished"
    assert first.trace != emulate(scenario(tmp_path), 6).trace


def test_rounds_are_judged_on_rows_nobody_holds_and_cost_energy(tmp_path):
    result = emulate(scenario(tmp_path), 1)
    trained = [r for r in result.rounds if r.kind == "train"]
    assert all(0.3 < r.accuracy <= 1.0 for r in trained)
    assert all(r.energy_j > 0 and r.bytes_up > 300 for r in trained)
    assert [r.opened_s < r.closed_s for r in result.rounds] == [True] * 5


def test_a_client_killed_for_good_is_missed_and_the_rounds_go_on(tmp_path):
    more = '[[script]]\ndo = "kill"\nclients = [2]\nat = "3s"\n'
    result = emulate(scenario(tmp_path, more), 0)
    assert result.phase == "finished"
    assert all(2 not in r.included for r in result.rounds if r.closed_s > 10)


def test_a_client_killed_for_a_while_comes_back(tmp_path):
    more = '[[script]]\ndo = "kill"\nclients = [2]\nstate = "training"\nlength = "20s"\n'
    result = emulate(scenario(tmp_path, more), 0)
    assert done(result) == ALL
    assert result.ended_s > emulate(scenario(tmp_path), 0).ended_s + 15


@pytest.mark.parametrize("what", ["nan", "huge", "wrong-shape", "garbage"])
def test_spoilt_updates_are_refused_and_every_round_ends_without_them(tmp_path, what):
    more = f'[[script]]\ndo = "poison"\nclients = [1]\nat = "0s"\nwhat = "{what}"\n'
    result = emulate(scenario(tmp_path, more), 0)
    assert result.phase == "finished"
    assert [r.included for r in result.rounds if r.kind == "train"] == [(2, 3, 4)] * 3


@pytest.mark.parametrize("state", ["waiting", "collecting", "folding", "publishing"])
def test_a_coordinator_killed_in_any_state_goes_on_and_the_models_are_the_same(tmp_path, state):
    more = f'[[script]]\ndo = "kill-coordinator"\nstate = "{state}"\nround = 2\nlength = "20s"\n'
    result, quiet = emulate(scenario(tmp_path, more), 0), emulate(scenario(tmp_path), 0)
    assert done(result) == ALL
    assert [r.model for r in result.rounds] == [r.model for r in quiet.rounds]


def test_a_broker_that_is_down_and_forgets_delays_the_fleet_and_no_more(tmp_path):
    more = '[[script]]\ndo = "broker-down"\nat = "1.5s"\nlength = "90s"\nlose_state = true\n'
    result, quiet = emulate(scenario(tmp_path, more), 0), emulate(scenario(tmp_path), 0)
    assert done(result) == ALL
    assert result.ended_s > 90
    assert result.rounds[-1].model == quiet.rounds[-1].model


def test_training_that_wants_more_memory_than_the_board_has_is_killed_and_the_round_ends(tmp_path):
    mixed = "{ pi-zero-2w = 1, pi-4 = 3 }"
    wants = scenario(tmp_path, board=mixed, quorum='2\ngather = "1s"')
    wants = replace(wants, work=replace(wants.work, memory_mib=700))
    result = emulate(wants, 0)
    weak = [n for n, board in enumerate(result.boards, 1) if board == "pi-zero-2w"]
    assert len(weak) == 1
    assert result.phase == "finished"
    assert all(set(r.included) == {1, 2, 3, 4} - set(weak) for r in result.rounds)
    assert any("ran out of memory" in reason for reason in result.refusals)


def test_a_phone_that_runs_empty_dies_in_the_emulation_and_comes_back_when_it_is_charged(tmp_path):
    phones = scenario(tmp_path, board='"phone-low"')
    lived = Behaviour(charging="now-and-then", charge_every_s=7200.0, start_charge=(0.01, 0.02))
    group = replace(phones.group[0], behaviour=lived)
    rounds = replace(phones.work.rounds, count=40, deadline="10m")
    phones = replace(phones, group=(group,), work=replace(phones.work, rounds=rounds, effort=40.0))
    result = emulate(phones, 0)
    assert sum(r.battery_deaths for r in result.rounds) > 0


def test_watching_a_run_changes_nothing_of_it(tmp_path):
    watched = emulate(scenario(tmp_path), 0, Settings(trace=tmp_path / "log"))
    bare = emulate(scenario(tmp_path), 0, Settings(traced=False, together=False))
    assert watched.rounds == bare.rounds
    assert (tmp_path / "log").stat().st_size > 1000


def test_each_boxs_rows_drift_when_its_life_says_so(tmp_path):
    calm = scenario(tmp_path)
    group = calm.group[0]
    first = Emulation(calm, 0)
    lived = replace(first.clients[0].life.behaviour, drift_per_day=24.0)
    moved = Emulation(replace(calm, group=(replace(group, behaviour=lived),)), 0)
    for run in (first, moved):
        run.fleet.clock.now = 7200.0
    name = first.clients[0].name
    assert first.version(name) == 0
    assert moved.version(name) > 0
    assert (first.rows(name).X != moved.rows(name).X).any()
