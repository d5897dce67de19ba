"""From a task to the model that trains it: its circuit on the backend it names."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from edge_client.circuit.aims import Blend
from edge_client.circuit.backends.checkpoint import Checkpoint
from edge_client.circuit.backends.jobs import Jobs
from edge_client.circuit.backends.machine import Float64s, Machine, Measured, check_installed
from edge_client.circuit.backends.measured import measured_model
from edge_client.circuit.backends.simulated import numpy_machine
from edge_client.circuit.backends.unrolled import unroll
from edge_client.circuit.classifier import PreparedRows, classifier_model
from edge_client.config import Quantum
from edge_client.model import Model
from edge_client.optimisers.chosen import BY_GRADIENT
from edge_client.qpu_queue import note
from proto.circuit import Circuit, Classifier, check_classifier
from proto.codec import encode
from proto.hybrid import Hybrid
from proto.messages import Execution, Task
from proto.models import circuit_in


@dataclass(frozen=True, slots=True)
class Workbench:
    """A model to train, and the jobs it runs on a machine, if any."""

    model: Model[PreparedRows]
    jobs: Jobs | None
    checkpoint: Checkpoint | None

    @property
    def shots(self) -> int:
        return self.jobs.shots if self.jobs else 0

    def close(self) -> None:
        if self.jobs:
            self.jobs.tell_all()
        if self.checkpoint:
            self.checkpoint.close()


def circuit_of(task: Task) -> Classifier:
    """The circuit a task trains; only tasks that train one come here."""
    circuit = circuit_in(task.model)
    assert circuit is not None
    return circuit


def blend_of(task: Task) -> Blend | None:
    """The teacher's part in the circuit's loss, or None."""
    model = task.model
    if not isinstance(model, Hybrid) or not model.share:
        return None
    return Blend(model.share, model.warmth)


def workbench(task: Task, quantum: Quantum, home: str, turn: bytes, seed: int) -> Workbench:
    """What one round of a task needs on this box. `turn` is the hash of what the round starts from.

    home: the box's folder; empty keeps nothing on disk. Raises ConfigError, RemoteError.
    """
    execution, model, blend = task.execution, circuit_of(task), blend_of(task)
    plain = execution.backend == "numpy" and not execution.shots
    if plain and task.training.optimiser in BY_GRADIENT:
        return Workbench(classifier_model(model, blend=blend), None, None)
    check_classifier(model)
    unrolled = unroll(model.circuit)
    folder = Path(home) if home else None
    machine = _machine(unrolled.circuit, execution, quantum, folder)
    name = hashlib.sha256(encode(task)).hexdigest()[:16]
    # What the box's own engine works out without drawing is had again sooner than it is written.
    path = folder / "quantum" / f"{task.job}-{name}.journal" if folder and not plain else None
    checkpoint = Checkpoint(path, turn, execution.shot_budget)
    jobs = Jobs(machine, execution.shots, checkpoint, seed)
    return Workbench(measured_model(model, unrolled, jobs, blend), jobs, checkpoint)


def in_round(task: Task, round_: int) -> Task:
    """The task as it is carried out in a round of training: the first ones may be simulated."""
    if round_ > task.execution.simulated_rounds:
        return task
    return replace(task, execution=Execution())


def _machine(
    circuit: Circuit, execution: Execution, quantum: Quantum, home: Path | None
) -> Machine:
    family, _, device = execution.backend.partition(":")
    if family == "numpy":
        return numpy_machine(circuit)
    check_installed(execution.backend)
    # Each of these imports a large library, which other tasks shall not wait for.
    if family == "aer":
        from edge_client.circuit.backends.aer import aer_machine  # noqa: PLC0415

        return aer_machine(circuit, execution.noise, home / "calibrations" if home else None)
    if family == "ibm":
        from edge_client.circuit.backends.ibm import ibm_machine  # noqa: PLC0415

        return noting(ibm_machine(circuit, quantum.device), home)
    from edge_client.circuit.backends.penny import pennylane_machine  # noqa: PLC0415

    return pennylane_machine(circuit, device)


def noting(machine: Machine, home: Path | None) -> Machine:
    """The same machine; what each job waited is noted in the box's folder."""
    if home is None:
        return machine

    def measure(angles: Float64s, shots: int, seed: int) -> Measured:
        done = machine(angles, shots, seed)
        note(home, done.queued)
        return done

    return measure
