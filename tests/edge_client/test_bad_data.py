"""Data and tasks that cannot be trained, on every path: an error that says what to change."""

import re

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.folding import first_model, fold
from coordinator.taskfile import Data, Model, TaskFile, Train, task_of
from coordinator.taskhybrid import HybridModel
from coordinator.updates import Part
from edge_client import config
from edge_client.circuit.backends.chosen import workbench
from edge_client.labour import carry_out
from edge_client.requests import Assignment, Broken, Done, Inspection
from proto.ansatz import assemble, each_z, ry_encoding
from proto.circuit import Classifier, check_classifier
from proto.codec import encode
from proto.errors import ConfigError, LocalError, RemoteError
from proto.messages import MOMENTS, TRAIN, BlobRef, Offer, Update
from quantization.moments import add, finish, init, moments_from_bytes

FILE = TaskFile(
    job="job",
    data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
    model=Model(reps=1),
    training=Train(steps=2),
)
SHOTS = replace(FILE, model=Model(reps=1, shots=16, shot_budget=10**6))
"""The same task, trained by parameter shift on drawn values."""


def ask(file: TaskFile, folder, text: str, kind: int = TRAIN):
    (folder / "rows.csv").write_text(text)
    task = task_of(file, "fleet", 1)
    model = first_model(task, 0)
    offer = Offer(
        job="job",
        round=1,
        turn=1,
        kind=kind,
        task=bytes(16),
        key=bytes(32),
        model=BlobRef(digest=bytes(32), address=bytes(16), size=len(model)),
        features=None,
        inline=b"",
        steps=2,
        seconds=60,
        seed=0,
    )
    data = config.Data(source=str(folder / "rows.csv"))
    asked = (
        Inspection(encode(task), data),
        Assignment("pi-1", b"i" * 16, encode(task), offer, model, b"", data),
    )
    return tuple(carry_out(request) for request in asked)


def table(rows: int = 30, label: str | None = None, header: str = "a,b,level") -> str:
    rng = np.random.default_rng(0)
    labels = (label, label) if label else ("low", "high")
    lines = [f"{a},{b},{labels[int(a > 0)]}" for a, b in rng.normal(size=(rows, 2))]
    return "\n".join([header, *lines])


@pytest.mark.parametrize("file", [FILE, SHOTS])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table().replace("\n", "\nnan,1,low\n", 1), "line 2 column 'a': 'nan' is not finite"),
        (table().replace("\n", "\n,1,low\n", 1), "line 2 column 'a': '' is not a number"),
        (table().replace("\n", "\n1,low\n", 1), "line 2: 2 cells, 3 expected"),
        (table(header="a,c,level"), "'b'"),
        (table(label="middle"), "label 'middle' is not a class of the task: low, high"),
    ],
)
def test_the_boxs_log_names_the_cell_and_the_coordinator_learns_none(tmp_path, file, text, said):
    finding, broken = ask(file, tmp_path, text)
    assert isinstance(broken, Broken)
    assert finding.rows == 0
    for answer in (finding, broken):
        assert said in answer.detail
        assert said not in answer.reason
        assert "the box's own log says why" in answer.reason


@pytest.mark.parametrize("file", [FILE, SHOTS])
def test_a_box_with_one_class_trains_and_its_loss_falls(tmp_path, file):
    finding, done = ask(file, tmp_path, table(label="high"))
    assert finding.rows == 24
    metrics = updated(done).metrics
    assert metrics.last_loss < metrics.first_loss


def test_a_box_with_one_class_says_so_in_its_own_log_alone(tmp_path):
    finding, _ = ask(FILE, tmp_path, table(label="high"))
    assert "all 30 rows are of class 'high'" in finding.detail
    assert "add rows of another" in finding.detail
    assert finding.reason == ""


def test_a_box_with_one_class_gets_no_head_of_its_own_and_is_told_what_to_change(tmp_path):
    file = replace(FILE, training=replace(FILE.training, personal_head=True))
    finding, _ = ask(file, tmp_path, table(label="high"))
    assert finding.rows == 0
    assert "add rows of another class, or leave training.personal_head out" in finding.reason
    assert "high" not in finding.reason


@pytest.mark.parametrize("file", [FILE, SHOTS])
def test_a_constant_column_is_trained_on_and_named_in_the_boxs_own_log(tmp_path, file):
    text = re.sub(r"(?m)^(-?\d[^,]*),[^,]*,", r"\1,7,", table())
    assert ",7,low" in text
    finding, done = ask(file, tmp_path, text)
    assert (finding.rows, updated(done).rows) == (24, 24)
    assert "the same in all 30 rows: 'b'" in finding.detail
    assert "leave them out of data.columns" in finding.detail
    assert finding.reason == ""


@pytest.mark.parametrize("flat", ["class", "column"])
def test_a_task_that_wants_varied_rows_refuses_a_box_and_says_what_to_change(tmp_path, flat):
    text = table(label="high")
    if flat == "column":
        text = re.sub(r"(?m)^(-?\d[^,]*),[^,]*,", r"\1,7,", table())
    file = replace(FILE, data=replace(FILE.data, varied=True))
    finding, _ = ask(file, tmp_path, text)
    assert finding.rows == 0
    said = {"class": "add rows of another", "column": "leave them out of data.columns"}
    assert said[flat] in finding.detail
    assert "A task without data.varied takes such rows" in finding.detail
    assert "high" not in finding.reason
    assert "'b'" not in finding.reason
    finding, _ = ask(file, tmp_path, table())
    assert finding.rows == 24


@pytest.mark.parametrize(("components", "raised"), [(1, False), (2, True)])
def test_a_column_constant_on_all_boxes_is_named_to_the_operator(tmp_path, components, raised):
    text = re.sub(r"(?m)^(-?\d[^,]*),[^,]*,", r"\1,7,", table())
    file = replace(FILE, data=replace(FILE.data, components=components))
    _, done = ask(file, tmp_path, text, MOMENTS)
    part = Part(24, updated(done).payload, None)
    if raised:
        with pytest.raises(RemoteError, match=r"vary in 1 directions: set data\.components"):
            fold(task_of(file, "fleet", 1), MOMENTS, b"", [part])
        return
    result = fold(task_of(file, "fleet", 1), MOMENTS, b"", [part])
    assert result.remark == "the same in every row of every box: b; data.columns can do without"


def test_a_column_that_is_constant_on_all_boxes_gives_features_all_the_same(tmp_path):
    text = re.sub(r"(?m)^(-?\d[^,]*),[^,]*,", r"\1,7,", table())
    _, done = ask(replace(FILE, data=replace(FILE.data, components=1)), tmp_path, text, MOMENTS)
    pooled = add(init(2), moments_from_bytes(updated(done).payload, 2))
    features = finish(pooled, 1).apply(np.array([[0.5, 7.0], [-0.5, 7.0]]))
    assert np.isfinite(features).all()
    assert abs(features[0, 0] - features[1, 0]) > 0.1


def test_more_components_than_the_rows_vary_in_give_features_that_say_nothing(tmp_path):
    text = re.sub(r"(?m)^(-?\d[^,]*),[^,]*,", r"\1,7,", table())
    _, done = ask(replace(FILE, data=replace(FILE.data, components=2)), tmp_path, text, MOMENTS)
    pooled = add(init(2), moments_from_bytes(updated(done).payload, 2))
    features = finish(pooled, 2).apply(np.array([[0.5, 7.0], [-0.5, 7.0]]))
    assert np.ptp(features[:, 0]) > 0.1
    assert np.ptp(features[:, 1]) == 0.0


@pytest.mark.parametrize("shots", [0, 16])
def test_another_number_of_features_than_the_circuit_reads_is_refused(shots):
    task = task_of(replace(FILE, model=Model(reps=1, shots=shots)), "fleet", 1)
    model = workbench(task, config.Quantum(), "", b"", 0).model
    with pytest.raises(LocalError, match=r"features of shape \(5, 3\); \(rows, 2\) is needed"):
        model.prepare(np.zeros((5, 3), np.float32))
    with pytest.raises(LocalError, match="NaN or infinite"):
        model.prepare(np.full((5, 2), np.nan, np.float32))


def test_forty_qubits_are_refused_wherever_they_come_from():
    columns = tuple(f"c{number}" for number in range(40))
    wide = replace(FILE, data=Data(classes=("low", "high"), columns=columns, components=0))
    with pytest.raises(ConfigError, match=r"40 qubits, at most 12.*set data\.components"):
        task_of(wide, "fleet", 1)
    with pytest.raises(RemoteError, match="qubits: 40; 1 to 12 is accepted"):
        check_classifier(Classifier(assemble(40, ry_encoding(40), each_z(40))))


def updated(done: object) -> Update:
    assert isinstance(done, Done), done
    return done.update


def test_a_box_with_few_rows_of_a_class_says_before_any_offer_that_it_cannot_sum_by_class(tmp_path):
    told = HybridModel(teacher="none", sketch=16, labelled=True)
    texts = Data(classes=("ham", "spam"), columns=(), text="text")
    task = task_of(TaskFile(job="job", data=texts, model=told), "fleet", 1)
    rows = ["text,label", *["buy now,spam"] * 12, *["see you,ham"] * 60]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    data = config.Data(source=str(tmp_path / "rows.csv"))
    found = carry_out(Inspection(encode(task), data))
    assert (found.rows, found.reason) == (
        0,
        "too few rows of a class: sums by class take none or 20 of each",
    )
