"""What work costs a board: seconds of one Raspberry Pi 4 core, and memory.

The shipped figures (costs.toml) were measured by `fleet calibrate`, which measures anew on any
machine. A circuit that was measured costs `step_s + row_s * rows` a gradient; any other by its
gates and amplitudes. An adapter runs its frozen trunk once a row, then its steps.
"""

from functools import cache
from importlib import resources
from pathlib import Path

import msgspec
from msgspec import Struct

from firmware_sim import tomlfile
from proto.circuit import Classifier

FORWARD = 0.3
"""A forward pass, as a share of a gradient."""
AMPLITUDE_BYTES = 16
STATES = 4
"""State vectors a gradient holds at once."""


class Gradient(Struct, frozen=True, forbid_unknown_fields=True):
    """Of one circuit."""

    step_s: float
    row_s: float


class Costs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In Raspberry Pi 4 core-seconds, and MiB."""

    machine: str
    """Where this was measured."""
    core: float
    """How many Raspberry Pi 4 cores one core of that machine was taken for."""
    start_s: float
    """The training process starts, and loads what circuits need."""
    read_s: float
    """A cell of the data file is read."""
    gate_s: float
    amplitude_s: float
    """A gradient's cost for each gate, and for each gate and amplitude of each row."""
    base_mib: float
    """The training process, before any state vector."""
    adapter_start_s: float
    trunk_row_s: float
    """The trunk on one row's text."""
    adapter_row_s: float
    """One row of one step of an adapter."""
    adapter_mib: float
    circuits: dict[str, Gradient]
    """By `shape`."""


@cache
def shipped() -> Costs:
    """Those that came with this release."""
    text = resources.files(__package__).joinpath("costs.toml").read_bytes()
    return msgspec.toml.decode(text, type=Costs)


def load(path: Path | None) -> Costs:
    """From a file of `fleet calibrate`; without one the shipped. Raises ConfigError."""
    return tomlfile.read(path, Costs) if path else shipped()


def shape(circuit: Classifier) -> str:
    """What a circuit's cost hangs on: qubits, gates, gates fed with features, and its head."""
    gates = circuit.circuit.gates
    fed = sum(gate.angle is not None and gate.angle.source in ("feature", "zz") for gate in gates)
    return f"{circuit.circuit.qubits}q-{len(gates)}g-{fed}f-{circuit.head}"


def gradient_s(costs: Costs, circuit: Classifier, rows: int) -> float:
    """One gradient of a circuit on so many rows."""
    if found := costs.circuits.get(shape(circuit)):
        return found.step_s + found.row_s * rows
    amplitudes = rows << circuit.circuit.qubits
    return len(circuit.circuit.gates) * (costs.gate_s + costs.amplitude_s * amplitudes)


def circuit_mib(costs: Costs, circuit: Classifier, rows: int) -> float:
    """Memory that training a circuit takes at its peak."""
    states = STATES * AMPLITUDE_BYTES * (rows << circuit.circuit.qubits)
    return costs.base_mib + states / 2**20


def adapter_s(costs: Costs, rows: int, trained: float) -> float:
    """An adapter's work: `rows` through the trunk, then steps on `trained` rows in all."""
    return costs.adapter_start_s + costs.trunk_row_s * rows + costs.adapter_row_s * trained
