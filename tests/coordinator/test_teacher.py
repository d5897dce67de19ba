"""The adapter of one job as the teacher of another's circuits."""

import hashlib

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.store import Store
from coordinator.submit import submit
from coordinator.taskadapter import AdapterModel
from coordinator.taskfile import Data, TaskFile, read, task_of
from coordinator.taskhybrid import HybridModel
from coordinator.teacher import features_of
from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.hybrid import teacher_layout
from proto.messages import Task
from proto.models import model_layout, shared_layout
from quantization import moments
from quantization.arrays import draw
from quantization.pack import pack, unpack
from quantization.scheme import EXACT

TEXTS = Data(classes=("ham", "spam"), columns=("a",), text="text")
ADAPTER = TaskFile(job="sms", data=TEXTS, model=AdapterModel(rank=4, tokens=48))
FLEETS = HybridModel(teacher="fleet", teacher_job="sms", sketch=16)
HYBRID = TaskFile(job="circuit", data=TEXTS, model=FLEETS)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "qfleet.db")
    yield opened
    opened.close()


def task(store: Store, job: str) -> Task:
    return decode_signed(store.job(job).task, Task)


def trained(store: Store, turn: int = 3) -> dict[str, np.ndarray]:
    """A job that has trained an adapter; all its arrays."""
    submit(store, ADAPTER, "fleet", 1.0)
    model, rng, whole = task(store, "sms").model, np.random.default_rng(0), {}
    for kind, layout, at in (
        ("model", model_layout(model), turn),
        ("features", shared_layout(model), 0),
    ):
        arrays = draw(layout, 0.5, rng)
        whole |= arrays
        data = pack(arrays, layout, EXACT, rng)
        digest = hashlib.sha256(data).digest()
        store.save_model({"digest": digest, "job": "sms", "turn": at, "kind": kind, "data": data})
    return whole


def test_a_hybrid_reads_as_its_teacher_and_gets_its_newest_arrays_with_the_feature_map(store):
    whole = trained(store)
    submit(store, HYBRID, "fleet", 2.0)
    made = task(store, "circuit")
    assert made.model.reader == task(store, "sms").model
    first, second = moments.feature_layout(17, 4), teacher_layout(made.model)
    fitted = draw(first, 1.0, np.random.default_rng(1))
    blob = features_of(store, made, pack(fitted, first, EXACT, np.random.default_rng(0)))
    found = unpack(blob, (*first, *second), EXACT)
    assert np.array_equal(found["matrix"], fitted["matrix"])
    assert {n: a.tolist() for n, a in found.items() if n.startswith("teacher_")} == {
        f"teacher_{n}": a.tolist() for n, a in whole.items()
    }


def test_without_a_teacher_of_the_fleets_the_feature_map_stays_as_it_is(store):
    own = replace(HYBRID, model=HybridModel(teacher="own"))
    submit(store, own, "fleet", 1.0)
    assert features_of(store, task(store, "circuit"), b"map") == b"map"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FLEETS, "there is no job 'sms'"),
        (replace(FLEETS, teacher_job=None), "teacher_job names the job"),
        (replace(FLEETS, teacher="own"), "teacher_job names the job"),
    ],
)
def test_a_teacher_that_is_not_there_is_told(store, model, said):
    with pytest.raises(ConfigError, match=said):
        submit(store, replace(HYBRID, model=model), "fleet", 1.0)
    assert store.job("circuit") is None


def test_a_job_that_has_trained_nothing_yet_teaches_nobody(store):
    trained(store, turn=0)
    with pytest.raises(ConfigError, match="has trained no adapter yet"):
        submit(store, HYBRID, "fleet", 2.0)
    assert store.job("circuit") is None


def test_a_job_that_trains_circuits_teaches_nobody(store):
    submit(store, TaskFile(job="sms", data=Data(classes=("x", "y"), columns=tuple("abcd"))), "f", 1)
    with pytest.raises(ConfigError, match="'sms' trains no adapter"):
        submit(store, HYBRID, "fleet", 2.0)


def test_a_hybrid_of_a_task_file_needs_no_more_than_its_text(tmp_path):
    path = tmp_path / "task.toml"
    path.write_text(
        'job = "h"\n[data]\nclasses = ["ham", "spam"]\ntext = "text"\n'
        '[model]\nkind = "hybrid"\nteacher = "own"\n[model.circuit]\nreps = 2\n'
        "[model.reader]\ntokens = 40\n"
    )
    made = task_of(read(path), "fleet", 1)
    assert (made.data.components, made.model.sketch, made.model.reader.tokens) == (4, 64, 40)
    assert made.model.circuit.circuit.qubits == 4


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (replace(HYBRID, data=replace(TEXTS, text="")), "name its column in data.text"),
        (replace(HYBRID, data=replace(TEXTS, components=0)), "at least 1 for a hybrid"),
        (replace(HYBRID, data=replace(TEXTS, components=12)), "at most the number of columns"),
        (replace(HYBRID, model=replace(FLEETS, reader=AdapterModel())), "leave model.reader out"),
    ],
)
def test_a_hybrid_that_makes_no_sense_is_refused_by_the_keys_name(file, said):
    small = replace(file, model=replace(file.model, sketch=4))
    with pytest.raises(ConfigError, match=said):
        task_of(small, "fleet", 1)


def test_columns_that_say_the_class_count_towards_the_most_that_can_be_summed():
    model = replace(FLEETS, teacher="none", teacher_job=None, sketch=125)
    file = replace(HYBRID, model=model)
    assert not task_of(file, "fleet", 1).model.labelled
    assert task_of(replace(file, model=replace(model, labelled=True)), "fleet", 1).model.labelled
    with pytest.raises(ConfigError, match="at most 128"):
        task_of(replace(file, model=replace(model, sketch=126, labelled=True)), "fleet", 1)
