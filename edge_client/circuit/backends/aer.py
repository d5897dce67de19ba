"""Qiskit Aer on this box: ideal, or with the noise of a device."""

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from edge_client.circuit.backends.in_qiskit import build, columns, signs, transpile
from edge_client.circuit.backends.machine import Float64s, JobFailed, Machine, Measured, load
from proto.circuit import Circuit
from proto.errors import ConfigError

FAKE = "Fake"
"""How the names of Qiskit's fake devices begin."""
SMALL = 6
"""Qubits up to which noise is simulated by a density matrix: measured on 4 qubits, 16 shots take an
eighth of the time that Aer's own choice takes, 1024 three quarters."""
CAREFUL, QUICK = 3, 1
"""Transpiler levels: for a device's few couplings, and for a simulator that has them all."""

Rate = Annotated[float, Meta(ge=0.0, le=0.5)]


class Calibration(Struct, frozen=True, forbid_unknown_fields=True):
    """A device's mean error rates, as its maker publishes them; zero is no error."""

    one_qubit: Rate = 0.0
    """Depolarising chance at each sx and x."""
    two_qubit: Rate = 0.0
    """Depolarising chance at each cx."""
    zero_as_one: Rate = 0.0
    """Chance that a 0 is read as 1, and the other way round."""
    one_as_zero: Rate = 0.0


def aer_machine(circuit: Circuit, noise: str, calibrations: Path | None) -> Machine:
    """A machine for an unrolled circuit; the simulator and its noise are built once.

    noise: nothing, a fake device of Qiskit's, or `<name>.json` in the box's folder of calibrations,
    a `Calibration`. Raises ConfigError.
    """
    aer = load("aer", "qiskit_aer")
    simulator, target = _simulator(aer, noise, calibrations)
    if noise and circuit.qubits <= SMALL:
        simulator.set_options(method="density_matrix")
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
    model = _noise_model(aer.noise, _saved(noise, calibrations))
    made = aer.AerSimulator(noise_model=model, max_parallel_threads=1)
    return made, made


def _noise_model(noise: Any, rates: Calibration) -> Any:
    model = noise.NoiseModel(basis_gates=["rz", "sx", "x", "cx"])
    one, two = rates.one_qubit, rates.two_qubit
    model.add_all_qubit_quantum_error(noise.depolarizing_error(one, 1), ["sx", "x"])
    model.add_all_qubit_quantum_error(noise.depolarizing_error(two, 2), ["cx"])
    zero, high = rates.zero_as_one, rates.one_as_zero
    model.add_all_qubit_readout_error([[1 - zero, zero], [high, 1 - high]])
    return model


def fake_device(name: str) -> Any:
    """One of Qiskit's fake devices, a data file with a real one's calibration."""
    devices = load("ibm", "qiskit_ibm_runtime.fake_provider")
    if not name.startswith(FAKE) or not hasattr(devices, name):
        raise ConfigError(f"no fake device {name!r}; there is FakeManilaV2, FakeBrisbane, ...")
    return getattr(devices, name)()


def _saved(name: str, calibrations: Path | None) -> Calibration:
    path = (calibrations or Path()) / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (OSError, msgspec.MsgspecError) as error:
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
