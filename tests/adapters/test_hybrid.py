"""Circuits that read through a language model and learn from it, by real boxes in one process."""

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.export import export
from coordinator.folding import Figures
from coordinator.reports import decisions
from coordinator.taskfile import Data, RoundsTable, Steps, TaskFile, Train
from coordinator.taskhybrid import HybridModel
from edge_client.config import Data as Source
from edge_client.config import EdgeConfig, Policy
from edge_client.predict import predict_file, predictor
from firmware_sim.fleet import Fleet
from proto.messages import TRAIN, Metrics
from tests.adapters.conftest import write_rows

NAMES = ("pi-1", "pi-2")
TEXTS = Data(classes=("ham", "spam"), text="text", min_rows=8, validation=0.25, components=3)


@pytest.fixture
def hybrid(file: TaskFile) -> TaskFile:
    """A circuit with a teacher of each box's own."""
    model = HybridModel(reader=file.model, teacher="own", teacher_steps=20, sketch=16)
    return TaskFile(
        job="circuit",
        data=TEXTS,
        model=model,
        training=Train(steps=4, learning_rate=0.3),
        rounds=RoundsTable(count=5, quorum=2, cohort=2, deadline="1d"),
    )


@pytest.fixture
def start(tmp_path, limits):
    def started(folder: str = "fleet", policy: Policy | None = None) -> Fleet:
        home = tmp_path / folder
        home.mkdir()
        fleet = Fleet(home)
        fleet.start_coordinator()
        for seed, name in enumerate(NAMES):
            source = Source(source=write_rows(home / f"{name}.tsv", seed, 28))
            fleet.add_box(name, EdgeConfig(data=source, adapter=limits, policy=policy or Policy()))
        return fleet

    return started


def run(fleet: Fleet, file: TaskFile) -> list[Figures]:
    """A job to its end; the figures of its training rounds."""
    fleet.submit(file)
    fleet.run(until=lambda: fleet.store.job(file.job).phase == "finished")
    rounds = [r for r in fleet.store.rounds(file.job) if r.kind == TRAIN]
    return [msgspec.json.decode(r.result, type=Figures) for r in rounds]


def test_the_fleets_adapter_teaches_the_fleets_circuit_which_then_answers_on_each_box(
    start, file, hybrid, tmp_path, limits
):
    fleet, wire = start(), bytearray()
    fleet.broker.tap = lambda _topic, payload: wire.extend(payload)
    run(fleet, file)
    taught = HybridModel(teacher="fleet", teacher_job="sms", sketch=16)
    figures = run(fleet, replace(hybrid, model=taught))
    assert all(f.teacher_loss < 0.15 for f in figures)  # doubted: seven rows a box
    assert figures[-1].validation_loss < figures[0].validation_loss
    source = write_rows(tmp_path / "new.tsv", 9)
    answers = predict_file(predictor(fleet.home / "pi-2", "circuit", limits), source)
    assert [name for name, _ in answers] == ["ham", "spam"] * 12
    paths = {path.suffix: path for path in export(fleet.store, "circuit", tmp_path)}
    assert paths[".qasm"].read_text().startswith("OPENQASM 3")
    with np.load(paths[".npz"]) as arrays:
        assert sorted(arrays) == ["angles", "bias", "feature_matrix", "feature_shift", "head"]
    for secret in (b"WIN CASH", b"PRIZE", b"lunch at"):
        assert secret not in wire


def test_one_number_from_the_boxs_losses_to_the_gradients_it_works_out(start, hybrid):
    fleet = start()
    run(fleet, replace(hybrid, steps=Steps(rule="adaptive", most=30)))
    store = fleet.store
    planned = {d["turn"]: d["steps"] for d in decisions(store, "circuit") if d["kind"] == "train"}
    turns = list(planned)
    assert [planned[turn] for turn in turns[:2]] == [{}, {}]
    assert any(planned[turn] for turn in turns[2:])
    before: dict[str, Metrics] = {}
    for number, turn in enumerate(turns):
        told = {row.box: row.metrics for row in store.metrics(turn)}
        for box, metrics in told.items():
            steps = planned[turn].get(box, 4)
            assert (metrics.steps, metrics.gradients) == (steps, steps)
            if number >= 2 and before[box].validation_loss > before[box].teacher_loss:
                ratio = before[box].validation_loss / before[box].teacher_loss
                assert steps == min(int(before[box].steps * ratio), 30)
        before = told


def test_the_language_model_is_asked_once_and_not_in_each_round(start, hybrid):
    fleet = start()
    run(fleet, hybrid)
    for name in NAMES:
        assert len(list((fleet.home / name / "hybrid").glob("*.read"))) == 2


def test_a_teacher_without_a_share_of_the_loss_changes_no_bit_of_any_model(start, hybrid):
    models = {}
    for teacher in ("own", "none"):
        fleet = start(teacher)
        silent = replace(hybrid, model=replace(hybrid.model, teacher=teacher, share=0.0))
        figures = run(fleet, silent)
        assert (figures[0].teacher_loss is None) == (teacher == "none")
        models[teacher] = [row.data for row in fleet.store.model_history("circuit")]
    assert models["own"] == models["none"]
    assert len(models["own"]) == 6


def test_a_job_ends_when_the_circuit_has_come_near_its_teacher(start, hybrid):
    fleet = start()
    table = replace(hybrid.rounds, count=40, gap=0.2)
    figures = run(fleet, replace(hybrid, rounds=table))
    assert len(figures) < 40
    last = figures[-1]
    assert last.validation_loss - last.teacher_loss < 0.2
    assert all(f.validation_loss - f.teacher_loss >= 0.2 for f in figures[:-1])


def test_a_box_whose_owner_allows_fewer_steps_than_a_teacher_takes_says_so(start, hybrid):
    fleet = start(policy=Policy(max_steps=10))
    fleet.submit(hybrid)
    fleet.run(until=lambda: len(fleet.store.enlisted("circuit")) == 2)
    assert {e.reason for e in fleet.store.enlisted("circuit")} == {
        "20 steps a round; this box's policy allows 10"
    }
