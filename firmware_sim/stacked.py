"""A cohort's training in one go: `edge_client.train.local_update`, for many boxes at once.

Boxes of one group hold equally many rows, so their states are one array (boxes, 2^n, rows) and each
gate is one call. Every number comes from the same operations on the same shapes as when a box
trains alone, so that the result is the same to the bit; a test holds it to that.

A model is one vector, as `quantization.arrays.flatten` makes it: angles, head, bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.classifier import squashed
from edge_client.circuit.engine import NUMPY, encode, operator_pays
from edge_client.circuit.program import Float64s, Program, Turn, compile_circuit
from edge_client.optimise import adam
from edge_client.train import FLOOR, Hyper
from firmware_sim.turning import body_of, run_body, turned, walk_back
from proto.circuit import Classifier
from quantization.arrays import Array

MAX_ROWS = 4096
"""Rows of one box above which it trains alone, in parts."""


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Rows of boxes that hold equally many: features (boxes, rows, features), labels."""

    z: Array
    y: NDArray[np.int64]
    validation_z: Array
    validation_y: NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class _Rows:
    """One group: states behind the prefix (boxes, 2^n, rows)."""

    at: slice
    """Which boxes these are, among all."""
    states: Float64s
    second: NDArray[np.bool_]
    """Whether each row is of the second class, (boxes, rows)."""
    whole: slice | None
    """Where these boxes are among those whose body is one matrix for all rows, if it is."""


@dataclass(frozen=True, eq=False, slots=True)
class Cohort:
    """Groups made ready: what stays the same however often these boxes train."""

    rows: list[_Rows]
    held: list[_Rows]
    """Validation rows, of the groups that have any."""
    boxes: int
    whole: NDArray[np.intp]
    """Boxes whose body is one matrix for all training rows."""


class Judged(NamedTuple):
    """Each box's mean cross-entropy in nats and share of right answers; 0 without rows."""

    losses: list[float]
    accuracies: list[float]


class Trained(NamedTuple):
    """A cohort's training: models (boxes, n), and each box's figures in the groups' order."""

    models: Array
    first: list[float]
    """Loss of the received model on the training rows."""
    last: list[float]
    """Of the trained one on the same."""
    received: Judged
    """The received model on the validation rows."""


class _Point:
    """Where boxes stand: a model for each of them or one for all, and the circuit's body there."""

    def __init__(self, program: Program, models: Array, whole: NDArray[np.intp]) -> None:
        wide, weights = models.astype(np.float64), program.weights
        self.head, self.bias = wide[:, None, weights:-1], wide[:, -1:]
        self.matrices = turned(program, wide[:, :weights])
        self._program, self._whole = program, whole

    @cached_property
    def _bodies(self) -> Float64s:
        """The body as matrices (boxes, 2^n, 2^n), all in one go."""
        return body_of(self._program, self.turns(self._whole))

    def turns(self, at: slice | NDArray[np.intp]) -> Float64s:
        """The body's turns in these boxes."""
        return self.matrices if self.matrices.shape[1] == 1 else self.matrices[:, at]

    def final(self, part: _Rows) -> Float64s:
        """States (boxes, 2^n, rows) behind the body."""
        if part.whole is None:
            return run_body(self._program, part.states, self.turns(part.at))
        return np.asarray(np.matmul(_own(self._bodies, part.whole), part.states))

    def log_chances(self, part: _Rows, values: Float64s) -> tuple[Float64s, Float64s]:
        """Of the first and of the second class, (boxes, rows), from values (boxes, signs, rows)."""
        # The first class's logit is 0, so that one of both exponentials is that of 0.
        logits = np.matmul(_own(self.head, part.at), values)[:, 0] + _own(self.bias, part.at)
        top = np.maximum(logits, 0.0)
        rest = np.log(1.0 + np.exp(-np.abs(logits)))
        return -top - rest, logits - top - rest


class Stacked:
    """One classifier, trained for many boxes."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._program = compile_circuit(classifier.circuit)

    @property
    def fits(self) -> bool:
        """Whether this circuit is of the sort that is stacked: real throughout, a linear head."""
        turns = [op for op in self._program.body if isinstance(op, Turn)]
        probe = np.zeros((1, self._classifier.circuit.features))
        return (
            self._program.real
            and self._classifier.head == "linear"
            and self._classifier.classes == 2  # noqa: PLR2004 - the head of one logit
            and all(op.name == "ry" and op.angle is not None for op in turns)
            and not np.iscomplexobj(encode(self._program, probe).states)
        )

    def cohort(self, groups: Sequence[Group]) -> Cohort:
        """Boxes are numbered through all groups, in their order."""
        rows = self._parts([(group.z, group.y) for group in groups])
        held = self._parts([(group.validation_z, group.validation_y) for group in groups])
        boxes = np.arange(sum(len(group.y) for group in groups))
        whole = [boxes[part.at] for part in rows if part.whole]
        return Cohort(rows, held, len(boxes), np.concatenate([boxes[:0], *whole]))

    def train(self, model: Array, cohort: Cohort, hyper: Hyper) -> Trained:
        """From the same model, on each box's own rows; full batches, by Adam; at least one step."""
        rule, models = adam(hyper.learning_rate), {"": model[None]}
        state = rule.init(models)
        start = here = _Point(self._program, model[None], cohort.whole)
        first: list[float] = []
        for step in range(hyper.steps):
            slopes = self._slopes(here, cohort, None if step else first)
            state, models = rule.step(state, models, {"": slopes})
            here = _Point(self._program, models[""], cohort.whole)
        last = self._losses(here, cohort.rows)
        return Trained(models[""], first, last, self._judged(start, cohort.held, cohort.boxes))

    def judge(self, model: Array, groups: Sequence[tuple[Array, NDArray[np.int64]]]) -> Judged:
        """The same model on each box's own rows, (boxes, rows, features) and (boxes, rows)."""
        point = _Point(self._program, model[None], np.empty(0, np.intp))
        return self._judged(point, self._parts(groups), sum(len(y) for _, y in groups))

    def _parts(self, groups: Sequence[tuple[Array, NDArray[np.int64]]]) -> list[_Rows]:
        parts, begin, whole = [], 0, 0
        for z, y in groups:
            (boxes, rows), place = y.shape, None
            if operator_pays(self._program, rows, NUMPY):
                place = slice(whole, whole + boxes)
                whole += boxes
            if rows:
                at = slice(begin, begin + boxes)
                parts.append(_Rows(at, self._encoded(z), y == 1, place))
            begin += boxes
        return parts

    def _encoded(self, z: Array) -> Float64s:
        """States behind the prefix, (boxes, 2^n, rows), of features (boxes, rows, features)."""
        boxes, rows, features = z.shape
        x = squashed(self._classifier, z.reshape(-1, features))
        states = encode(self._program, x).states.reshape(-1, boxes, rows)
        return np.ascontiguousarray(states.swapaxes(0, 1))

    def _values(self, final: Float64s) -> Float64s:
        return np.asarray(np.matmul(self._program.signs, final * final))

    def _losses(self, point: _Point, parts: list[_Rows]) -> list[float]:
        found: list[float] = []
        for part in parts:
            first, second = point.log_chances(part, self._values(point.final(part)))
            found += _losses(np.exp(np.where(part.second, second, first)))
        return found

    def _judged(self, point: _Point, parts: list[_Rows], boxes: int) -> Judged:
        losses, accuracies = [0.0] * boxes, [0.0] * boxes
        for part in parts:
            chances = point.log_chances(part, self._values(point.final(part)))
            first, second = map(np.exp, chances)
            losses[part.at] = _losses(np.where(part.second, second, first))
            hits = (second > first) == part.second
            accuracies[part.at] = (hits.sum(axis=1) / hits.shape[1]).tolist()
        return Judged(losses, accuracies)

    def _slopes(self, here: _Point, cohort: Cohort, losses: list[float] | None) -> Array:
        """(boxes, n); the losses here are added to `losses`, if they are wanted."""
        program, weights = self._program, self._program.weights
        found = np.empty((cohort.boxes, weights + len(program.signs) + 1), np.float32)
        kets: list[Float64s] = []
        for part in cohort.rows:
            at, count, final = part.at, part.second.shape[1], here.final(part)
            values = self._values(final)
            first, second = here.log_chances(part, values)
            if losses is not None:
                losses += _losses(np.exp(np.where(part.second, second, first)))
            falls = (np.exp(second) - part.second)[:, None]
            found[at, weights:-1] = np.matmul(falls, values.swapaxes(1, 2))[:, 0] / count
            found[at, -1:] = falls.sum(axis=2) / count
            pull = _own(here.head, at).swapaxes(1, 2) * falls
            bras = np.matmul(program.signs.T, pull) * final
            if part.whole:
                kets.append(np.matmul(final, bras.swapaxes(1, 2)))
            else:
                slopes = walk_back(program, final, bras, here.turns(at))
                found[at, :weights] = slopes / count
        if kets:
            # As `edge_client.circuit.adjoint`: the ket is this matrix, the bra the identity.
            bras, turns = np.eye(2**program.qubits)[None], here.turns(cohort.whole)
            slopes = walk_back(program, np.concatenate(kets), bras, turns)
            for part in cohort.rows:
                if part.whole:
                    found[part.at, :weights] = slopes[part.whole] / part.second.shape[1]
        return found


def _own(array: Float64s, at: slice) -> Float64s:
    """These boxes' part of an array (boxes, ...), or all of what is there once for all boxes."""
    return array[at] if len(array) > 1 else array


def _losses(right: Float64s) -> list[float]:
    """Each box's mean cross-entropy, from the chances of the right classes (boxes, rows)."""
    # As `mean` does it, at half the cost.
    fallen = -np.log(np.maximum(right, FLOOR)).sum(axis=1)
    losses: list[float] = (fallen / right.shape[1]).tolist()
    return losses
