"""Qiskit Aer on this box: ideal, or with the noise of a device."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge_client.circuit.backends.in_qiskit import build, columns, signs, transpile
from edge_client.circuit.backends.machine import Float64s, JobFailed, Machine, Measured, load
from proto.circuit import Circuit
from proto.errors import ConfigError

FAKE = "Fake"
"""How the names of Qiskit's fake devices begin."""
CAREFUL, QUICK = 3, 1
"""Transpiler levels: for a device's few couplings, and for a simulator that has them all."""


def aer_machine(circuit: Circuit, noise: str, calibrations: Path | None) -> Machine:
    """A machine for an unrolled circuit; the simulator and its noise are built once.

    noise: nothing, a fake device of Qiskit's, or `<name>.json` in the box's folder of calibrations,
    as `NoiseModel.to_dict(serializable=True)` gives it. Raises ConfigError, MissingExtra.
    """
    aer = load("aer", "qiskit_aer")
    simulator, target = _simulator(aer, noise, calibrations)
    made, vector = build(circuit)
    ready = transpile(_observed(made, exact=False), target, CAREFUL if noise else QUICK)
    exact = None if noise else transpile(_observed(made, exact=True), target, QUICK)
    values = signs(circuit)

    def measure(angles: Float64s, shots: int, seed: int) -> Measured:
        began = time.monotonic()
        run = ready if shots else exact
        if run is None:
            raise ConfigError("noise is drawn: set shots")
        binds = {
            run.parameters[at]: angles[:, place] for at, place in enumerate(columns(run, vector))
        }
        options = {"shots": shots, "seed_simulator": seed} if shots else {}
        try:
            result = simulator.run(run, parameter_binds=[binds] if binds else None, **options)
            found = result.result()
            seen = [_chances(found.data(k), values.shape[1], shots) for k in range(len(angles))]
        except (aer.AerError, RuntimeError) as error:
            raise JobFailed(f"Aer: {error}") from error
        return Measured(np.stack(seen) @ values.T, 0.0, time.monotonic() - began)

    return measure


def _simulator(aer: Any, noise: str, calibrations: Path | None) -> tuple[Any, Any]:
    """The simulator, and what to transpile for."""
    if not noise:
        made = aer.AerSimulator(max_parallel_threads=1)
        return made, made
    if noise.startswith(FAKE):
        device = fake_device(noise)
        return aer.AerSimulator.from_backend(device, max_parallel_threads=1), device
    model = aer.noise.NoiseModel.from_dict(_saved(noise, calibrations))
    made = aer.AerSimulator(noise_model=model, max_parallel_threads=1)
    return made, made


def fake_device(name: str) -> Any:
    """One of Qiskit's fake devices, a data file with a real one's calibration."""
    devices = load("ibm", "qiskit_ibm_runtime.fake_provider")
    if not name.startswith(FAKE) or not hasattr(devices, name):
        raise ConfigError(f"no fake device {name!r}; there is FakeManilaV2, FakeBrisbane, ...")
    return getattr(devices, name)()


def _saved(name: str, calibrations: Path | None) -> Any:
    path = (calibrations or Path()) / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"no calibration to be read in {path}: {error}") from None


def _observed(circuit: Any, *, exact: bool) -> Any:
    copy = circuit.copy()
    if exact:
        copy.save_probabilities()
    else:
        copy.measure_all()
    return copy


def _chances(data: Any, outcomes: int, shots: int) -> Float64s:
    if not shots:
        return np.asarray(data["probabilities"], np.float64)
    out = np.zeros(outcomes)
    for outcome, count in data["counts"].items():
        out[int(outcome, 16)] = count / shots
    return out
