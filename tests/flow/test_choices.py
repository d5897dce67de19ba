"""What a task may choose beside the default: another aggregation, another backend."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.folding import Figures, layout_of
from coordinator.taskfile import Model, read, task_of
from edge_client.config import Policy, Quantum
from proto.messages import TRAIN
from quantization.pack import unpack
from quantization.scheme import EXACT
from tests.flow.test_faults import (
    NAMES,
    final_model,
    finish,
    make,
    own_rows,
    rows_of,
    slow,
    task,
    until_round,
)


def figures(store) -> list[Figures]:
    rounds = [r for r in store.rounds("job") if r.kind == TRAIN and r.outcome == "done"]
    return [msgspec.json.decode(r.result, type=Figures) for r in rounds]


def history(home: Path, aggregation: str, *, killed: bool = False) -> list[bytes]:
    fleet = make(home)
    fleet.submit(task(4, aggregation=aggregation))
    if killed:
        fleet.run(until=lambda: len(figures(fleet.open_store())) == 2)
        fleet.kill_coordinator()
        fleet.start_coordinator()
    fleet.run(until=lambda: fleet.open_store().job("job").phase == "finished")
    return [row.data for row in fleet.open_store().model_history("job")]


def test_a_coordinator_that_died_goes_on_with_the_same_fedadam_to_the_bit(tmp_path):
    undisturbed = history(tmp_path / "one", "fedadam")
    assert history(tmp_path / "two", "fedadam", killed=True) == undisturbed
    assert len(undisturbed) == 5


def test_every_aggregation_gives_a_model_of_its_own(tmp_path):
    names = ("mean", "fedadam", "trimmed-mean", "median")
    last = {name: history(tmp_path / name, name)[-1] for name in names}
    # Of three values, cutting one at each end leaves the median.
    assert last["trimmed-mean"] == last["median"]
    assert len(set(last.values())) == 3


def test_boxes_train_together_on_aer_and_tell_what_it_took(tmp_path):
    pytest.importorskip("qiskit_aer", reason="qiskit-aer is not installed")
    fleet = make(tmp_path)
    model = Model(reps=1, backend="aer", shots=32, shot_budget=100_000)
    fleet.submit(replace(task(2), model=model))
    store = fleet.open_store()
    fleet.run(until=lambda: store.job("job").phase == "finished")
    # A box: received and trained model on 24 rows, received on 6, 2 steps of 24 rows, 4 angles.
    each = 32 * (24 + 24 + 6 + 2 * 24 * 9)
    assert [f.shots for f in figures(store)] == [3 * each] * 2


def test_a_box_whose_owner_allows_no_such_backend_stays_out_and_says_why(tmp_path):
    fleet = make(tmp_path)
    strict = replace(own_rows(tmp_path / "x.csv", 9), policy=Policy(backends=("aer",)))
    fleet.add_box("strict", strict)
    fleet.submit(task(1))
    store = fleet.open_store()
    fleet.run(until=lambda: store.job("job").phase == "finished")
    assert {e.box for e in store.enlisted("job") if e.rows} == set(NAMES)
    (out,) = (e for e in store.enlisted("job") if not e.rows)
    assert (out.box, out.reason) == ("strict", "backend numpy; this box's policy allows aer")


BACKENDS = {
    "numpy": None,
    "aer": "qiskit_aer",
    "pennylane:lightning.qubit": "pennylane_lightning",
    "ibm": "qiskit_ibm_runtime",
}
SHOTS_FILE = """
job = "job"
[data]
classes = ["low", "high"]
columns = ["a", "b"]
components = 0
[model]
reps = 1
backend = "numpy"
shots = 32
shot_budget = 100_000
[training]
steps = 2
learning_rate = 0.2
batch = 6
[rounds]
count = 2
quorum = 3
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_task_file_trains_a_fleet_on_any_backend_by_changing_that_word(backend, tmp_path):
    if library := BACKENDS[backend]:
        pytest.importorskip(library, reason=f"{library} is not installed")
    path = tmp_path / "task.toml"
    path.write_text(SHOTS_FILE.replace('"numpy"', f'"{backend}"'))
    fleet = make(tmp_path / "fleet")
    for name in NAMES:
        fleet.kill_box(name)
        allowed = replace(
            own_rows(tmp_path / f"{name}.csv", NAMES.index(name)),
            policy=Policy(backends=tuple(BACKENDS)),
            quantum=Quantum(device="FakeManilaV2"),
        )
        fleet.start_box(name, allowed)
    fleet.submit(read(path))
    store = fleet.open_store()
    fleet.run(until=lambda: store.job("job").phase == "finished")
    # A box: received and trained model on 24 rows, received on 6, 2 steps of 6 rows, 4 angles.
    each = 32 * (24 + 24 + 6 + 2 * 6 * 9)
    assert [f.shots for f in figures(store)] == [3 * each] * 2
    layout = layout_of(task_of(read(path), "sim", 1))
    models = [unpack(row.data, layout, EXACT) for row in store.model_history("job")]
    assert np.abs(models[-1]["angles"] - models[0]["angles"]).max() > 0.05


def test_simulated_rounds_come_first_and_cost_no_shots(tmp_path):
    fleet = make(tmp_path)
    model = Model(reps=1, shots=32, shot_budget=100_000, simulated_rounds=2)
    fleet.submit(replace(task(3), model=model))
    store = fleet.open_store()
    fleet.run(until=lambda: store.job("job").phase == "finished")
    each = 32 * (24 + 24 + 6 + 2 * 24 * 9)
    assert [f.shots for f in figures(store)] == [0, 0, 3 * each]


def test_boxes_keep_heads_of_their_own_and_send_fewer_numbers(tmp_path):
    whole, angles = (bytes_up(tmp_path / str(own), personal_head=own) for own in (False, True))
    assert all(fewer < more for fewer, more in zip(angles, whole, strict=True))
    assert not list((tmp_path / "False").glob("*/personal/*"))
    heads = [path.read_bytes() for path in (tmp_path / "True").glob("*/personal/job-*.head")]
    assert len(set(heads)) == len(NAMES)


def bytes_up(home: Path, *, personal_head: bool) -> list[int]:
    fleet, file = make(home), task(2)
    fleet.submit(replace(file, training=replace(file.training, personal_head=personal_head)))
    store = fleet.open_store()
    fleet.run(until=lambda: store.job("job").phase == "finished")
    return [r.bytes_up for r in store.rounds("job") if r.kind == TRAIN]


def measured(home: Path, caplog: pytest.LogCaptureFixture, *, killed: bool) -> tuple[bytes, int]:
    """The last model of three boxes that train by shots, and how many jobs were really run."""
    caplog.clear()
    fleet = make(home)
    slow(fleet, *NAMES)
    fleet.submit(replace(task(2), model=Model(reps=1, shots=32, shot_budget=100_000)))
    if killed:
        until_round(fleet, 1)
        fleet.clock.run(fleet.clock.now + 10)
        fleet.kill_box("pi-2")
        fleet.start_box("pi-2", rows_of(fleet, "pi-2"), 30.0)
    finish(fleet)
    ran = [record for record in caplog.records if "shots each" in record.getMessage()]
    return final_model(fleet), len(ran)


def test_a_box_killed_in_training_by_shots_runs_none_of_its_jobs_again(tmp_path, caplog):
    caplog.set_level("INFO", logger="edge_client")
    undisturbed = measured(tmp_path / "one", caplog, killed=False)
    assert undisturbed[1] > 0
    assert ", 0 shots" not in caplog.text
    assert measured(tmp_path / "two", caplog, killed=True) == undisturbed
    assert "0 jobs, 0 shots" in caplog.text
