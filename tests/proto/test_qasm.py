"""The text is read back by OpenQASM's own parser and run by a small interpreter of its own."""

import math
import operator

import numpy as np
import pytest

from edge_client.circuit import reference
from proto.ansatz import (
    assemble,
    default_classifier,
    each_z,
    parity,
    re_uploading,
    real_amplitudes,
    zz_feature_map,
)
from proto.circuit import Angle, Circuit, Gate
from proto.errors import LocalError, RemoteError
from proto.qasm import to_qasm3

openqasm3 = pytest.importorskip("openqasm3")
ast = openqasm3.ast

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}

DEFAULT = default_classifier().circuit
PAPER = assemble(3, (*zz_feature_map(3), *real_amplitudes(3, 1)), parity(3))
UPLOADING = assemble(2, re_uploading(2, 2), each_z(2))
EVERY_GATE = assemble(
    2,
    (
        Gate("x", (1,)),
        Gate("h", (0,)),
        Gate("p", (0,), Angle("constant", scale=-1e-5)),
        Gate("rx", (1,), Angle("weight", 0, scale=-2.0)),
        Gate("rz", (0,), Angle("feature", 0, scale=0.5)),
        Gate("cz", (0, 1)),
        Gate("ry", (0,), Angle("zz", 0, 1)),
        Gate("cx", (1, 0)),
        *(Gate(name, (0,)) for name in ("y", "s", "sx", "t", "h", "z", "sdg", "sx", "tdg", "h")),
        Gate("rzz", (0, 1), Angle("feature", 1, scale=1.5)),
        Gate("swap", (0, 1)),
        Gate("rx", (0,), Angle("constant", scale=0.3)),
    ),
    each_z(2),
)


def number(node, inputs: dict[str, float]) -> float:
    match node:
        case ast.FloatLiteral() | ast.IntegerLiteral():
            return float(node.value)
        case ast.Identifier():
            return math.pi if node.name == "pi" else inputs[node.name]
        case ast.UnaryExpression():
            return -number(node.expression, inputs)
        case ast.BinaryExpression():
            turn = OPERATORS[node.op.name]
            return turn(number(node.lhs, inputs), number(node.rhs, inputs))
    raise AssertionError(node)


def flip(bits: int, wire: int) -> int:
    return bits ^ (1 << wire)


def one_wire(name: str, turn: float) -> list[list[complex]]:
    c, s, r = math.cos(turn / 2), math.sin(turn / 2), math.sqrt(0.5)
    phase, eighth = complex(c, s), complex(math.sqrt(0.5), math.sqrt(0.5))
    return {
        "y": [[0, -1j], [1j, 0]],
        "z": [[1, 0], [0, -1]],
        "s": [[1, 0], [0, 1j]],
        "sdg": [[1, 0], [0, -1j]],
        "t": [[1, 0], [0, eighth]],
        "tdg": [[1, 0], [0, eighth.conjugate()]],
        "sx": [[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]],
        "h": [[r, r], [r, -r]],
        "x": [[0, 1], [1, 0]],
        "rx": [[c, -1j * s], [-1j * s, c]],
        "ry": [[c, -s], [s, c]],
        "rz": [[phase.conjugate(), 0], [0, phase]],
        "p": [[1, 0], [0, phase**2]],
    }[name]


def two_wires(name: str, turn: float, bits: int, wires: list[int]) -> tuple[int, complex]:
    """Where a basis state goes, and its factor."""
    first, last = (bits >> wire & 1 for wire in wires)
    both = flip(flip(bits, wires[0]), wires[1])
    half = complex(math.cos(turn / 2), math.sin(turn / 2))
    return {
        "cx": (flip(bits, wires[1]) if first else bits, 1),
        "cz": (bits, -1 if first and last else 1),
        "swap": (both if first != last else bits, 1),
        "rzz": (bits, half if first != last else half.conjugate()),
    }[name]


def play(text: str, inputs: dict[str, float]) -> list[float]:
    """Probabilities of all outcomes, amplitude by amplitude."""
    state: dict[int, complex] = {0: 1}
    qubits = 0
    for node in openqasm3.parse(text).statements:
        if isinstance(node, ast.QubitDeclaration):
            qubits = node.size.value
        if not isinstance(node, ast.QuantumGate):
            continue
        wires = [qubit.indices[0][0].value for qubit in node.qubits]
        turn = number(node.arguments[0], inputs) if node.arguments else 0.0
        new: dict[int, complex] = {}
        for bits, value in state.items():
            bit = bits >> wires[-1] & 1
            if len(wires) == 2:
                to, factor = two_wires(node.name.name, turn, bits, wires)
                new[to] = new.get(to, 0) + factor * value
                continue
            matrix = one_wire(node.name.name, turn)
            for out in (0, 1):
                to = bits if out == bit else flip(bits, wires[0])
                new[to] = new.get(to, 0) + matrix[out][bit] * value
        state = new
    return [abs(state.get(bits, 0)) ** 2 for bits in range(2**qubits)]


@pytest.mark.parametrize("circuit", [DEFAULT, PAPER, UPLOADING, EVERY_GATE])
def test_the_program_parses_and_measures_what_the_circuit_means(circuit):
    rng = np.random.default_rng(0)
    weights = rng.uniform(-4, 4, circuit.weights)
    x = rng.uniform(-1.5, 1.5, circuit.features)
    inputs = {f"x{i}": value for i, value in enumerate(x)}
    chances = play(to_qasm3(circuit, weights.tolist()), inputs)
    expected = np.abs(reference.amplitudes(circuit, weights, x)) ** 2
    assert np.allclose(chances, expected, rtol=0, atol=1e-12)


def test_features_are_inputs_and_weights_are_constants():
    text = to_qasm3(UPLOADING, [0.25] * UPLOADING.weights)
    program = openqasm3.parse(text)
    inputs = [n.identifier.name for n in program.statements if isinstance(n, ast.IODeclaration)]
    assert inputs == ["x0", "x1"]
    assert "ry(0.25) q[1];" in text
    assert "rx(x1) q[1];" in text


def test_the_program_says_that_inputs_are_squashed_already_and_what_is_observed():
    text = to_qasm3(PAPER, [0.0] * PAPER.weights)
    assert "already scaled and squashed" in text
    assert "// observable 0: Z on q[0], q[1], q[2]" in text


def test_a_circuit_without_weights_or_features_is_a_program_too():
    text = to_qasm3(Circuit(1, 0, 0, (Gate("h", (0,)),), ((0,),)), [])
    assert play(text, {}) == pytest.approx([0.5, 0.5])


def test_angles_that_do_not_fit_are_refused():
    with pytest.raises(LocalError, match="15 angles; the circuit has 16"):
        to_qasm3(DEFAULT, [0.0] * 15)
    with pytest.raises(LocalError, match="NaN"):
        to_qasm3(DEFAULT, [float("nan")] * 16)
    with pytest.raises(RemoteError, match="gate 0"):
        to_qasm3(Circuit(1, 0, 0, (Gate("h", (1,)),), ((0,),)), [])
