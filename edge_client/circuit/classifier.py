"""A classifier by a circuit, as a model to train."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_client import config
from edge_client.circuit.adjoint import gradient
from edge_client.circuit.aims import Aim, Blend, aim, checked
from edge_client.circuit.engine import Encoded, Engine, encode, engine_of, forward
from edge_client.circuit.heads import Head, head_of
from edge_client.circuit.program import Float64s, Program, compile_circuit
from edge_client.circuit.steps import States
from edge_client.model import Labels, Model
from proto.circuit import Classifier, check_classifier, classifier_layout
from proto.errors import LocalError
from quantization.arrays import Array, Arrays, draw

CACHE_BYTES = 64 * 2**20
"""Encoded states kept between steps; more rows than that are encoded again at each step."""

PART_BYTES = 2**20
"""States worked on at once: what a small processor's cache and memory hold a few copies of."""

AMPLITUDE_BYTES = 16

SPREAD = 0.3
"""Fresh arrays lie that close to 0. Measured on breast_cancer, 8 boxes, 15 rounds: mean
accuracy over 20 seeds 0.952, against 0.945 from angles anywhere; a small gain, within noise."""


SQUASHES: Mapping[str, Callable[[Float64s], Float64s]] = {
    "arctan": np.arctan,
    "unit": lambda x: 0.5 + 0.5 * np.tanh(x / 5),
    "none": lambda x: x,
}
"""Features to radians; `tanh` is the logistic curve without overflow."""


@dataclass(frozen=True, eq=False, slots=True)
class PreparedRows:
    """Prepared samples: features in radians (rows, features), and where they fit, states."""

    x: Float64s
    states: States | None
    taught: Float64s | None = None
    """A teacher's log-chances (rows, classes), where there is one."""

    @property
    def rows(self) -> int:
        """How many samples."""
        return len(self.x)

    def take(self, index: NDArray[np.intp]) -> "PreparedRows":
        """Some of the samples."""
        states = None if self.states is None else self.states.take(index, axis=1)
        taught = None if self.taught is None else self.taught[index]
        return PreparedRows(self.x[index], states, taught)


@dataclass(frozen=True, eq=False, slots=True)
class Ready:
    """A classifier ready to run."""

    program: Program
    head: Head
    engine: Engine


def classifier_model(
    classifier: Classifier, engine: Engine | None = None, blend: Blend | None = None
) -> Model[PreparedRows]:
    """The model of a classifier, by this engine or the one the settings name.

    With a blend, a teacher's log-chances follow the features in each row: see `with_teacher`.
    Raises RemoteError for a classifier that makes no sense, ConfigError for settings that name no
    engine.
    """
    check_classifier(classifier)
    program, head = compile_circuit(classifier.circuit), head_of(classifier)
    ready = Ready(program, head, engine or engine_of(config.engine()))

    def init(rng: Generator) -> dict[str, Array]:
        return draw(classifier_layout(classifier), SPREAD, rng)

    def prepare(z: Array) -> PreparedRows:
        return _prepare(classifier, program, z, blend)

    def loss_and_grad(
        arrays: Arrays, rows: PreparedRows, labels: Labels
    ) -> tuple[float, dict[str, Array]]:
        toward = aim(labels, (rows.rows, classifier.classes), rows.taught, blend)
        return _loss_and_grad(ready, arrays, rows, toward)

    def predict(arrays: Arrays, rows: PreparedRows) -> NDArray[np.float64]:
        wide = widened(arrays)
        out = np.empty((rows.rows, classifier.classes))
        for part, encoded in _slices(program, rows):
            values = forward(program, wide["angles"], encoded, ready.engine).values
            out[part] = np.exp(head.log_chances(wide, values)).T
        return out

    return Model(init, prepare, loss_and_grad, predict)


def squashed(classifier: Classifier, z: Array) -> Float64s:
    """Features z (rows, features) as radians. Raises LocalError for another shape, or NaN."""
    if z.ndim != 2 or z.shape[1] != classifier.circuit.features:  # noqa: PLR2004
        expected = classifier.circuit.features
        raise LocalError(f"features of shape {z.shape}; (rows, {expected}) is needed")
    if not np.isfinite(z).all():
        raise LocalError("a feature is NaN or infinite")
    x = z.astype(np.float64)
    return SQUASHES[classifier.squash](x)


def with_teacher(z: Array, log_chances: NDArray[np.floating]) -> Array:
    """Features (rows, features) and a teacher's log-chances (rows, classes) side by side."""
    return np.concatenate([z, log_chances.astype(np.float32)], axis=1)


def apart(classifier: Classifier, z: Array, blend: Blend | None) -> tuple[Array, Float64s | None]:
    """What `with_teacher` put side by side. Raises LocalError where it is not there."""
    if blend is None:
        return z, None
    width = classifier.circuit.features
    if z.ndim != 2 or z.shape[1] != width + classifier.classes:  # noqa: PLR2004
        expected = f"(rows, {width} + {classifier.classes})"
        raise LocalError(f"features and a teacher's chances of shape {z.shape}; not {expected}")
    return z[:, :width], checked(z[:, width:])


def _prepare(
    classifier: Classifier, program: Program, z: Array, blend: Blend | None
) -> PreparedRows:
    z, taught = apart(classifier, z, blend)
    x = squashed(classifier, z)
    if (len(x) << program.qubits) * AMPLITUDE_BYTES > CACHE_BYTES:
        return PreparedRows(x, None, taught)
    return PreparedRows(x, encode(program, x).states, taught)


def _loss_and_grad(
    ready: Ready, arrays: Arrays, rows: PreparedRows, toward: Aim
) -> tuple[float, dict[str, Array]]:
    wide, loss, head = widened(arrays), 0.0, ready.head
    total = {name: np.zeros_like(array) for name, array in wide.items()}
    for part, encoded in _slices(ready.program, rows):
        done = forward(ready.program, wide["angles"], encoded, ready.engine)
        log_chances = head.log_chances(wide, done.values)
        more, falls = toward.part(part).loss(log_chances)
        loss += more
        slopes, own = head.pull(wide, done.values, np.exp(log_chances), falls)
        for name, change in {"angles": gradient(done, slopes), **own}.items():
            total[name] += change
    mean = {name: (array / rows.rows).astype(np.float32) for name, array in total.items()}
    return loss / rows.rows, mean


def _slices(program: Program, rows: PreparedRows) -> Iterator[tuple[slice, Encoded]]:
    length = max(1, PART_BYTES // (AMPLITUDE_BYTES << program.qubits))
    for start in range(0, rows.rows, length):
        part = slice(start, start + length)
        if rows.states is None:
            yield part, encode(program, rows.x[part])
        else:
            yield part, Encoded(rows.x[part], rows.states[:, part])


def widened(arrays: Arrays) -> Mapping[str, Float64s]:
    """The arrays in float64."""
    return {name: array.astype(np.float64) for name, array in arrays.items()}
