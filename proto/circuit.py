"""A parametrised quantum circuit as data: a list of gates, whose angles come from somewhere.

Qubit order is little-endian, as in Qiskit: wire 0 is the lowest bit of a basis state's number.
Decoding bounds each field; `check` says whether the whole makes sense.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta, Struct

from proto.errors import RemoteError
from proto.lightcone import Step, seen

MAX_QUBITS = 12
"""A statevector of 64 KiB: what a Pi Zero simulates in batches."""

MAX_FEATURES = 256
MAX_WEIGHTS = 4096
MAX_GATES = 4096
MAX_OBSERVABLES = 64
MAX_CLASSES = 64
MAX_SCALE = 1000.0
"""Largest factor on an angle, and largest constant angle in radians."""

Fixed = Literal["h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx"]
GateName = Literal[Fixed, "rx", "ry", "rz", "p", "cx", "cz", "swap", "rzz"]
FIXED = ("h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx")
ROTATIONS = ("rx", "ry", "rz", "p", "rzz")
PAIRS = ("cx", "cz", "swap", "rzz")

Wire = Annotated[int, Meta(ge=0, lt=MAX_QUBITS)]
Index = Annotated[int, Meta(ge=0, lt=MAX_WEIGHTS)]


class Angle(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a gate's angle, in radians, comes from.

    weight: scale * w[index]; feature: scale * x[index];
    zz: scale * (pi - x[index]) * (pi - x[other]); constant: scale.
    """

    source: Literal["weight", "feature", "zz", "constant"]
    index: Index = 0
    other: Index = 0
    scale: Annotated[float, Meta(ge=-MAX_SCALE, le=MAX_SCALE)] = 1.0


class Gate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One gate, named as in OpenQASM 3. Control first, target second.

    rx, ry, rz, p and rzz turn by an angle; rzz(t) is exp(-i t/2 Z Z), as in Qiskit.
    """

    name: GateName
    wires: Annotated[tuple[Wire, ...], Meta(min_length=1, max_length=2)]
    angle: Angle | None = None


Observable = Annotated[tuple[Wire, ...], Meta(min_length=1, max_length=MAX_QUBITS)]


class Circuit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Gates on |0...0>, then expectation values; each observable is the product of Z on its wires.

    `features` and `weights` say how many numbers the angles read.
    """

    qubits: Annotated[int, Meta(ge=1, le=MAX_QUBITS)]
    features: Annotated[int, Meta(ge=0, le=MAX_FEATURES)]
    weights: Annotated[int, Meta(ge=0, le=MAX_WEIGHTS)]
    gates: Annotated[tuple[Gate, ...], Meta(max_length=MAX_GATES)]
    observables: Annotated[tuple[Observable, ...], Meta(min_length=1, max_length=MAX_OBSERVABLES)]


class Classifier(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """A circuit and how its expectation values become class probabilities.

    squash: what is done to each feature first: `arctan`, into ±pi/2; `unit`, the logistic curve
    1 / (1 + exp(-x / 2.5)), into 0..1; or `none`. head: `linear` is a trained affine map to logits;
    `parity` reads the only observable E as p(class 1) = (1 - E) / 2, with nothing to train.
    """

    circuit: Circuit
    squash: Literal["arctan", "none", "unit"] = "arctan"
    classes: Annotated[int, Meta(ge=2, le=MAX_CLASSES)] = 2
    head: Literal["linear", "parity"] = "linear"


def logits(classifier: Classifier) -> int:
    """Rows of the linear head: two classes need one logit only."""
    return 1 if classifier.classes == 2 else classifier.classes  # noqa: PLR2004


def classifier_layout(classifier: Classifier) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of what is trained, in manifest order; 21 numbers for the default."""
    angles = ("angles", (classifier.circuit.weights,))
    if classifier.head == "parity":
        return (angles,)
    rows = logits(classifier)
    return (angles, ("head", (rows, len(classifier.circuit.observables))), ("bias", (rows,)))


def check(circuit: Circuit) -> None:
    """Raises RemoteError, with text that names the faulty part, unless all of it makes sense.

    Also holds for circuits built in code, which no decoder has bounded.
    """
    _check_sizes(circuit)
    for number, gate in enumerate(circuit.gates):
        if fault := _gate_fault(circuit, gate):
            wires = ", ".join(map(str, gate.wires))
            raise RemoteError(f"gate {number} ({gate.name} on {wires}): {fault}")
    _check_reads("weight", circuit.weights, _read(circuit.gates, "weight"))
    _check_reads("feature", circuit.features, _read(circuit.gates, "feature", "zz"))
    for number, observable in enumerate(circuit.observables):
        if fault := _wires_fault(circuit, observable):
            raise RemoteError(f"observable {number}: {fault}")
    if dead := unseen(circuit):
        raise RemoteError(f"weight {min(dead)} is dead: no observable can see it")


@lru_cache(maxsize=16)
def unseen(circuit: Circuit) -> frozenset[int]:
    """Weights that change no expectation value whatever they are, as far as the gates prove it.

    Remembered: each round's training and each update's check ask again for the same circuit.
    """
    live = seen([_step(gate) for gate in circuit.gates], circuit.observables)
    gates = [gate for gate, alive in zip(circuit.gates, live, strict=True) if alive]
    return frozenset(range(circuit.weights)) - _read(gates, "weight")


def check_classifier(classifier: Classifier) -> None:
    """`check` the circuit, and that the head fits it. Raises RemoteError."""
    check(classifier.circuit)
    _check_range("classes", classifier.classes, 2, MAX_CLASSES)
    if classifier.squash not in ("arctan", "none", "unit"):
        raise RemoteError(f"squash {classifier.squash!r} is not known")
    if classifier.head not in ("linear", "parity"):
        raise RemoteError(f"head {classifier.head!r} is not known")
    if classifier.head == "parity":
        if classifier.classes != 2:  # noqa: PLR2004
            raise RemoteError(f"a parity head tells 2 classes apart, not {classifier.classes}")
        if len(classifier.circuit.observables) != 1:
            raise RemoteError("a parity head reads exactly one observable")


def _step(gate: Gate) -> Step:
    known = gate.angle is not None and gate.angle.source == "constant"
    return Step(gate.name, gate.wires, gate.angle.scale if gate.angle and known else None)


def _check_sizes(circuit: Circuit) -> None:
    _check_range("qubits", circuit.qubits, 1, MAX_QUBITS)
    _check_range("features", circuit.features, 0, MAX_FEATURES)
    _check_range("weights", circuit.weights, 0, MAX_WEIGHTS)
    _check_range("gates", len(circuit.gates), 0, MAX_GATES)
    _check_range("observables", len(circuit.observables), 1, MAX_OBSERVABLES)


def _check_range(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise RemoteError(f"{what}: {value}; {low} to {high} is accepted")


def _gate_fault(circuit: Circuit, gate: Gate) -> str | None:
    if gate.name not in ROTATIONS + PAIRS + FIXED:
        return "no such gate"
    expected = 2 if gate.name in PAIRS else 1
    if len(gate.wires) != expected:
        return f"needs {expected} wire(s), has {len(gate.wires)}"
    if fault := _wires_fault(circuit, gate.wires):
        return fault
    if gate.name in ROTATIONS:
        return "needs an angle" if gate.angle is None else _angle_fault(circuit, gate.angle)
    return None if gate.angle is None else "takes no angle"


def _wires_fault(circuit: Circuit, wires: tuple[int, ...]) -> str | None:
    if not wires:
        return "names no wire"
    if len(set(wires)) != len(wires):
        return "names the same wire twice"
    for wire in wires:
        if not 0 <= wire < circuit.qubits:
            return f"wire {wire} is out of range; there are {circuit.qubits} qubits"
    return None


def _angle_fault(circuit: Circuit, angle: Angle) -> str | None:
    if not math.isfinite(angle.scale) or abs(angle.scale) > MAX_SCALE:
        return f"scale {angle.scale} is out of range"
    if angle.source == "constant":
        return None
    if angle.source not in ("weight", "feature", "zz"):
        return f"angle source {angle.source!r} is not known"
    kind, count = (
        ("weight", circuit.weights) if angle.source == "weight" else ("feature", circuit.features)
    )
    used = (angle.index, angle.other) if angle.source == "zz" else (angle.index,)
    for index in used:
        if not 0 <= index < count:
            return f"{kind} {index} is out of range; there are {count}"
    return None


def _read(gates: Iterable[Gate], *sources: str) -> set[int]:
    angles = [gate.angle for gate in gates if gate.angle and gate.angle.source in sources]
    return {angle.index for angle in angles} | {a.other for a in angles if a.source == "zz"}


def _check_reads(kind: str, count: int, read: set[int]) -> None:
    """A number that no gate reads is a mistake in the circuit, and wasted bytes in each update."""
    if unread := sorted(set(range(count)) - read):
        raise RemoteError(f"{kind} {unread[0]} is dead: no gate reads it")
