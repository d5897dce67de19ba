"""A circuit made ready for the engine: what is fixed is worked out once, before any weight."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto.circuit import Angle, Circuit, Gate

Float64s = NDArray[np.float64]
Elements = tuple[Any, ...]

ROOT = math.sqrt(0.5)

REAL = ("h", "x", "z", "ry", "cx", "cz", "swap")
"""Gates without an imaginary part: they leave real states real."""

FACTORS: dict[str, tuple[complex, complex]] = {
    "x": (1, 1),
    "y": (-1j, 1j),
    "z": (1, -1),
    "s": (1, 1j),
    "sdg": (1, -1j),
    "t": (1, np.exp(0.25j * np.pi)),
    "tdg": (1, np.exp(-0.25j * np.pi)),
}
"""What a gate that moves or only weighs amplitudes gives to the new 0 and the new 1."""

MOVING = (*FACTORS, "cx", "cz", "swap")

GENERATORS = {
    "rx": np.array([[0, -0.5j], [-0.5j, 0]]),
    "ry": np.array([[0, -0.5], [0.5, 0]]),
    "rz": np.diag([-0.5j, 0.5j]),
}
"""dU/d(angle) times the inverse of U."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A gate on one wire."""

    name: str
    wire: int
    angle: Angle | None


@dataclass(frozen=True, eq=False, slots=True)
class Shuffle:
    """A run of gates that only move and weigh amplitudes: state -> factors * state[order]."""

    order: NDArray[np.intp]
    inverse: NDArray[np.intp]
    factors: NDArray[Any]
    """(2^n, 1), of length 1; float64 where all are real."""
    plain: bool
    """Every factor is 1."""


Op = Turn | Shuffle


@dataclass(frozen=True, eq=False, slots=True)
class Program:
    """Prefix: all before the first weight, evaluated once a data set. Body: the rest."""

    qubits: int
    weights: int
    prefix: tuple[Op, ...]
    body: tuple[Op, ...]
    signs: Float64s
    """(observables, 2^n): the observables' diagonals."""
    re_uploads: bool
    """The body reads features, so that it differs from sample to sample."""
    real: bool
    """The body is real and the same for all: real and imaginary parts are just more columns."""


def compile_circuit(circuit: Circuit) -> Program:
    """The program of a circuit that `proto.circuit.check` accepts."""
    gates = list(_lowered(circuit.gates))
    sources = [gate.angle.source if gate.angle else None for gate in gates]
    first = sources.index("weight") if "weight" in sources else len(sources)
    body = gates[first:]
    re_uploads = any(source in ("feature", "zz") for source in sources[first:])
    return Program(
        qubits=circuit.qubits,
        weights=circuit.weights,
        prefix=tuple(_fuse(circuit.qubits, gates[:first])),
        body=tuple(_fuse(circuit.qubits, body)),
        signs=np.stack([_z_signs(circuit.qubits, wires) for wires in circuit.observables]),
        re_uploads=re_uploads,
        real=not re_uploads and all(gate.name in REAL for gate in body),
    )


def angle_value(angle: Angle, weights: Float64s, x: Float64s) -> float | Float64s:
    """Radians: one number for weights and constants, (rows,) for features x (rows, features)."""
    match angle.source:
        case "weight":
            return angle.scale * float(weights[angle.index])
        case "feature":
            return angle.scale * x[:, angle.index]
        case "zz":
            return angle.scale * (np.pi - x[:, angle.index]) * (np.pi - x[:, angle.other])
        case "constant":
            return angle.scale


def elements(name: str, turn: float | Float64s) -> Elements:
    """A gate's matrix, row by row; each entry a number, or (rows,) where the turn is."""
    cosine, sine = _circle(0.5 * turn)
    match name:
        case "h":
            return ROOT, ROOT, ROOT, -ROOT
        case "ry":
            return cosine, -sine, sine, cosine
        case "rx":
            return cosine, -1j * sine, -1j * sine, cosine
        case _:
            return cosine - 1j * sine, 0.0, 0.0, cosine + 1j * sine


def _circle(angle: float | Float64s) -> tuple[Any, Any]:
    if isinstance(angle, float):
        return math.cos(angle), math.sin(angle)
    return np.cos(angle), np.sin(angle)


def _lowered(gates: Iterable[Gate]) -> Iterator[Gate]:
    """rzz, p and sx by turns the engines know; a phase of the whole state is lost, unobserved."""
    for gate in gates:
        if gate.name == "rzz":
            around = Gate("cx", gate.wires)
            yield from (around, Gate("rz", gate.wires[1:], gate.angle), around)
        elif gate.name == "p":
            yield Gate("rz", gate.wires, gate.angle)
        elif gate.name == "sx":
            yield Gate("rx", gate.wires, Angle("constant", scale=np.pi / 2))
        else:
            yield gate


def _fuse(qubits: int, gates: Iterable[Gate]) -> Iterator[Op]:
    for fused, run in groupby(gates, lambda gate: gate.name in MOVING):
        if fused:
            yield _shuffle(qubits, run)
        else:
            yield from (Turn(gate.name, gate.wires[0], gate.angle) for gate in run)


def _shuffle(qubits: int, gates: Iterable[Gate]) -> Shuffle:
    index = np.arange(2**qubits)
    order, factors = index, np.ones(len(index), np.complex128)
    for gate in gates:
        source = _sources(gate, index)
        order, factors = order[source], factors[source] * _factors(gate, index)
    found: NDArray[Any] = factors if factors.imag.any() else factors.real.copy()
    return Shuffle(order, np.argsort(order), found[:, None], bool((factors == 1).all()))


def _sources(gate: Gate, index: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where each new amplitude comes from."""
    first, last = gate.wires[0], gate.wires[-1]
    match gate.name:
        case "x" | "y":
            return index ^ (1 << first)
        case "cx":
            return index ^ (((index >> first) & 1) << last)
        case "swap":
            differ = ((index >> first) ^ (index >> last)) & 1
            return index ^ (differ << first) ^ (differ << last)
        case _:
            return index


def _factors(gate: Gate, index: NDArray[np.intp]) -> NDArray[Any]:
    """What each new amplitude is weighed with."""
    bits = (index >> gate.wires[0]) & 1
    if gate.name == "cz":
        return np.where(bits & (index >> gate.wires[1]), -1, 1)
    return np.asarray(np.array(FACTORS.get(gate.name, (1, 1)))[bits])


def _z_signs(qubits: int, wires: tuple[int, ...]) -> Float64s:
    index = np.arange(2**qubits)
    bits = sum((index >> wire) & 1 for wire in wires)
    return np.asarray(1.0 - 2.0 * (bits % 2))
