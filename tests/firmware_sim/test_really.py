"""Real processes under real limits, beside the virtual engine."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from firmware_sim import costs, really
from firmware_sim.emulation import emulate
from firmware_sim.limits import Limit, Network, group, under
from firmware_sim.population import first_board, populate
from firmware_sim.scenario import with_policy
from proto.errors import ConfigError, LocalError
from tests.firmware_sim.test_emulation import scenario

GONE = """
[[script]]
do = "kill"
clients = [1]
at = "1s"
"""


def a_group(name: str):
    try:
        return group(name)
    except LocalError as error:
        pytest.skip(str(error))


@pytest.mark.processes
@pytest.mark.broker
def test_the_same_scenario_goes_the_same_way_in_processes_and_on_virtual_time(tmp_path):
    """One of four boards has too little memory for the training, in both engines."""
    a_group("qfleet-probe").remove()
    mixed = scenario(tmp_path, board="{ pi-zero-2w = 1, pi-4 = 3 }", quorum='3\ngather = "1s"')
    mixed = replace(mixed, work=replace(mixed.work, memory_mib=700), lasts="4m")
    here, there = emulate(mixed, 0), really.really(mixed, 0)
    assert there.cost["not_limited"] == ""
    assert there.phase == here.phase == "finished"
    assert [outcome(r) for r in there.rounds] == [outcome(r) for r in here.rounds]
    assert there.rounds[-2].model
    assert {len(r.included) for r in there.rounds} == {3}
    assert any("memory" in reason for reason in here.refusals)


@pytest.mark.processes
@pytest.mark.broker
def test_real_boxes_their_broker_and_their_coordinator_die_and_lie_by_script(tmp_path):
    """One box is gone for good, one sends NaN, broker and coordinator go; rounds end without."""
    script = (
        GONE
        + """[[script]]
do = "poison"
clients = [2]
what = "nan"
at = "1s"
[[script]]
do = "broker-down"
at = "2s"
length = "2s"
lose_state = true
[[script]]
do = "kill-coordinator"
at = "6s"
length = "1s"
"""
    )
    spoilt = replace(
        scenario(tmp_path, script, quorum='2\ngather = "2s"', deadline='"6s"', steps="200"),
        lasts="3m",
    )
    work = replace(spoilt.work, rounds=replace(spoilt.work.rounds, count=2))
    spoilt = replace(spoilt, work=work)
    result = really.really(spoilt, 0)
    assert result.phase == "finished"
    trained = [row for row in result.rounds if row.kind == "train" and row.outcome == "done"]
    assert len(trained) == 2
    assert trained[-1].included == (3, 4)


def outcome(row) -> tuple[object, ...]:
    return row.turn, row.kind, row.round, row.outcome, row.included, row.model


@pytest.mark.processes
def test_a_control_group_slows_and_kills_what_is_in_it():
    limited = a_group("qfleet-test")
    limited.limit(Limit(cores=0.5, memory_mib=48))
    words = "import sys; sys.stdin.read(1); x = bytearray(300 << 20); print(len(x))"
    child = subprocess.Popen([sys.executable, "-c", words], stdin=subprocess.PIPE)
    try:
        limited.take(child.pid)
        child.communicate(b"x", timeout=60)
        assert child.returncode == -9
        assert limited.killed() == 1
    finally:
        child.kill()
        child.wait()
        limited.remove()


@pytest.mark.processes
def test_a_group_goes_once_its_last_process_is_gone():
    busy = a_group("qfleet-busy")
    child = subprocess.Popen(["sleep", "0.3"])
    busy.take(child.pid)
    busy.remove()  # waits for it
    child.wait()
    group("qfleet-busy").remove()  # else it would be there already


@pytest.mark.processes
@pytest.mark.broker
def test_real_boxes_behind_links_of_their_own_go_through_the_same_rounds(tmp_path):
    try:
        Network("qfprobe").close()
    except LocalError as error:
        pytest.skip(str(error))
    linked = replace(scenario(tmp_path, link='"3g"', steps="10"), lasts="3m")
    linked = replace(linked, group=(replace(linked.group[0], count=2),))
    rounds = replace(linked.work.rounds, count=1, cohort=2)
    linked = replace(linked, work=replace(linked.work, rounds=rounds))
    result = really.really(linked, 0, links=True)
    assert "links are not limited" not in result.cost["not_limited"]
    assert result.phase == "finished"
    assert [r.model for r in result.rounds] == [r.model for r in emulate(linked, 0).rounds]


@pytest.mark.processes
def test_this_process_can_be_limited_for_a_while_and_is_then_as_before():
    a_group("qfleet-probe").remove()
    before = Path("/proc/self/cgroup").read_text()
    with under("qfleet-while", Limit(cores=0.5, memory_mib=2048)):
        assert "qfleet-while" in Path("/proc/self/cgroup").read_text()
    assert Path("/proc/self/cgroup").read_text() == before


@pytest.mark.processes
def test_a_box_of_its_own_namespace_reaches_this_machine_and_nobody_else():
    try:
        net = Network("qftest")
    except LocalError as error:
        pytest.skip(str(error))
    try:
        within = net.box(1, Limit(cores=1, memory_mib=64, up_mbps=8.0, down_mbps=8.0))
        shown = subprocess.run(
            [*within, "tc", "qdisc", "show"], capture_output=True, text=True, check=True
        )
        assert ("netem" if net.netem else "tbf") in shown.stdout
        routes = subprocess.run(
            [*within, "ip", "route"], capture_output=True, text=True, check=True
        ).stdout
        assert routes.split()[0] == "10.213.77.0/24"
        assert "default" not in routes
    finally:
        net.close()
    left = subprocess.run(
        ["ip", "netns", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert "qftest" not in left


def test_what_cannot_be_limited_is_said_and_why(monkeypatch):
    monkeypatch.setattr("firmware_sim.limits._own", dict)
    monkeypatch.setattr("firmware_sim.limits._unified", lambda _own: None)
    with pytest.raises(LocalError, match="no cgroup controller for cpu"):
        group("qfleet-none")
    monkeypatch.setattr("shutil.which", lambda _tool: None)
    with pytest.raises(LocalError, match="iproute2"):
        Network("qfnone")


def test_a_boards_limits_are_its_share_of_this_machines_core_and_its_free_memory(tmp_path):
    one = scenario(tmp_path)
    client = populate(one, 0)[0]
    limit = really.limit_of(client, first_board(client), one, costs.shipped())
    assert limit.cores == pytest.approx(1.0 / costs.shipped().core)
    assert limit.memory_mib > 1000
    wants = replace(one, work=replace(one.work, memory_mib=100_000))
    assert really.limit_of(client, first_board(client), wants, costs.shipped()).memory_mib == 30


def test_what_only_the_virtual_engine_plays_is_refused(tmp_path: Path):
    many = scenario(tmp_path, count="41")
    with pytest.raises(ConfigError, match="at most 40"):
        really.really(many, 0)
    cut = '[[script]]\ndo = "cut-link"\nclients = [1]\nat = "1s"\nlength = "5s"\n'
    with pytest.raises(ConfigError, match=r"script\[0\].do is cut-link.*accepted: .*poison"):
        really.really(scenario(tmp_path, cut), 0)
    down = '[[script]]\ndo = "broker-down"\nat = "1s"\nlength = "5s"\n'
    with pytest.raises(ConfigError, match=r"script\[0\].do is broker-down, with --links; accepted"):
        really.really(scenario(tmp_path, down), 0, links=True)
    watched = scenario(tmp_path, '[[script]]\ndo = "kill"\nclients = [1]\nstate = "training"\n')
    with pytest.raises(ConfigError, match=r"script\[0\].state is training"):
        really.really(watched, 0)


@pytest.mark.processes
@pytest.mark.broker
def test_real_boxes_train_in_asynchronous_rounds_while_one_and_the_coordinator_die(tmp_path):
    """Up to four boxes at work at once, a step for every two updates; one box is gone for good."""
    script = (
        GONE
        + """[[script]]
do = "kill-coordinator"
at = "5s"
length = "1s"
"""
    )
    plain = scenario(tmp_path, script, quorum='1\ngather = "1s"', deadline='"20s"', steps="200")
    buffered = with_policy(plain, "fedbuff")
    rounds = replace(buffered.work.rounds, count=10)
    assert (rounds.kind, rounds.concurrency, rounds.buffer) == ("async", 4, 2)
    lasting = replace(buffered, work=replace(buffered.work, rounds=rounds), lasts="2m")
    result = really.really(lasting, 0)
    assert (result.policy, result.phase) == ("fedbuff", "finished")
    steps = [r for r in result.rounds if r.kind == "train" and r.outcome == "done"]
    assert [row.round for row in steps] == list(range(1, 11))
    assert all(row.included for row in steps)
    assert {2, 3, 4} <= {box for row in steps for box in row.included}
    assert len({row.model for row in steps}) == 10
