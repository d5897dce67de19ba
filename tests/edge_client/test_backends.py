"""The same circuit gives the same values on every backend that is installed here."""

import importlib.util
import sys

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.folding import first_model, layout_of, scheme_of
from coordinator.taskfile import Data, Model, TaskFile, Train, task_of
from edge_client import config
from edge_client.circuit import reference
from edge_client.circuit.backends.aer import aer_machine
from edge_client.circuit.backends.checkpoint import Checkpoint
from edge_client.circuit.backends.ibm import _times, _tried, _values, ibm_machine
from edge_client.circuit.backends.in_qiskit import signs
from edge_client.circuit.backends.jobs import Jobs
from edge_client.circuit.backends.machine import JobFailed, Machine
from edge_client.circuit.backends.measured import measured_model
from edge_client.circuit.backends.penny import pennylane_machine
from edge_client.circuit.backends.simulated import numpy_machine
from edge_client.circuit.backends.unrolled import unroll
from edge_client.circuit.classifier import classifier_model
from edge_client.labour import carry_out
from edge_client.requests import Assignment, Broken, Done, Finding, Inspection
from proto.ansatz import (
    assemble,
    default_classifier,
    each_z,
    parity,
    re_uploading,
    real_amplitudes,
    ry_encoding,
    zz_feature_map,
)
from proto.circuit import Angle, Circuit, Gate
from proto.codec import encode
from proto.errors import ConfigError
from proto.messages import EVALUATE, TRAIN, BlobRef, Offer, Task, Update
from quantization.pack import unpack_vector

AER = pytest.param(
    "aer",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("qiskit_aer") is None, reason="qiskit-aer is not installed"
    ),
)
PENNYLANE = [
    pytest.param(
        f"pennylane:{device}",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("pennylane") is None, reason="PennyLane is not installed"
        ),
    )
    for device in ("default.qubit", "lightning.qubit")
]
SIMULATORS = ["numpy", AER, *PENNYLANE]
MIXED = assemble(
    3,
    [
        Gate("h", (0,)),
        Gate("x", (2,)),
        Gate("rz", (0,), Angle("feature", 0, scale=0.5)),
        Gate("cz", (0, 2)),
        *(Gate(name, (0,)) for name in ("sx", "s", "y", "sx", "sdg", "t", "h", "z", "tdg", "h")),
        Gate("rzz", (0, 2), Angle("weight", 1, scale=0.7)),
        Gate("swap", (0, 1)),
        Gate("rx", (1,), Angle("weight", 0, scale=-2.0)),
        Gate("p", (0,), Angle("weight", 0)),
        Gate("h", (0,)),
        Gate("cx", (2, 1)),
        Gate("ry", (1,), Angle("constant", scale=0.3)),
        Gate("ry", (2,), Angle("weight", 1)),
    ],
    [(0,), (1, 2), (0, 1, 2)],
)
"""Every gate, a weight read twice and scaled, a constant, observables over several wires."""
CIRCUITS = {
    "default": default_classifier(3, reps=2).circuit,
    "paper": assemble(3, (*zz_feature_map(3), *real_amplitudes(3, 1)), parity(3)),
    "re-uploading": assemble(3, re_uploading(3, 2), each_z(3)),
    "mixed": MIXED,
}


def machine_of(backend: str, circuit: Circuit) -> Machine:
    if backend == "numpy":
        return numpy_machine(circuit)
    if backend == "aer":
        return aer_machine(circuit, "", None)
    return pennylane_machine(circuit, backend.partition(":")[2])


def points(circuit: Circuit, rows: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(rows, circuit.features)), rng.normal(size=(1, circuit.weights))


@pytest.mark.parametrize("backend", SIMULATORS)
@pytest.mark.parametrize("name", CIRCUITS)
def test_exact_values_are_those_of_the_textbook(backend, name):
    circuit = CIRCUITS[name]
    x, weights = points(circuit)
    unrolled = unroll(circuit)
    angles = unrolled.angles(x, weights)[0]
    found = machine_of(backend, unrolled.circuit)(angles, 0, 1).values
    expected = [reference.expectations(circuit, weights[0], row) for row in x]
    assert np.allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", SIMULATORS)
def test_shots_scatter_round_the_exact_values_as_draws_do_and_a_seed_repeats_them(backend):
    unrolled = unroll(CIRCUITS["default"])
    angles = unrolled.angles(*points(CIRCUITS["default"], 40))[0]
    machine = machine_of(backend, unrolled.circuit)
    exact, few, again, other = (machine(angles, *how).values for how in ((0, 1), *DRAWS))
    scatter = (few - exact) / np.sqrt((1 - exact**2) / 100 + 1e-9)
    assert 0.8 < scatter.std() < 1.2
    assert np.array_equal(few, again)
    assert not np.array_equal(few, other)
    assert np.allclose(few * 100, np.rint(few * 100), atol=1e-6)


DRAWS = ((100, 7), (100, 7), (100, 8))


@pytest.mark.parametrize("name", CIRCUITS)
def test_shifted_angles_give_the_jacobian(name):
    circuit = CIRCUITS[name]
    x, weights = points(circuit, 3)
    unrolled = unroll(circuit)
    shifted = unrolled.shifted(unrolled.angles(x, weights)[0])
    values = numpy_machine(unrolled.circuit)(shifted.reshape(-1, shifted.shape[-1]), 0, 1).values
    values = values.reshape(len(shifted), 3, -1)
    slopes = np.random.default_rng(2).normal(size=values[0].shape)
    whole = [reference.jacobian(circuit, weights[0], row) for row in x]
    expected = np.einsum("ro,row->w", slopes, np.array(whole))
    assert np.allclose(unrolled.gradient(slopes, values), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("head", ["linear", "parity"])
def test_a_measured_models_loss_and_gradient_are_the_simulated_models(head):
    circuit = CIRCUITS["default" if head == "linear" else "paper"]
    classifier = replace(default_classifier(3), circuit=circuit, head=head)
    unrolled = unroll(circuit)
    jobs = Jobs(numpy_machine(unrolled.circuit), 0, Checkpoint(None, b"", 0))
    measured, simulated = measured_model(classifier, unrolled, jobs), classifier_model(classifier)
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(10, 3)).astype(np.float32), rng.integers(0, 2, 10)
    arrays = simulated.init(rng)
    loss, grad = measured.loss_and_grad(arrays, measured.prepare(z), y)
    expected, slope = simulated.loss_and_grad(arrays, simulated.prepare(z), y)
    assert loss == pytest.approx(expected, abs=1e-6)
    assert all(np.allclose(grad[name], slope[name], atol=1e-6) for name in slope)
    chances = measured.predict(arrays, measured.prepare(z))
    assert np.allclose(chances, simulated.predict(arrays, simulated.prepare(z)), atol=1e-6)


def test_a_gradient_is_one_job():
    unrolled = unroll(CIRCUITS["default"])
    asked: list[tuple[int, ...]] = []
    machine = numpy_machine(unrolled.circuit)

    def counting(angles, shots, seed):
        asked.append(angles.shape)
        return machine(angles, shots, seed)

    jobs = Jobs(counting, 0, Checkpoint(None, b"", 0))
    model = measured_model(default_classifier(3, reps=2), unrolled, jobs)
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(10, 3)).astype(np.float32), rng.integers(0, 2, 10)
    model.loss_and_grad(model.init(rng), model.prepare(z), y)
    # 9 angles: the point itself and two shifts of each, for 10 rows of 3 features and 9 angles.
    assert asked == [(19 * 10, 12)]


# --- noise, and IBM's machines --------------------------------------------------------------------


def fake_manila(name: str, angles: np.ndarray, circuit: Circuit, shots: int) -> np.ndarray:
    pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")
    pytest.importorskip("qiskit_aer", reason="qiskit-aer is not installed")
    if name == "aer":
        return aer_machine(circuit, "FakeManilaV2", None)(angles, shots, 1).values
    return ibm_machine(circuit, "FakeManilaV2")(angles, shots, 1).values


@pytest.mark.parametrize("name", ["aer", "ibm"])
def test_a_fake_devices_noise_shrinks_the_signal_and_keeps_its_order(name):
    circuit = assemble(4, (*ry_encoding(4), *real_amplitudes(4, 3)), each_z(4))
    unrolled = unroll(circuit)
    angles = unrolled.angles(*points(circuit, 60))[0]
    exact = numpy_machine(unrolled.circuit)(angles, 0, 1).values
    noisy = fake_manila(name, angles, unrolled.circuit, 512)
    slopes = [np.polyfit(exact[:, q], noisy[:, q], 1)[0] for q in range(4)]
    # Measured with Qiskit itself: 0.77 to 0.95 for the qubits of this circuit.
    assert all(0.65 < slope < 1.0 for slope in slopes)


class Account:
    """What a job of IBM's says of itself; None: nothing, for the link is down."""

    def __init__(self, told: dict[str, object] | None) -> None:
        self._told = told

    def metrics(self) -> dict[str, object]:
        if self._told is None:
            raise OSError("no route to host")
        return self._told


STAMPS = {
    "created": "2026-11-25T10:00:00.5Z",
    "running": "2026-11-25T10:01:15.5Z",
    "finished": "2026-11-25T10:01:18Z",
}


@pytest.mark.parametrize(
    ("told", "times"),
    [
        ({"timestamps": STAMPS}, (75.0, 2.5)),
        ({"timestamps": {**STAMPS, "running": None}}, (0.0, 9.0)),
        ({}, (0.0, 9.0)),
        (None, (0.0, 9.0)),
    ],
)
def test_a_job_tells_its_times_and_its_result_counts_without_them(told, times):
    pytest.importorskip("qiskit", reason="qiskit is not installed")
    assert _times(Account(told), 9.0) == times


def test_a_box_may_take_its_noise_from_a_device_of_127_qubits():
    pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")
    pytest.importorskip("qiskit_aer", reason="qiskit-aer is not installed")
    circuit = assemble(2, (*ry_encoding(2), *real_amplitudes(2, 1)), each_z(2))
    unrolled = unroll(circuit)
    angles = unrolled.angles(*points(circuit, 20))[0]
    exact = numpy_machine(unrolled.circuit)(angles, 0, 1).values
    noisy = aer_machine(unrolled.circuit, "FakeBrisbane", None)(angles, 2000, 1).values
    slopes = [np.polyfit(exact[:, q], noisy[:, q], 1)[0] for q in range(2)]
    assert all(0.65 < slope < 1.0 for slope in slopes)


def test_outcomes_of_more_qubits_than_a_byte_holds_are_read_lowest_last():
    circuit = assemble(10, ry_encoding(10), each_z(10))
    packed = np.zeros((1, 4, 2), np.uint8)
    packed[0, :2, 0] = 0b10  # qubit 9 is one in half of the shots
    packed[0, :, 1] = 0b1  # and qubit 0 in all
    assert _values(packed, signs(circuit))[0].tolist() == [-1, 1, 1, 1, 1, 1, 1, 1, 1, 0]


def test_a_calibration_saved_on_the_box_gives_its_error_rates(tmp_path):
    pytest.importorskip("qiskit_aer", reason="qiskit-aer is not installed")
    (tmp_path / "ours.json").write_text('{"zero_as_one": 0.1, "one_as_zero": 0.3}')
    circuit = unroll(assemble(1, ry_encoding(1), each_z(1))).circuit
    values = aer_machine(circuit, "ours", tmp_path)(np.array([[0.0], [np.pi]]), 20_000, 1).values
    assert values[:, 0] == pytest.approx([0.8, -0.4], abs=0.03)
    with pytest.raises(ConfigError, match=r"no calibration to be read in .*theirs.json"):
        aer_machine(circuit, "theirs", tmp_path)


def test_a_box_without_a_machine_or_an_account_is_told_where_to_name_them(monkeypatch):
    pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")
    monkeypatch.delenv("QISKIT_IBM_TOKEN", raising=False)
    circuit = unroll(CIRCUITS["default"]).circuit
    for device, said in (
        ("", r"edge.toml, \[quantum\] device"),
        ("FakeMoon", "no fake device 'FakeMoon'"),
        ("ibm_brisbane", "set QISKIT_IBM_TOKEN"),
    ):
        with pytest.raises(ConfigError, match=said):
            ibm_machine(circuit, device)


def test_an_error_never_carries_the_accounts_token(monkeypatch):
    pytest.importorskip("qiskit", reason="qiskit is not installed")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "s3cret")

    def refuse() -> None:
        raise RuntimeError("401 for Bearer s3cret")

    with pytest.raises(JobFailed) as caught:
        _tried(refuse)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- whole rounds ---------------------------------------------------------------------------------

FILE = TaskFile(
    job="job",
    data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
    model=Model(reps=1),
    training=Train(steps=3, batch=8, bits=32),
)


@pytest.fixture
def data(tmp_path) -> config.Data:
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{'high' if a > 0 else 'low'}" for a, b in rng.normal(size=(30, 2))]
    (tmp_path / "rows.csv").write_text("a,b,level\n" + "\n".join(rows))
    return config.Data(source=str(tmp_path / "rows.csv"))


def work(task: Task, data: config.Data, kind: int = TRAIN, **more) -> Done | Broken | Finding:
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
        steps=task.training.steps,
        seconds=60,
        seed=0,
    )
    request = Assignment("pi-1", b"i" * 16, encode(task), offer, model, b"", data, **more)
    return carry_out(request)


def updated(done: object) -> Update:
    assert isinstance(done, Done), done
    return done.update


@pytest.mark.parametrize("backend", SIMULATORS)
def test_a_task_file_trains_the_same_on_every_simulator(backend, data):
    update = updated(work(task_of(on(backend), "fleet", 1), data))
    expected = updated(work(task_of(FILE, "fleet", 1), data))
    layout, scheme = layout_of(task_of(FILE, "fleet", 1)), scheme_of(task_of(FILE, "fleet", 1))
    numbers, plain = (unpack_vector(u.payload, layout, scheme) for u in (update, expected))
    assert np.abs(plain).max() > 0.1
    assert np.allclose(numbers, plain, atol=1e-4)
    assert update.metrics.last_loss == pytest.approx(expected.metrics.last_loss, abs=1e-4)
    assert update.metrics.gradients == 3


def on(backend: str, **model) -> TaskFile:
    return replace(FILE, model=replace(FILE.model, backend=backend, **model))


@pytest.mark.parametrize("backend", SIMULATORS)
def test_a_round_under_shots_says_how_many_it_took(backend, data, tmp_path):
    task = task_of(on(backend, shots=16, shot_budget=10**6), "fleet", 1)
    metrics = updated(work(task, data, home=str(tmp_path))).metrics
    # Received and trained model on 24 rows, received on 6 more; 3 steps of 8 rows, 4 angles.
    assert metrics.shots == 16 * (24 + 24 + 6 + 3 * 8 * (1 + 2 * 4))
    judged = updated(work(task, data, EVALUATE, home=str(tmp_path))).metrics
    assert judged.shots == 16 * (24 + 6)


def test_a_task_for_ibm_runs_offline_on_a_fake_machine_with_its_noise(data, tmp_path):
    pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")
    task = task_of(on("ibm", shots=32, shot_budget=10**6), "fleet", 1)
    quantum = config.Quantum(device="FakeManilaV2")
    update = updated(work(task, data, quantum=quantum, home=str(tmp_path)))
    assert update.metrics.shots > 0
    assert list((tmp_path / "quantum").glob("job-*.journal"))
    refused = work(task, data)
    assert "[quantum] device" in refused.reason


def test_a_round_beyond_its_budget_ends_with_the_reason_and_stays_ended(data, tmp_path):
    task = task_of(on("numpy", shots=16, shot_budget=2000), "fleet", 1)
    for _ in range(2):
        broken = work(task, data, home=str(tmp_path))
        assert isinstance(broken, Broken)
        assert "the shot budget is used up" in broken.reason
        assert "of 2000 shots" in broken.reason


@pytest.mark.parametrize(
    ("backend", "library", "extra"),
    [
        ("aer", "qiskit_aer", "aer"),
        ("ibm", "qiskit_ibm_runtime", "ibm"),
        ("pennylane:default.qubit", "pennylane", "pennylane"),
    ],
)
def test_a_box_without_the_library_enlists_for_nothing_and_says_what_to_install(
    data, monkeypatch, backend, library, extra
):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == library else real(name)
    )
    monkeypatch.setitem(sys.modules, library, None)
    task = task_of(on(backend, shots=8, shot_budget=100), "fleet", 1)
    finding = carry_out(Inspection(encode(task), data))
    assert finding.rows == 0
    assert f"pip install 'qfleet[{extra}]'" in finding.reason


def test_a_device_pennylane_does_not_have_is_named():
    pytest.importorskip("pennylane", reason="PennyLane is not installed")
    with pytest.raises(ConfigError, match=r"no device 'abacus\.qubit' here: install the plug-in"):
        machine_of("pennylane:abacus.qubit", unroll(CIRCUITS["default"]).circuit)
