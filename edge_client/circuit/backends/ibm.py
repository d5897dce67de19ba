"""IBM's machines through Qiskit Runtime, and its fake devices in local testing mode."""

import logging
import time
from datetime import datetime
from typing import Any

import numpy as np

from edge_client.circuit.backends.aer import CAREFUL, FAKE, SMALL, fake_device
from edge_client.circuit.backends.in_qiskit import build, columns, signs, transpile
from edge_client.circuit.backends.machine import (
    Float64s,
    JobFailed,
    Machine,
    Measured,
    NotHere,
    load,
)
from edge_client.config import ibm_account
from proto.circuit import Circuit
from proto.errors import ConfigError

logger = logging.getLogger("edge_client")

PART = 2**20
"""Outcomes counted at once."""


def ibm_machine(circuit: Circuit, device: str) -> Machine:
    """A machine for an unrolled circuit on `device`: "ibm_..." by name, or "Fake..." offline.

    The circuit is transpiled once; each job is one PUB with all points. Raises ConfigError.
    """
    if not device:
        text = 'this box has no quantum computer: name one in edge.toml, [quantum] device = "..."'
        raise NotHere(text)
    backend, target = _backend(device, circuit.qubits)
    made, vector = build(circuit)
    made.measure_all()
    ready = transpile(made, target, CAREFUL)
    order, table = columns(ready, vector), signs(circuit)
    sampler = _sampler(backend)

    def measure(angles: Float64s, shots: int, seed: int) -> Measured:
        if not shots:
            raise ConfigError("a quantum computer gives no exact values: set model.shots")
        if device.startswith(FAKE):
            backend.set_options(seed_simulator=seed)
        began = time.monotonic()
        job = _tried(lambda: sampler.run([(ready, angles[:, order])], shots=shots))
        found = _tried(job.result)
        queued, ran = _times(job, time.monotonic() - began)
        return Measured(_values(found[0].data.meas.array, table), queued, ran)

    return measure


def _tried(act: Any) -> Any:
    from qiskit.exceptions import QiskitError  # noqa: PLC0415 - heavy, for this backend alone

    try:
        return act()
    except (QiskitError, OSError, RuntimeError) as error:
        raise JobFailed(_hushed(f"Qiskit Runtime: {error}")) from None


def _hushed(text: str) -> str:
    """No error may carry the account's token into a log."""
    token, _ = ibm_account()
    return text.replace(token, "...") if token else text


def _backend(device: str, qubits: int) -> tuple[Any, Any]:
    """Where jobs go, and what to transpile for."""
    runtime = load("ibm", "qiskit_ibm_runtime")
    if device.startswith(FAKE):
        fake = fake_device(device)
        # Else each job would build the noise model anew: seconds for a large device.
        simulator = load("aer", "qiskit_aer").AerSimulator
        method = "density_matrix" if qubits <= SMALL else "automatic"
        return simulator.from_backend(fake, max_parallel_threads=1, method=method), fake
    token, instance = ibm_account()
    if not token:
        raise NotHere("set QISKIT_IBM_TOKEN (and QISKIT_IBM_INSTANCE) for this box's agent")
    options = {"instance": instance} if instance else {}
    service = _tried(lambda: runtime.QiskitRuntimeService(token=token, **options))
    backend = _tried(lambda: service.backend(device))
    return backend, backend


def _sampler(backend: Any) -> Any:
    try:
        sampler = load("ibm", "qiskit_ibm_runtime.executor_sampler").Sampler
    except ConfigError:
        sampler = load("ibm", "qiskit_ibm_runtime").SamplerV2
    return sampler(mode=backend)


def _times(job: Any, wall: float) -> tuple[float, float]:
    """Seconds in the queue and on the machine; a local job has no queue."""
    if not hasattr(job, "metrics"):
        return 0.0, wall
    try:  # over the network: a result that is here must not be lost to it
        stamps = _tried(job.metrics).get("timestamps", {})
    except JobFailed as error:
        logger.warning("no times of a job: %s", error)
        return 0.0, wall
    try:
        at = [datetime.fromisoformat(stamps[key]) for key in ("created", "running", "finished")]
    except (KeyError, TypeError, ValueError):
        return 0.0, wall
    return (at[1] - at[0]).total_seconds(), (at[2] - at[1]).total_seconds()


def _values(packed: Any, table: Float64s) -> Float64s:
    """Expectation values (points, observables) from bits (points, shots, bytes), lowest last."""
    points, shots, _ = packed.shape
    out, length = np.empty((points, len(table))), max(1, PART // shots)
    for start in range(0, points, length):
        part = packed[start : start + length].astype(np.int64)
        outcome = sum(part[..., -1 - at] << (8 * at) for at in range(part.shape[-1]))
        out[start : start + length] = table[:, outcome].mean(axis=-1).T
    return out
