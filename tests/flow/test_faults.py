"""Everything goes wrong: links, processes, brokers, disks, clocks and people. Time is virtual."""

import hashlib
import itertools
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from coordinator import admission, folding
from coordinator.jobstate import JobState
from coordinator.store import Store
from coordinator.taskfile import Data, Model, RoundsTable, TaskFile, Train
from coordinator.updates import Part
from edge_client import config, dataset
from edge_client.circuit.classifier import classifier_model
from edge_client.labour import EXACT, carry_out
from edge_client.requests import Assignment, Done
from edge_client.train import Hyper, Rows, evaluate, local_update
from firmware_sim.fleet import START, Fleet
from firmware_sim.link import Link
from proto.circuit import classifier_layout
from proto.codec import decode_signed, encode
from proto.errors import StorageError
from proto.identity import Identity, sign
from proto.joining import open_answer, request
from proto.messages import (
    TRAIN,
    Birth,
    BlobRef,
    Era,
    Offer,
    Task,
    Update,
)
from proto.sealing import KemPair
from proto.transport import Delivery
from quantization.pack import unpack

NAMES = ("pi-1", "pi-2", "pi-3")
YEAR = 365 * 86400.0
ROWS = 30


def task(rounds: int = 3, **table) -> TaskFile:
    values = {"count": rounds, "quorum": 3, "cohort": 3, "seed": 5} | table
    return TaskFile(
        job="job",
        data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
        model=Model(reps=1),
        training=Train(steps=2, learning_rate=0.2),
        rounds=RoundsTable(**values),
    )


def own_rows(path: Path, seed: int) -> config.EdgeConfig:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, 2)) + 0.3 * seed
    lines = [f"{a},{b},{'high' if a + b > 0 else 'low'}" for a, b in X]
    path.write_text("a,b,level\n" + "\n".join(lines))
    return config.EdgeConfig(data=config.Data(source=str(path)))


def make(home: Path, link: Link | None = None, kind: type[Fleet] = Fleet) -> Fleet:
    """Three boxes that have joined, and their coordinator."""
    home.mkdir(parents=True, exist_ok=True)
    fleet = kind(home, link)
    fleet.start_coordinator()
    for seed, name in enumerate(NAMES):
        fleet.add_box(name, own_rows(home / f"{name}.csv", seed))
    return fleet


def rows_of(fleet: Fleet, name: str) -> config.EdgeConfig:
    return config.EdgeConfig(data=config.Data(source=str(fleet.home / f"{name}.csv")))


def slow(fleet: Fleet, *names: str, seconds: float = 30.0) -> None:
    """From now on these boxes take so long to train."""
    for name in names:
        fleet.kill_box(name)
        fleet.start_box(name, rows_of(fleet, name), seconds)


def phase(fleet: Fleet) -> str:
    row = fleet.store.job("job")
    return row.phase if row else ""


def state(fleet: Fleet) -> JobState:
    return msgspec.json.decode(fleet.store.job("job").state, type=JobState)


def finish(fleet: Fleet, limit: float = 7200.0) -> None:
    fleet.run(lambda: phase(fleet) == "finished", limit)


def until_round(fleet: Fleet, number: int) -> None:
    """Let time pass until a training round is being collected."""
    fleet.run(lambda: (phase(fleet), state(fleet).round) == ("collecting", number))


def done(fleet: Fleet) -> list[tuple[int, int]]:
    """Kind and round of all rounds that count, in order."""
    return [(r.kind, r.round) for r in fleet.store.rounds("job") if r.outcome == "done"]


def all_of(rounds: int) -> list[tuple[int, int]]:
    return [(1, n) for n in range(1, rounds + 1)] + [(2, rounds)]


def check_counts(fleet: Fleet) -> None:
    """No update is in a round twice, none is missing: the weights add up."""
    train_rows = ROWS - round(0.2 * ROWS)
    for row in fleet.store.rounds("job"):
        if row.outcome != "done":
            continue
        figures = msgspec.json.decode(row.result, type=folding.Figures)
        assert figures.rows == row.included * train_rows
        boxes = [metrics.box for metrics in fleet.store.metrics(row.turn)]
        assert len(boxes) == len(set(boxes)) >= row.included


def final_model(fleet: Fleet) -> bytes:
    return fleet.store.model("job", "model").data


def outboxes(fleet: Fleet) -> dict[str, int]:
    """Boxes that keep updates nobody has acked, and how many."""
    kept = {name: len(box.state.outbox) for name, box in fleet.boxes.items()}
    return {name: count for name, count in kept.items() if count}


def lines(fleet: Fleet, word: str) -> list[str]:
    return [row.text for row in fleet.store.said("", 0) if word in row.text]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> bytes:
    """The model that three rounds without any trouble give."""
    fleet = make(tmp_path_factory.mktemp("undisturbed"))
    fleet.submit(task())
    finish(fleet)
    assert done(fleet) == all_of(3)
    return final_model(fleet)


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_over_poor_links_every_round_has_every_update_once(tmp_path, seed):
    link = Link(seed=seed, delay_s=0.1, loss=0.1, duplicate=0.2, reorder=0.2)
    fleet = make(tmp_path, link)
    fleet.submit(task(5))
    finish(fleet)
    rounds = fleet.store.rounds("job")
    assert [(r.kind, r.round, r.included) for r in rounds] == [(k, n, 3) for k, n in all_of(5)]
    check_counts(fleet)


def test_poor_links_change_nothing_of_the_result(tmp_path, undisturbed):
    fleet = make(tmp_path, Link(seed=9, delay_s=0.3, loss=0.2, duplicate=0.3, reorder=0.3))
    fleet.submit(task())
    finish(fleet)
    assert final_model(fleet) == undisturbed


def test_a_box_that_was_away_for_three_rounds_comes_back_and_takes_part(tmp_path):
    link = Link(seed=0)
    fleet = make(tmp_path, link)
    fleet.submit(task(20, quorum=2, gather="5s"))
    until_round(fleet, 1)
    link.cut("sim-pi-3-box")
    until_round(fleet, 4)
    link.mend("sim-pi-3-box")
    fleet.run(lambda: len(fleet.store.metrics(state(fleet).turn)) == 3)
    took_part = {
        r.round: {m.box for m in fleet.store.metrics(r.turn)}
        for r in fleet.store.rounds("job")
        if r.kind == TRAIN
    }
    assert took_part[2] == took_part[3] == {"pi-1", "pi-2"}
    assert took_part[state(fleet).round] == set(NAMES)
    check_counts(fleet)


def test_a_link_lost_in_training_loses_no_work(tmp_path, undisturbed):
    link = Link(seed=0)
    fleet = make(tmp_path, link)
    slow(fleet, *NAMES)
    fleet.submit(task())
    until_round(fleet, 1)
    fleet.clock.run(fleet.clock.now + 5)
    link.cut("sim-pi-2-box")
    fleet.clock.run(fleet.clock.now + 40)
    assert outboxes(fleet) == {"pi-2": 1}
    link.mend("sim-pi-2-box")
    finish(fleet)
    assert done(fleet) == all_of(3)
    assert not [r for r in fleet.store.rounds("job") if r.outcome == "missed"]
    assert final_model(fleet) == undisturbed


def test_a_coordinator_whose_link_was_cut_goes_on_where_it_was(tmp_path, undisturbed):
    link = Link(seed=0)
    fleet = make(tmp_path, link)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    until_round(fleet, 2)
    link.cut("sim-coordinator")
    fleet.clock.run(fleet.clock.now + 20)
    link.mend("sim-coordinator")
    finish(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 4
    assert final_model(fleet) == undisturbed


# --- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0, 10.0, 29.99])
def test_a_box_killed_in_a_round_delivers_it_all_the_same(tmp_path, after, undisturbed):
    fleet = make(tmp_path)
    slow(fleet, *NAMES)
    fleet.submit(task())
    until_round(fleet, 2)
    fleet.clock.run(fleet.clock.now + after)
    fleet.kill_box("pi-2")
    fleet.clock.run(fleet.clock.now + 5)
    fleet.start_box("pi-2", rows_of(fleet, "pi-2"), 30.0)
    finish(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 4
    check_counts(fleet)
    assert final_model(fleet) == undisturbed


def test_a_box_killed_with_an_update_in_its_outbox_sends_it_when_it_is_back(tmp_path, undisturbed):
    fleet = make(tmp_path)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    until_round(fleet, 1)
    fleet.clock.run(fleet.clock.now + 2)
    fleet.kill_coordinator()
    fleet.clock.run(fleet.clock.now + 10)
    assert outboxes(fleet) == dict.fromkeys(NAMES, 1)
    for name in NAMES:
        fleet.kill_box(name)
        fleet.start_box(name, rows_of(fleet, name))
    fleet.start_coordinator()
    finish(fleet)
    first = fleet.store.rounds("job")[0]
    assert (first.outcome, first.included) == ("done", 3)
    fleet.clock.run(fleet.clock.now + 1)
    assert outboxes(fleet) == {}
    assert final_model(fleet) == undisturbed


class Killed(Exception):
    """The coordinator's process ended here."""


class MortalStore(Store):
    """A store whose process dies before a transaction, once the disk shows what it waits for."""

    def __init__(self, path: Path) -> None:
        self.wanted = ""
        self.left = math.inf
        self.disk = sqlite3.connect(path)
        super().__init__(path)

    @contextmanager
    def unit(self) -> Iterator[None]:
        if not self._inside:
            self.left -= 1
            if self.left < 0 or (self.wanted and self.wanted in self.phases()):
                raise Killed
        with super().unit():
            yield

    def phases(self) -> list[str]:
        return [phase for (phase,) in self.disk.execute("SELECT phase FROM jobs")]

    def close(self) -> None:
        self.wanted, self.left = "", math.inf
        self.disk.close()
        super().close()


class MortalFleet(Fleet):
    store: MortalStore

    def open_store(self) -> Store:
        return MortalStore(self.home / "coordinator" / "qfleet.db")


def die_and_return(fleet: Fleet, seconds: float = 3.0) -> None:
    with pytest.raises(Killed):
        finish(fleet)
    fleet.kill_coordinator()
    fleet.clock.run(fleet.clock.now + seconds)
    fleet.start_coordinator()


@pytest.mark.parametrize("wanted", ["waiting", "collecting", "folding", "publishing"])
def test_a_coordinator_killed_in_any_phase_goes_on_with_the_same_round(
    tmp_path, wanted, undisturbed
):
    fleet = make(tmp_path, kind=MortalFleet)
    fleet.submit(task())
    if wanted != "waiting":
        until_round(fleet, 2)
    fleet.store.wanted = wanted
    die_and_return(fleet)
    finish(fleet)
    assert done(fleet) == all_of(3)
    check_counts(fleet)
    assert final_model(fleet) == undisturbed
    assert not lines(fleet, "era")


def test_a_coordinator_killed_again_and_again_between_any_two_commits_still_finishes(
    tmp_path, undisturbed
):
    fleet = make(tmp_path, kind=MortalFleet)
    fleet.submit(task())
    draw = np.random.default_rng(0)
    for _ in range(25):
        fleet.store.left = int(draw.integers(1, 60))
        try:
            finish(fleet)
            break
        except Killed:
            fleet.kill_coordinator()
            fleet.clock.run(fleet.clock.now + float(draw.uniform(0.0, 5.0)))
            fleet.start_coordinator()
    finish(fleet)
    assert done(fleet) == all_of(3)
    check_counts(fleet)
    assert final_model(fleet) == undisturbed


class SmallStore(Store):
    """A store on a disk that is full when this update comes, and then never again."""

    left = 3

    def add_update(self, update) -> bool:
        self.left -= 1
        if self.left == 0:
            raise StorageError("the store cannot be written: database or disk is full")
        return super().add_update(update)


class SmallFleet(Fleet):
    def open_store(self) -> Store:
        return SmallStore(self.home / "coordinator" / "qfleet.db")


def test_a_disk_that_is_full_for_a_moment_costs_no_update(tmp_path):
    fleet = make(tmp_path, kind=SmallFleet)
    fleet.submit(task())
    finish(fleet)
    assert done(fleet) == all_of(3)
    assert all(r.included == 3 for r in fleet.store.rounds("job") if r.outcome == "done")
    check_counts(fleet)


@pytest.mark.parametrize("lose_state", [False, True])
def test_a_broker_that_restarts_in_a_round_costs_no_round(tmp_path, lose_state, undisturbed):
    fleet = make(tmp_path)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    for number, after in ((1, 0.0), (2, 2.0), (3, 4.999)):
        until_round(fleet, number)
        fleet.clock.run(fleet.clock.now + after)
        fleet.broker.restart(lose_state=lose_state)
    finish(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 4
    assert final_model(fleet) == undisturbed


# --- memory ---------------------------------------------------------------------------------------


def alike(fleet: Fleet, model: bytes) -> bool:
    """Rounds run again have other turns, and 8-bit rounding draws by turn: the rest is the same."""
    mine, other = (np.frombuffer(data, "<f4", offset=1) for data in (final_model(fleet), model))
    return np.allclose(mine, other, atol=0.02)


def restore(fleet: Fleet, copy: Path) -> None:
    fleet.kill_coordinator()
    fleet.clock.run(fleet.clock.now + 3)
    fleet.restore_store(copy)
    fleet.start_coordinator()


def test_a_store_restored_from_an_older_copy_begins_a_new_era_and_goes_on(tmp_path, undisturbed):
    fleet = make(tmp_path)
    fleet.submit(task())
    until_round(fleet, 2)
    fleet.copy_store(tmp_path / "copy.db")
    until_round(fleet, 3)
    seen = state(fleet).turn
    restore(fleet, tmp_path / "copy.db")
    finish(fleet)
    assert len(lines(fleet, "older copy. Era 2 begins")) == 1
    assert done(fleet) == all_of(3)
    assert fleet.store.rounds("job")[-1].turn > seen
    check_counts(fleet)
    assert alike(fleet, undisturbed)
    assert {box.state.era.number for box in fleet.boxes.values()} == {2}


def test_a_store_restored_in_a_process_that_was_restarted_before_is_noticed_too(tmp_path):
    """The restored coordinator counts its sessions from the copy: none may come twice."""
    fleet = make(tmp_path)
    fleet.submit(task(6))
    until_round(fleet, 1)
    fleet.copy_store(tmp_path / "copy.db")
    fleet.kill_coordinator()
    fleet.start_coordinator()
    until_round(fleet, 2)
    restore(fleet, tmp_path / "copy.db")
    began = fleet.clock.now
    finish(fleet)
    assert done(fleet) == all_of(6)
    assert fleet.clock.now - began < 120


def test_two_restores_one_after_the_other_end_well(tmp_path, undisturbed):
    fleet = make(tmp_path)
    fleet.submit(task())
    until_round(fleet, 1)
    fleet.copy_store(tmp_path / "copy.db")
    for _ in range(2):
        until_round(fleet, 3)
        restore(fleet, tmp_path / "copy.db")
    finish(fleet)
    assert done(fleet) == all_of(3)
    assert alike(fleet, undisturbed)


def test_boxes_that_finished_work_in_the_lost_time_have_it_refused_not_counted(tmp_path):
    fleet = make(tmp_path)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    until_round(fleet, 1)
    fleet.copy_store(tmp_path / "copy.db")
    until_round(fleet, 2)
    fleet.clock.run(fleet.clock.now + 1)
    fleet.kill_coordinator()
    fleet.clock.run(fleet.clock.now + 20)
    assert outboxes(fleet) == dict.fromkeys(NAMES, 1)
    fleet.restore_store(tmp_path / "copy.db")
    fleet.start_coordinator()
    finish(fleet)
    assert done(fleet) == all_of(3)
    check_counts(fleet)
    fleet.clock.run(fleet.clock.now + 60)
    assert outboxes(fleet) == {}


# --- does it learn together? ----------------------------------------------------------------------


def rows_for(fleet: Fleet, name: str, spec: Task) -> Rows:
    table = dataset.load(str(fleet.home / f"{name}.csv"))
    y = dataset.encode(table.labels, spec.data.classes)
    train, validation, _ = dataset.split(len(y), 0, spec.data.validation)
    z = table.X.astype(np.float32)
    return Rows(z[train], y[train], z[validation], y[validation])


def first_losses(fleet: Fleet) -> list[dict[str, float]]:
    """What each box told of the model it received, one dict a training round."""
    return [
        {row.box: row.metrics.first_loss for row in fleet.store.metrics(r.turn)}
        for r in fleet.store.rounds("job")
        if r.kind == TRAIN
    ]


def learned(tmp_path: Path) -> tuple[Fleet, Task, list[bytes]]:
    fleet = make(tmp_path)
    fleet.submit(task(4))
    finish(fleet)
    spec = decode_signed(fleet.store.job("job").task, Task)
    return fleet, spec, [row.data for row in fleet.store.model_history("job")]


def test_each_round_starts_from_the_global_model_of_the_round_before(tmp_path):
    fleet, spec, history = learned(tmp_path)
    assert len(history) == 5
    model, layout = classifier_model(spec.model), classifier_layout(spec.model)
    for packed, told in zip(history, first_losses(fleet), strict=False):
        arrays = unpack(packed, layout, EXACT)
        for name in NAMES:
            rows = rows_for(fleet, name, spec)
            expected = evaluate(model, arrays, rows.z, rows.y).loss
            assert told[name] == pytest.approx(expected, rel=1e-12)


def test_what_the_fleet_learns_is_not_what_a_box_learns_alone(tmp_path):
    fleet, spec, history = learned(tmp_path)
    told = first_losses(fleet)
    model, layout = classifier_model(spec.model), classifier_layout(spec.model)
    training = spec.training
    for name in NAMES:
        rows, arrays = rows_for(fleet, name, spec), unpack(history[0], layout, EXACT)
        alone = []
        for number in range(len(told)):
            rate = training.learning_rate * training.decay**number
            hyper = Hyper(training.steps, rate, seed=5)
            trained = local_update(model, arrays, rows, hyper)
            alone.append(trained.first_loss)
            arrays = trained.arrays
        together = [losses[name] for losses in told]
        assert together[0] == pytest.approx(alone[0], rel=1e-12)
        assert all(abs(a - b) > 1e-4 for a, b in zip(together[1:], alone[1:], strict=True))


def test_each_global_model_is_what_the_boxes_updates_give_to_the_bit(tmp_path):
    fleet, spec, history = learned(tmp_path)
    turns = [r.turn for r in fleet.store.rounds("job") if r.kind == TRAIN]
    for number, turn in enumerate(turns):
        parts = []
        for name in NAMES:
            update = retrain(fleet, spec, name, (turn, number + 1), history[number])
            parts.append(Part(update.rows, update.payload, update.metrics))
        assert len({part.payload for part in parts}) == 3
        assert folding.fold(spec, TRAIN, history[number], parts).data == history[number + 1]


def retrain(fleet: Fleet, spec: Task, name: str, when: tuple[int, int], model: bytes) -> Update:
    """The update this box must have sent in a turn and round, worked out here."""
    offer = Offer(
        job="job",
        turn=when[0],
        round=when[1],
        kind=TRAIN,
        task=bytes(16),
        key=bytes(32),
        model=BlobRef(digest=hashlib.sha256(model).digest(), address=bytes(16), size=0),
        features=None,
        inline=b"",
        steps=spec.training.steps,
        seconds=60,
        seed=5,
    )
    given = rows_of(fleet, name).data
    work = Assignment(name, bytes(16), encode(spec), offer, model, b"", given)
    result = carry_out(work)
    assert isinstance(result, Done)
    return result.update


# --- hostile and broken peers ---------------------------------------------------------------------


class Mallory:
    """Somebody at the broker: hears all that passes, says what she likes."""

    def __init__(self, fleet: Fleet) -> None:
        self.heard: list[Delivery] = []
        self._port = fleet.broker.connect("mallory", self._hear)
        self._port.subscribe("qf/v1/sim/#")
        self.say = self._port.publish

    def _hear(self, thing: object) -> None:
        if isinstance(thing, Delivery):
            self.heard.append(thing)
            self._port.ack(thing)

    def frames(self, topic: str) -> list[bytes]:
        return [d.payload for d in self.heard if d.topic == topic and d.payload]


def test_replayed_frames_count_once_and_are_told_once(tmp_path, undisturbed):
    fleet = make(tmp_path)
    mallory = Mallory(fleet)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    for number in (2, 3):
        until_round(fleet, number)
        for _ in range(2):
            for topic in ("m", "k"):
                for frame in mallory.frames(f"qf/v1/sim/up/pi-1/{topic}"):
                    mallory.say(f"qf/v1/sim/up/pi-1/{topic}", frame)
                for frame in mallory.frames(f"qf/v1/sim/dev/pi-1/in/{topic}"):
                    mallory.say(f"qf/v1/sim/dev/pi-1/in/{topic}", frame)
        fleet.clock.run(fleet.clock.now + 1)
    finish(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 4
    assert len(lines(fleet, "refused from pi-1: a frame that was taken before")) == 1
    assert final_model(fleet) == undisturbed


def test_altered_frames_are_refused_and_told_once(tmp_path, undisturbed):
    fleet = make(tmp_path)
    mallory = Mallory(fleet)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    until_round(fleet, 2)
    for way in ("up/pi-1/m", "up/pi-1/k", "dev/pi-1/in/m", "dev/pi-1/in/k", "dev/pi-1/state"):
        for frame in mallory.frames(f"qf/v1/sim/{way}")[-3:]:
            for place in (30, len(frame) // 2, len(frame) - 1):
                bad = frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :]
                mallory.say(f"qf/v1/sim/{way}", bad)
    finish(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 4
    assert len(lines(fleet, "refused from pi-1: the frame was altered")) == 1
    assert final_model(fleet) == undisturbed


def test_random_bytes_on_every_topic_change_nothing(tmp_path, undisturbed):
    fleet = make(tmp_path)
    mallory = Mallory(fleet)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    until_round(fleet, 1)
    fleet.clock.run(fleet.clock.now + 1)
    topics = {d.topic for d in mallory.heard} | {
        f"qf/v1/sim/{rest}"
        for rest in (
            "join/t-1/ask",
            "join/t-1/answer",
            "up/stranger/m",
            "up/stranger/k",
            "up/PI 1/m",
            "dev/stranger/state",
            "dev/pi-1/in/x",
            "bc/nothing/task",
            "bc/job/receipt",
            "coord/state",
            "blob/aaaaaaaaaaaaaaaaaaaaaaaaaa/0",
            "blob/no-address/0",
        )
    }
    assert len(topics) > 20
    draw = np.random.default_rng(0)
    before = len(fleet.store.said("", 0))
    for size, topic in itertools.product((0, 1, 3, 66, 200, 4000), sorted(topics)):
        for head in (b"", b"\x01\x01", b"\x01\x02"):
            mallory.say(topic, head + draw.bytes(size))
            fleet.clock.run(fleet.clock.now)
    finish(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 4
    assert final_model(fleet) == undisturbed
    told = [row.text for row in fleet.store.said("", 0)[before:] if "refused from" in row.text]
    assert len(told) == len(set(told)) < 60


def test_a_stranger_is_refused_whatever_name_it_takes(tmp_path, undisturbed):
    fleet = make(tmp_path)
    mallory = Mallory(fleet)
    fleet.submit(task())
    until_round(fleet, 1)
    for name in ("ghost", "pi-1"):
        birth = Birth(
            fleet="sim",
            box=name,
            session=10**6,
            kem=KemPair().public,
            era=Era(number=10**6, nonce=bytes(8)),
            turn=10**6,
            release="evil",
        )
        for _ in range(3):
            mallory.say(f"qf/v1/sim/dev/{name}/state", sign(birth, Identity.generate()))
    finish(fleet)
    assert len(lines(fleet, "refused from ghost: no box of this name")) == 1
    assert len(lines(fleet, "refused from pi-1: not signed by")) == 1
    assert not lines(fleet, "Era")
    assert final_model(fleet) == undisturbed


def honest(fleet: Fleet, **changes) -> Update:
    """An update pi-3 might send in the current turn, with something changed."""
    spec = decode_signed(fleet.store.job("job").task, Task)
    when = (state(fleet).turn, state(fleet).round)
    update = retrain(fleet, spec, "pi-3", when, final_model(fleet))
    return replace(update, id=os.urandom(16), **changes)


def bad_payload(fleet: Fleet, scale: float) -> bytes:
    payload = honest(fleet).payload
    return payload[:1] + np.float32(scale).tobytes() + payload[5:]


BAD = {
    "NaN": lambda f: {"payload": bad_payload(f, math.nan)},
    "infinite": lambda f: {"payload": bad_payload(f, math.inf)},
    "huge": lambda f: {"payload": bad_payload(f, 1e6)},
    "too short": lambda f: {"payload": honest(f).payload[:-1]},
    "empty": lambda f: {"payload": b""},
    "of another round": lambda f: {"turn": state(f).turn + 1},
    "of a round long over": lambda f: {"turn": 1},
    "from another model": lambda f: {"model": b"?" * 32},
    "without rows": lambda f: {"rows": 0},
    "without metrics": lambda f: {"metrics": None},
}


def test_bad_updates_of_a_member_are_refused_told_once_each_and_harm_nobody(tmp_path, undisturbed):
    fleet = make(tmp_path)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task())
    until_round(fleet, 2)
    fleet.clock.run(fleet.clock.now + 1)
    before = len(fleet.store.said("", 0))
    for change in BAD.values():
        bad = honest(fleet, **change(fleet))
        for _ in range(3):
            fleet.boxes["pi-3"]._post.send(bad)
        fleet.clock.run(fleet.clock.now + 0.1)
    told = [row.text for row in fleet.store.said("", 0)[before:]]
    assert all("refused from pi-3: an update for turn" in text for text in told)
    assert len(told) == len(set(told)) < len(BAD)
    for trouble in ("a scale is", "bytes; the", "is over", "another model", "rows", "metrics"):
        assert [text for text in told if trouble in text], trouble
    finish(fleet)
    check_counts(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 4
    assert final_model(fleet) == undisturbed


def test_a_member_that_only_sends_nonsense_is_left_out_and_the_others_finish(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(task(2, quorum=2, deadline="20s"))
    until_round(fleet, 1)
    seen: set[int] = set()

    def spoil() -> bool:
        turn = state(fleet).turn
        if phase(fleet) == "collecting" and turn not in seen:
            seen.add(turn)
            fleet.boxes["pi-3"]._post.send(honest(fleet, payload=b"?"))
        return phase(fleet) == "finished"

    fleet.kill_box("pi-3")
    fleet.start_box("pi-3", rows_of(fleet, "pi-3"), 10**6)
    fleet.run(spoil)
    assert [r.included for r in fleet.store.rounds("job")] == [2, 2, 2]


def test_a_revoked_box_is_out_at_once_and_the_others_finish(tmp_path):
    fleet = make(tmp_path)
    slow(fleet, *NAMES, seconds=5.0)
    fleet.submit(task(3, quorum=2, gather="5s"))
    until_round(fleet, 2)
    fleet.clock.run(fleet.clock.now + 1)
    command = fleet.open_store()
    admission.revoke(command, "pi-3")
    command.close()
    finish(fleet)
    assert [r.included for r in fleet.store.rounds("job")] == [3, 2, 2, 2]
    assert len(lines(fleet, "pi-3 was revoked")) == 1
    check_counts(fleet)
    assert fleet.expelled == {"pi-3"}
    fleet.expelled.clear()
    fleet.start_box("pi-3", rows_of(fleet, "pi-3"))
    fleet.clock.run(fleet.clock.now + 60)
    assert fleet.expelled == {"pi-3"}
    assert len(lines(fleet, "refused from pi-3: this box was revoked")) == 1


def test_the_update_of_a_box_revoked_in_the_round_is_not_in_the_result(tmp_path):
    fleet = make(tmp_path)
    slow(fleet, "pi-1", "pi-2", seconds=30.0)
    fleet.submit(task(1, quorum=2, gather="5s"))
    until_round(fleet, 1)
    fleet.run(lambda: "pi-3" in state(fleet).updated)
    command = fleet.open_store()
    admission.revoke(command, "pi-3")
    command.close()
    finish(fleet)
    first = fleet.store.rounds("job")[0]
    assert first.included == 2
    assert msgspec.json.decode(first.result, type=folding.Figures).rows == 2 * 24


def test_a_box_revoked_while_the_coordinator_was_down_is_not_waited_for(tmp_path):
    fleet = make(tmp_path)
    slow(fleet, *NAMES, seconds=30.0)
    fleet.submit(task(1, quorum=2, gather="5s"))
    until_round(fleet, 1)
    fleet.kill_coordinator()
    fleet.kill_box("pi-3")
    command = fleet.open_store()
    admission.revoke(command, "pi-3")
    command.close()
    began = fleet.clock.now
    fleet.start_coordinator()
    finish(fleet)
    assert [r.included for r in fleet.store.rounds("job")] == [2, 2]
    assert fleet.clock.now - began < 100


def test_boxes_still_fetching_when_a_job_gets_new_keys_are_offered_the_new_blobs(tmp_path):
    fleet = make(tmp_path, Link(seed=0, delay_s=0.2))
    file = task(1, quorum=2, gather="5s")
    data = replace(file.data, components=2)
    fleet.submit(replace(file, model=Model(reps=16), data=data))
    fleet.run(lambda: (phase(fleet), state(fleet).kind) == ("collecting", TRAIN))
    command = fleet.open_store()
    admission.revoke(command, "pi-3")
    command.close()
    finish(fleet)
    assert [r.outcome for r in fleet.store.rounds("job")] == ["done"] * 3


# --- clocks, tokens, consent ----------------------------------------------------------------------


@pytest.mark.parametrize("off", [-YEAR, YEAR])
def test_a_box_whose_clock_is_wrong_by_a_year_takes_part(tmp_path, off, undisturbed):
    fleet = make(tmp_path)
    fleet.kill_box("pi-2")
    fleet.start_box("pi-2", rows_of(fleet, "pi-2"), clock_off=off)
    fleet.submit(task())
    finish(fleet)
    assert [r.included for r in fleet.store.rounds("job")] == [3] * 4
    assert final_model(fleet) == undisturbed


def test_a_token_admits_one_key_and_answers_that_key_the_same_every_time(tmp_path):
    fleet = make(tmp_path)
    mallory = Mallory(fleet)
    token = admission.new_token("mqtt://memory", "sim", fleet.keys)
    command = fleet.open_store()
    admission.invite(command, token, "", START + 3600)
    command.close()

    def ask(name: str, identity: Identity):
        kem = KemPair()
        data = request(token, name, identity, kem)
        mallory.say(f"qf/v1/sim/join/{token.id}/ask", data)
        fleet.clock.run(fleet.clock.now + 1)
        answer = mallory.frames(f"qf/v1/sim/join/{token.id}/answer")[-1]
        return open_answer(answer, token, data, kem)[0]

    fleet.clock.run(1.0)
    mine, other = Identity.generate(), Identity.generate()
    admitted = ask("pi-9", mine)
    assert admitted.box == "pi-9"
    assert "used already" in ask("pi-8", other)
    assert "used already" in ask("pi-9", other)
    assert "used already" in ask("pi-8", mine)
    assert ask("pi-9", mine) == admitted
    assert fleet.store.box("pi-8") is None


def test_a_task_beyond_a_boxs_policy_is_declined_with_the_reason_and_others_finish(tmp_path):
    fleet = make(tmp_path)
    fleet.kill_box("pi-3")
    strict = replace(rows_of(fleet, "pi-3"), policy=config.Policy(max_steps=1))
    fleet.start_box("pi-3", strict)
    fleet.submit(task(2, quorum=2, cohort=2))
    finish(fleet)
    assert [r.included for r in fleet.store.rounds("job")] == [2, 2, 2]
    told = lines(fleet, "pi-3 takes no part")
    assert told == ["pi-3 takes no part: 2 steps a round; this box's policy allows 1"]


def test_a_box_without_usable_rows_tells_no_cell_of_them(tmp_path):
    fleet = make(tmp_path)
    (tmp_path / "pi-3.csv").write_text("a,b,level\n1,secret-cell,low\n")
    fleet.submit(task(1, quorum=2, cohort=2))
    finish(fleet)
    told = lines(fleet, "pi-3 takes no part")
    assert len(told) == 1
    assert "secret-cell" not in told[0]


def test_two_jobs_share_the_boxes_and_both_finish(tmp_path):
    fleet = make(tmp_path)
    fleet.submit(task(2))
    fleet.submit(replace(task(2), job="other"))
    fleet.run(lambda: {row.phase for row in fleet.store.jobs()} == {"finished"}, 7200)
    for job in ("job", "other"):
        assert len([r for r in fleet.store.rounds(job) if r.outcome == "done"]) == 3
