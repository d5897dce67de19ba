"""Real processes, a real broker: whatever is killed, the job goes on and nothing counts twice."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from coordinator.broker_process import BrokerProcess
from tests.flow.real_fleet import (
    RealFleet,
    check_history,
    command,
    descendants,
    gone,
    kill_hard,
    spoken,
    task,
)
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.processes
CRASHING = "tests.flow.crashing_coordinator"

OwnBroker = Callable[[str], BrokerProcess]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[RealFleet]:
    """A coordinator with the embedded broker."""
    with RealFleet(tmp_path) as made:
        made.coordinate()
        yield made


@pytest.fixture
def broker(own_broker: OwnBroker) -> BrokerProcess:
    """Somebody else's broker, as far as the coordinator knows."""
    return own_broker("mosquitto")


@pytest.fixture
def guests(tmp_path: Path, broker: BrokerProcess) -> Iterator[RealFleet]:
    """A fleet on that broker; its coordinator is not started yet."""
    with RealFleet(tmp_path, ("--broker", str(broker.url))) as made:
        yield made


def test_boxes_and_their_training_may_be_killed_and_come_back(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b", "c", "d")
    fleet.begin(task("job", boxes=4, rounds=24), hold="a")

    # The training process of one box is killed: it declines that turn and says why.
    turn = fleet.state().turn
    fleet.brake("b")
    fleet.workers("a")[0].kill()
    fleet.until_said("coordinator", "a declined", "the training process was killed")

    # A box is killed mid-round and started again: the round ends with it.
    fleet.until_waiting_for("b")
    assert "a" not in fleet.store.senders(turn)
    fleet.brake("c")
    turn = fleet.state().turn
    fleet.crash("b")
    fleet.start_box("b")
    fleet.until(lambda: "b" in fleet.store.senders(turn))

    # A box is away for three rounds, comes back and takes part.
    fleet.until_waiting_for("c")
    rounds = len(fleet.done())
    fleet.crash("d")
    fleet.until(lambda: not fleet.store.box("d").online)
    fleet.let_go("c")
    fleet.until(lambda: len(fleet.done()) >= rounds + 4)
    fleet.brake("a")
    turn = fleet.until_waiting_for("a")
    fleet.start_box("d")
    fleet.until(lambda: fleet.store.box("d").online)
    fleet.let_go("a")
    fleet.until(lambda: fleet.took_part("d", after=turn))

    fleet.until_over()
    check_history(fleet.store)


def test_a_round_ends_by_its_deadline_when_a_box_dies_in_it(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b", "c")
    fleet.begin(task("job", boxes=3, rounds=2, deadline="4s"), hold="a")

    fleet.crash("a")

    fleet.until_over()
    assert [r.included for r in fleet.store.rounds("job")] == [2, 2, 2, 2]
    check_history(fleet.store)


def test_a_coordinator_killed_as_it_stops_a_job_stops_it_once(guests: RealFleet) -> None:
    crash_as_stopped = ("--crash-at", "stopped")
    guests.coordinate()
    guests.add_boxes("a", "b", "c")
    guests.begin(task("job", boxes=3, rounds=2, quorum=3), hold="a")
    turn = guests.state().turn
    guests.kill("coordinator")

    # Killed before it is on disk, the wish is still there: the next coordinator heeds it.
    guests.coordinate(CRASHING, (*crash_as_stopped, "--before-commit"))
    guests.store.change_job("job", asked="stop")
    assert guests.wait("coordinator", PATIENCE) == -signal.SIGKILL
    assert (guests.row().phase, guests.row().asked) == ("collecting", "stop")
    assert [r.outcome for r in guests.store.rounds("job")] == ["open"]

    # Killed right after, the job is stopped, its round given up, and the wish is spent.
    guests.coordinate(CRASHING, crash_as_stopped)
    assert guests.wait("coordinator", PATIENCE) == -signal.SIGKILL
    assert (guests.row().phase, guests.row().asked) == ("stopped", "")
    assert [r.outcome for r in guests.store.rounds("job")] == ["missed"]

    # The next one leaves it so, though all boxes are there, until it is told to go on.
    guests.let_go("a")
    anew = "the coordinator has started anew"
    heard = {name: guests.log(name).count(anew) for name in guests.names}
    guests.coordinate()
    guests.until(lambda: all(guests.log(name).count(anew) > heard[name] for name in guests.names))
    assert (guests.row().phase, guests.state().turn) == ("stopped", turn)
    command("coordinator", "resume", "job", "--home", str(guests.coordinator_home))
    guests.until_over()
    rounds = [(r.turn, r.outcome, r.included) for r in guests.store.rounds("job")]
    assert rounds[0] == (turn, "missed", 0)
    assert [r[1:] for r in rounds[1:]] == [("done", 3)] * 4
    check_history(guests.store)


# What is on disk after each death. One commit may hold the wait and the round that follows.
AFTER = {
    "waiting": {"waiting", "collecting"},
    "collecting": {"collecting"},
    "folding": {"folding"},
    "publishing": {"publishing"},
}
BEFORE = {
    "waiting": {"publishing"},
    "collecting": {"publishing", "waiting"},
    "folding": {"collecting"},
    "publishing": {"folding"},
}


def killed_in_every_phase(fleet: RealFleet, before: dict[str, set[str]]) -> None:
    """Once after each phase is on disk, then just before, in this order; at last when finished."""
    for found, flags in ((AFTER, ()), (before, ("--before-commit",))):
        for phase, on_disk in found.items():
            fleet.coordinate(CRASHING, ("--crash-at", phase, *flags))
            assert fleet.wait("coordinator", PATIENCE) == -signal.SIGKILL
            assert fleet.row().phase in on_disk, (phase, flags)
    fleet.coordinate(CRASHING, ("--crash-at", "finished"))
    assert fleet.wait("coordinator", PATIENCE) == -signal.SIGKILL


def test_the_coordinator_may_be_killed_in_every_phase(guests: RealFleet) -> None:
    rounds = 8
    guests.coordinate()
    guests.add_boxes("a", "b", "c")
    guests.begin(task("job", boxes=3, rounds=rounds, quorum=3), hold="a")

    guests.kill("coordinator")
    for name in guests.names:
        guests.let_go(name)
    killed_in_every_phase(guests, BEFORE)
    assert guests.row().phase == "finished"
    guests.coordinate()
    guests.until_said("a", "the coordinator has started anew")
    assert [r.included for r in guests.store.rounds("job")] == [3] * (rounds + 2)
    check_history(guests.store)


def test_an_asynchronous_jobs_coordinator_may_be_killed_in_every_phase(
    guests: RealFleet,
) -> None:
    steps = 8
    guests.coordinate()
    guests.add_boxes("a", "b", "c")
    table = {"kind": "async", "cohort": 0, "concurrency": 3, "buffer": 2, "max_staleness": 50}
    guests.begin(task("job", boxes=3, rounds=steps, quorum=2, **table), hold="a")
    guests.kill("coordinator")
    for name in guests.names:
        guests.let_go(name)

    # It waits alone only once, after the last step.
    order = ("collecting", "folding", "publishing", "waiting")
    killed_in_every_phase(guests, {phase: BEFORE[phase] for phase in order})
    assert guests.row().phase == "finished"
    assert all(r.outcome == "done" for r in guests.store.rounds("job"))
    check_history(guests.store)
    counted = [
        (row.box, row.made) for done in guests.done() for row in guests.store.metrics(done.turn)
    ]
    assert len(set(counted)) == len(counted) == sum(r.included for r in guests.done())
    # Of the updates that came, each is in a model or in the log.
    lines = [row.text for row in guests.store.said("job", 0)]
    assert not [line for line in lines if "dropped" in line]


def test_a_broker_may_be_killed_and_forget_everything(
    guests: RealFleet, broker: BrokerProcess
) -> None:
    guests.coordinate()
    guests.add_boxes("a", "b", "c")
    guests.begin(task("job", boxes=3, rounds=6, quorum=3), hold="a")

    # Held: two updates are in, the third box trains while nobody can be reached.
    turn = guests.state().turn
    kill_hard(broker.pid)
    broker.restart()
    guests.let_go("a")

    guests.until_over()
    assert guests.store.rounds("job")[0].turn == turn
    assert {r.included for r in guests.store.rounds("job")} == {3}
    check_history(guests.store)


def test_the_coordinator_starts_its_own_broker_again(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b", "c")
    fleet.begin(task("job", boxes=3, rounds=6, quorum=3), hold="a")

    (old,) = descendants(psutil.Process(fleet.pid("coordinator")))
    old.kill()
    fleet.let_go("a")

    fleet.until_over()
    fleet.until_said("coordinator", "the broker died; it is started again")
    (new,) = descendants(psutil.Process(fleet.pid("coordinator")))
    assert (old.name, old.pid) != (new.name, new.pid)
    assert {r.included for r in fleet.store.rounds("job")} == {3}
    check_history(fleet.store)


def test_an_older_copy_of_the_store_begins_a_new_era(guests: RealFleet) -> None:
    guests.coordinate()
    guests.add_boxes("a", "b", "c")
    guests.begin(task("job", boxes=3, rounds=12, quorum=3), hold="a")
    home = guests.coordinator_home
    guests.store.copy_to(home.parent / "old.db")

    # It starts once more after the copy was made, and gets on; then the disk is lost.
    guests.kill("coordinator")
    guests.let_go("a")
    guests.coordinate()
    guests.until(lambda: len(guests.done()) >= 3)
    guests.brake("b")
    highest = guests.until_waiting_for("b")
    guests.kill("coordinator")
    guests.forget_store()
    for file in home.glob("qfleet.db*"):
        file.unlink()
    shutil.copyfile(home.parent / "old.db", home / "qfleet.db")
    guests.coordinate()
    guests.let_go("b")

    guests.until_over()
    guests.until_said("coordinator", "it is an older copy. Era 2 begins")
    for name in guests.names:
        guests.until_said(name, "era 2 begins")
    check_history(guests.store)
    rounds = guests.store.rounds("job")
    assert [r.outcome for r in rounds] == ["missed"] + ["done"] * 14
    assert rounds[1].turn > highest
    assert {r.included for r in rounds[1:]} == {3}


def test_a_fleet_told_to_end_leaves_no_process_behind(tmp_path: Path) -> None:
    demos = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        words = ["--clients", "2", "--rounds", "5000", "--keep", str(tmp_path / number.name)]
        demos[number] = subprocess.Popen(
            [sys.executable, "-m", "firmware_sim", "demo", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    everyone = []
    for number, demo in demos.items():
        whole = psutil.Process(demo.pid)
        # Coordinator, broker, two boxes and their training processes.
        family = until(lambda whole=whole: f if len(f := descendants(whole)) >= 6 else [])
        assert sum("mosquitto" in " ".join(p.cmdline()) for p in family) == 1
        everyone += family
        demo.send_signal(number)
    for demo in demos.values():
        assert demo.wait(PATIENCE) != 0
    gone(everyone)


def test_killed_parents_take_their_children_with_them(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b")
    fleet.begin(task("job", boxes=2, rounds=1))
    fleet.until_over()
    children = [*fleet.workers("a"), *descendants(psutil.Process(fleet.pid("coordinator")))]
    assert len(children) == 2

    fleet.kill("a")
    fleet.kill("coordinator")

    gone(children)


def test_a_person_can_stop_resume_revoke_look_export_and_predict(fleet: RealFleet) -> None:
    home = ("--home", str(fleet.coordinator_home))
    fleet.add_boxes("a", "b", "c")
    fleet.begin(task("job", boxes=3, rounds=8), hold="a")

    # Stopped mid-round, the round is given up; resumed, it is run again.
    turn, old = fleet.state().turn, fleet.workers("a")
    assert spoken("coordinator", "stop", "job", *home) == {"job": "job", "asked": "stop"}
    fleet.until(lambda: fleet.row().phase == "stopped")
    assert spoken("coordinator", "list", *home)[0]["phase"] == "stopped"
    command("coordinator", "resume", "job", *home)
    fleet.until(lambda: fleet.state().turn > turn)
    fleet.until(lambda: fleet.workers("a") not in ([], old))
    fleet.brake("a")

    # Revoked mid-round, a box ends with a message; the others go on without it.
    fleet.until_waiting_for("a")
    command("coordinator", "revoke", "a", *home)
    assert fleet.wait("a", PATIENCE) == 7
    assert "this box was revoked (roster 4); ask for a new token" in fleet.log("a")
    fleet.until_over()
    check_history(fleet.store, revoked=("a",))

    clients = {c["box"]: c["state"] for c in spoken("coordinator", "clients", *home)}
    assert clients == {"a": "revoked", "b": "online", "c": "online"}
    show = spoken("coordinator", "show", "job", *home)
    assert (show["phase"], show["history"][-1]["kind"]) == ("finished", "evaluate")
    assert spoken("coordinator", "log", "job", *home)[-1]["text"].startswith("finished")
    assert len(spoken("coordinator", "decisions", "job", *home)) == len(show["history"])

    files = spoken("coordinator", "export", "job", "--to", str(fleet.home), *home)["files"]
    arrays = np.load(files[0], allow_pickle=False)
    assert {"angles", "feature_matrix", "feature_shift"} <= set(arrays)
    assert Path(files[1]).read_text().startswith("OPENQASM 3")
    answer = spoken(
        "edge-client", "predict", str(fleet.home / "b.csv"), "--home", str(fleet.home / "b")
    )
    assert answer["job"] == "job"
    assert len(answer["predictions"]) == 40
    assert {p["class"] for p in answer["predictions"]} <= {"low", "high"}


def test_boxes_train_over_tls_each_with_its_own_login(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with RealFleet(tmp_path, ("--listen", f"127.0.0.1:{port}")) as fleet:
        fleet.coordinate()
        fleet.add_boxes("a", "b", "c")
        fleet.begin(task("job", boxes=3, rounds=3, quorum=3))
        fleet.until_over()
        check_history(fleet.store)

        fleet.kill("coordinator", signal.SIGTERM)
        fleet.coordinate()
        fleet.begin(task("again", boxes=3, rounds=1, quorum=3))
        fleet.until_over("again")
        check_history(fleet.store, "again")
