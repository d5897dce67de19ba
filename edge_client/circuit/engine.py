"""A batched statevector engine: a state is (2^n, rows), one column a sample.

Where the body is the same for all samples, its matrix may be worked out once and applied to all of
them: the operator picture. Which is cheaper is estimated; nothing but the test against `reference`
knows which was used. The body itself is run by NumPy, or by compiled loops.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_client.circuit import steps
from edge_client.circuit.program import Float64s, Program
from edge_client.circuit.steps import States
from proto.errors import ConfigError

NO_WEIGHTS = np.empty(0)


@dataclass(frozen=True, eq=False, slots=True)
class Engine:
    """How a program's body is run, forwards and backwards."""

    name: str
    run_body: Callable[[Program, States, Float64s, Float64s], States]
    """Of program, states (2^n, columns), weights, x: the states after the body."""
    walk_back: Callable[[Program, States, Float64s, Float64s], Float64s]
    """Of program, ket and bra (2, 2^n, columns) behind the body, weights, x: slopes (weights,)."""
    product: float
    """Time of one multiplication in a matrix product, by that of one amplitude in one gate."""


NUMPY = Engine("numpy", steps.run_body, steps.walk_back, 0.07)
"""The factor was measured on x86-64 with OpenBLAS, one thread; likewise the compiled one's."""


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """Samples after the prefix: features x (rows, features) in radians, states (2^n, rows)."""

    x: Float64s
    states: States


@dataclass(frozen=True, eq=False, slots=True)
class Pass:
    """A forward pass, kept for its gradient."""

    program: Program
    engine: Engine
    weights: Float64s
    x: Float64s
    operator: bool
    final: States
    """(2^n, columns): a column a row, or two where real and imaginary part are split."""
    values: Float64s
    """(observables, rows)"""


def engine_of(name: str) -> Engine:
    """The engine `numpy` or `numba`. Raises ConfigError for another, or without numba."""
    if name == "numpy":
        return NUMPY
    if name != "numba":
        raise ConfigError(f"there is no engine {name!r}: numpy or numba is accepted")
    try:
        from edge_client.circuit import compiled  # noqa: PLC0415 - an extra, heavy to import
    except ImportError as error:
        raise ConfigError(
            f"the engine numba needs its extra: pip install 'qfleet[numba]' ({error})"
        ) from None
    return Engine("numba", compiled.run_body, compiled.walk_back, 0.3)


def encode(program: Program, x: Float64s) -> Encoded:
    """Features (rows, features), float64 radians, through the prefix."""
    start = np.zeros((2**program.qubits, len(x)))
    start[0] = 1
    return Encoded(x, steps.run(program.prefix, start, NO_WEIGHTS, x))


def forward(program: Program, weights: Float64s, encoded: Encoded, engine: Engine = NUMPY) -> Pass:
    """Expectation values of each observable for each row, float64 weights (weights,)."""
    states = encoded.states
    if program.real and np.iscomplexobj(states):
        states = states.view(np.float64)
    operator = operator_pays(program, states.shape[1], engine)
    if operator:
        final = engine.run_body(program, np.eye(len(states)), weights, encoded.x) @ states
    else:
        final = engine.run_body(program, states, weights, encoded.x)
    chances = final.real**2 + final.imag**2 if np.iscomplexobj(final) else final * final
    if chances.shape[1] != len(encoded.x):
        chances = chances[:, 0::2] + chances[:, 1::2]
    values = program.signs @ chances
    return Pass(program, engine, weights, encoded.x, operator, final, values)


def operator_pays(program: Program, columns: int, engine: Engine) -> bool:
    """Whether the body's matrix, then one product, costs less than the body on all columns.

    With s = 2^n rows and g gates: g s s and a product of s s columns, against g s columns.
    """
    size, gates = 2**program.qubits, len(program.body)
    product = engine.product * size * columns
    return not program.re_uploads and size * gates + product < gates * columns
