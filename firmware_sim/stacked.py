"""A cohort's training in one go: what `edge_client.train.local_update` does, for many boxes at once.

Boxes of one group hold equally many rows, so their states are one array (boxes, 2^n, rows) and each
gate is one call. Every number comes from the same operations on the same shapes as when a box
trains alone, so that the result is the same to the bit; a test holds it to that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.engine import NUMPY, encode, operator_pays
from edge_client.circuit.classifier import squashed
from edge_client.circuit.program import GENERATORS, Float64s, Program, Turn, compile_circuit
from edge_client.optimise import adam
from edge_client.train import FLOOR, Evaluation, Hyper
from proto.circuit import Classifier
from quantization.arrays import Array, Arrays

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
    """States behind the prefix (boxes, 2^n, rows), labels (boxes, rows), one-hot targets."""

    states: Float64s
    y: NDArray[np.int64]
    targets: Float64s


class Trained(NamedTuple):
    """A group's training: arrays (boxes, ...), and each box's figures in the group's order."""

    arrays: dict[str, Array]
    first: list[Evaluation]
    """Of the received model on the training rows."""
    last: list[Evaluation]
    """Of the trained one on the same."""
    received: list[Evaluation | None]
    """Of the received model on the validation rows, if there are any."""


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

    def train(self, arrays: Arrays, group: Group, hyper: Hyper) -> Trained:
        """From the same arrays, on each box's own rows; full batches, by Adam."""
        rows = self._prepared(group.z, group.y)
        boxes = len(group.y)
        start = {n: np.repeat(a[None], boxes, axis=0) for n, a in arrays.items()}
        first, moved, rule = self._evaluate(start, rows), start, adam(hyper.learning_rate)
        state = rule.init(moved)
        for _ in range(hyper.steps):
            state, moved = rule.step(state, moved, self._gradient(moved, rows))
        last = self._evaluate(moved, rows)
        held: list[Evaluation | None] = [None] * boxes
        if group.validation_y.shape[1]:
            held[:] = self._evaluate(start, self._prepared(group.validation_z, group.validation_y))
        return Trained(moved, first, last, held)

    def judge(self, arrays: Arrays, z: Array, y: NDArray[np.int64]) -> list[Evaluation]:
        """The same arrays on each box's own rows, (boxes, rows, features) and (boxes, rows)."""
        start = {n: np.repeat(a[None], len(y), axis=0) for n, a in arrays.items()}
        return self._evaluate(start, self._prepared(z, y))

    def _prepared(self, z: Array, y: NDArray[np.int64]) -> _Rows:
        boxes, rows, features = z.shape
        x = squashed(self._classifier, z.reshape(-1, features))
        states = encode(self._program, x).states.reshape(-1, boxes, rows)
        one_hot = np.eye(2)[:, y.ravel()].reshape(2, boxes, rows)
        return _Rows(_boxes_first(states), y, _boxes_first(one_hot))

    def _forward(self, angles: Float64s, states: Float64s) -> tuple[Float64s, Float64s, bool]:
        """Final states and values (boxes, observables, rows), and whether by the operator."""
        operator = operator_pays(self._program, states.shape[2], NUMPY)
        if operator:
            eye = np.broadcast_to(np.eye(states.shape[1]), (len(angles), *[states.shape[1]] * 2))
            final = np.matmul(self._body(eye, angles), states)
        else:
            final = self._body(states, angles)
        return final, np.matmul(self._program.signs, final * final), operator

    def _body(self, states: Float64s, angles: Float64s) -> Float64s:
        for op in self._program.body:
            states = _step(op, states, angles)
        return states

    def _evaluate(self, arrays: Arrays, rows: _Rows) -> list[Evaluation]:
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        _, values, _ = self._forward(wide["angles"], rows.states)
        chances = np.exp(_log_chances(wide, values))
        right = np.maximum(np.where(rows.y == 1, chances[:, 1], chances[:, 0]), FLOOR)
        losses = -np.log(right).mean(axis=1)
        hits = (chances.argmax(axis=1) == rows.y).mean(axis=1)
        count = rows.y.shape[1]
        pairs = zip(losses.tolist(), hits.tolist(), strict=True)
        return [Evaluation(loss, hit, count) for loss, hit in pairs]

    def _gradient(self, arrays: Arrays, rows: _Rows) -> dict[str, Array]:
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        final, values, operator = self._forward(wide["angles"], rows.states)
        chances = np.exp(_log_chances(wide, values))
        slopes = (chances - rows.targets)[:, -1:]
        own = {"head": np.matmul(slopes, values.swapaxes(1, 2)), "bias": slopes.sum(axis=2)}
        pull = np.matmul(self._program.signs.T, np.matmul(wide["head"].swapaxes(1, 2), slopes))
        bra = pull * final
        if operator:
            eye = np.broadcast_to(np.eye(bra.shape[1]), (len(bra), *[bra.shape[1]] * 2))
            both = np.stack([np.matmul(final, bra.swapaxes(1, 2)), eye], axis=1)
        else:
            both = np.stack([final, bra], axis=1)
        angles = _walk_back(self._program, both, wide["angles"])
        total = {"angles": angles, **own}
        count = rows.y.shape[1]
        return {name: (total[name] / count).astype(np.float32) for name in arrays}


def _boxes_first(columns: Float64s) -> Float64s:
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def _log_chances(arrays: Arrays, values: Float64s) -> Float64s:
    logits = np.matmul(arrays["head"], values) + arrays["bias"][:, :, None]
    logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def _walk_back(program: Program, both: Float64s, angles: Float64s) -> Float64s:
    """(boxes, weights) slopes of kets and bras (boxes, 2, 2^n, columns) behind the body."""
    out = np.zeros(angles.shape)
    for op in reversed(program.body):
        if isinstance(op, Turn) and op.angle is not None and op.angle.source == "weight":
            out[:, op.angle.index] += op.angle.scale * _slopes(op, both)
        both = _step(op, both, angles, inverse=True)
    return out


def _slopes(op: Turn, both: Float64s) -> Float64s:
    paired = both.reshape(len(both), 2, -1, 2, both.shape[-1] << op.wire)
    overlaps = np.matmul(paired[:, 1], paired[:, 0].swapaxes(2, 3)).sum(axis=1)
    return np.asarray(2.0 * (GENERATORS[op.name] * overlaps).reshape(len(both), 4).sum(axis=1))


def _step(op: object, states: Float64s, angles: Float64s, *, inverse: bool = False) -> Float64s:
    """One operation, or its inverse, on states (boxes, ..., 2^n, columns)."""
    if not isinstance(op, Turn):
        if inverse:
            moved = states if op.plain else op.factors * states  # type: ignore[attr-defined]
            return np.asarray(moved.take(op.inverse, axis=-2))  # type: ignore[attr-defined]
        moved = states.take(op.order, axis=-2)  # type: ignore[attr-defined]
        return np.asarray(moved if op.plain else op.factors * moved)  # type: ignore[attr-defined]
    matrices = _matrices(op, angles, inverse=inverse)
    paired = states.reshape(len(states), -1, 2, states.shape[-1] << op.wire)
    return np.matmul(matrices[:, None], paired).reshape(states.shape)


def _matrices(op: Turn, angles: Float64s, *, inverse: bool) -> Float64s:
    """RY for each box, (boxes, 2, 2); by `math`, whose last bits may differ from NumPy's."""
    angle = op.angle
    assert angle is not None
    sign = -1.0 if inverse else 1.0
    values = angles[:, angle.index].tolist() if angle.source == "weight" else [1.0] * len(angles)
    halves = [0.5 * (sign * (angle.scale * value)) for value in values]
    cosines, sines = np.array([math.cos(h) for h in halves]), np.array([math.sin(h) for h in halves])
    return np.stack([cosines, -sines, sines, cosines], axis=1).reshape(-1, 2, 2)


def groups(counts: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Positions of boxes with equal counts of rows, together."""
    found: dict[tuple[int, ...], list[int]] = {}
    for at, count in enumerate(counts):
        found.setdefault(count, []).append(at)
    return list(found.values())
