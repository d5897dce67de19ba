"""A cohort's training in one go: `edge_client.train.local_update`, for many boxes at once.

Boxes of one group hold equally many rows, so their states are one array (boxes, 2^n, rows) and each
gate is one call. Every number comes from the same operations on the same shapes as when a box
trains alone, so that the result is the same to the bit; a test holds it to that.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_client.circuit.classifier import squashed
from edge_client.circuit.engine import NUMPY, encode, operator_pays
from edge_client.circuit.program import GENERATORS, Float64s, Program, Turn, compile_circuit
from edge_client.optimise import adam
from edge_client.train import FLOOR, Hyper
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
    """One group: states behind the prefix (boxes, 2^n, rows), labels (boxes, rows), targets."""

    at: slice
    """Which boxes these are, among all."""
    states: Float64s
    y: NDArray[np.int64]
    targets: Float64s
    """One-hot, (boxes, 2, rows)."""
    operator: bool
    """Whether the body's matrix is worked out once for all rows."""


@dataclass(frozen=True, eq=False, slots=True)
class Cohort:
    """Groups made ready: what stays the same however often these boxes train."""

    rows: list[_Rows]
    held: list[_Rows]
    """Validation rows, of the groups that have any."""
    validated: list[bool]
    """Whether each box has any."""


class Judged(Struct, frozen=True):
    """As `edge_client.train.Evaluation`: mean cross-entropy in nats, share of right answers."""

    loss: float
    accuracy: float
    rows: int


class Trained(NamedTuple):
    """A group's training: arrays (boxes, ...), and each box's figures in the group's order."""

    arrays: dict[str, Array]
    first: list[Judged]
    """Of the received model on the training rows."""
    last: list[Judged]
    """Of the trained one on the same."""
    received: list[Judged | None]
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

    def cohort(self, groups: Sequence[Group]) -> Cohort:
        """Boxes are numbered through all groups, in their order."""
        held = [(g.validation_z, g.validation_y) for g in groups if g.validation_y.shape[1]]
        return Cohort(
            self._parts([(group.z, group.y) for group in groups]),
            self._parts(held),
            [bool(group.validation_y.shape[1]) for group in groups for _ in group.y],
        )

    def train(self, arrays: Arrays, cohort: Cohort, hyper: Hyper) -> Trained:
        """From the same arrays, on each box's own rows; full batches, by Adam."""
        parts, boxes = cohort.rows, len(cohort.validated)
        start = {n: np.repeat(a[None], boxes, axis=0) for n, a in arrays.items()}
        first: list[Judged] = []
        moved, rule = start, adam(hyper.learning_rate)
        state = rule.init(moved)
        for step in range(hyper.steps):
            slopes = self._gradient(moved, parts, None if step else first)
            state, moved = rule.step(state, moved, slopes)
        last = self._evaluate(moved, parts)
        seen = iter(self._evaluate(start, cohort.held))
        received = [next(seen) if validated else None for validated in cohort.validated]
        return Trained(moved, first, last, received)

    def judge(
        self, arrays: Arrays, groups: Sequence[tuple[Array, NDArray[np.int64]]]
    ) -> list[Judged]:
        """The same arrays on each box's own rows, (boxes, rows, features) and (boxes, rows)."""
        boxes = sum(len(y) for _, y in groups)
        start = {n: np.repeat(a[None], boxes, axis=0) for n, a in arrays.items()}
        return self._evaluate(start, self._parts(groups))

    def _parts(self, groups: Sequence[tuple[Array, NDArray[np.int64]]]) -> list[_Rows]:
        parts, begin = [], 0
        for z, y in groups:
            parts.append(self._prepared(z, y, begin))
            begin += len(y)
        return parts

    def _prepared(self, z: Array, y: NDArray[np.int64], begin: int) -> _Rows:
        boxes, rows, features = z.shape
        x = squashed(self._classifier, z.reshape(-1, features))
        states = encode(self._program, x).states.reshape(-1, boxes, rows)
        one_hot = np.eye(2)[:, y.ravel()].reshape(2, boxes, rows)
        operator = operator_pays(self._program, rows, NUMPY)
        at = slice(begin, begin + boxes)
        return _Rows(at, _boxes_first(states), y, _boxes_first(one_hot), operator)

    def _forward(self, angles: Float64s, parts: list[_Rows]) -> Iterator[tuple[_Rows, Float64s]]:
        """Each part with its boxes' final states; the bodies of all operators in one go."""
        operators = iter(self._operators([angles[part.at] for part in parts if part.operator]))
        for part in parts:
            if part.operator:
                yield part, np.matmul(next(operators), part.states)
            else:
                yield part, self._body(part.states, angles[part.at])

    def _operators(self, angles: Sequence[Float64s]) -> list[Float64s]:
        """The body as matrices (boxes, 2^n, 2^n), part by part; one for all that start alike."""
        if not angles:
            return []
        size, own = 2**self._program.qubits, np.concatenate(angles)
        alike = bool((own == own[0]).all())
        own = own[:1] if alike else own
        found = self._body(np.broadcast_to(np.eye(size), (len(own), size, size)), own)
        if alike:
            return [found] * len(angles)
        return np.split(found, np.cumsum([len(part) for part in angles[:-1]]))

    def _body(self, states: Float64s, angles: Float64s) -> Float64s:
        for op in self._program.body:
            states = _step(op, states, angles)
        return states

    def _evaluate(self, arrays: Arrays, parts: list[_Rows]) -> list[Judged]:
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        found: list[Judged] = []
        for part, final in self._forward(wide["angles"], parts):
            values = np.matmul(self._program.signs, final * final)
            found += _judged(np.exp(_log_chances(wide, part.at, values)), part.y)
        return found

    def _gradient(
        self, arrays: Arrays, parts: list[_Rows], judged: list[Judged] | None = None
    ) -> dict[str, Array]:
        """Slopes at these arrays; what they are worth is added to `judged`, if that is wanted."""
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        angles, signs = wide["angles"], self._program.signs
        found = {name: np.empty(array.shape, np.float32) for name, array in arrays.items()}
        late: list[tuple[_Rows, Float64s]] = []
        for part, final in self._forward(angles, parts):
            at, count = part.at, part.y.shape[1]
            values = np.matmul(signs, final * final)
            chances = np.exp(_log_chances(wide, at, values))
            if judged is not None:
                judged += _judged(chances, part.y)
            slopes = (chances - part.targets)[:, -1:]
            found["head"][at] = np.matmul(slopes, values.swapaxes(1, 2)) / count
            found["bias"][at] = slopes.sum(axis=2) / count
            head = wide["head"][at].swapaxes(1, 2)
            bra = np.matmul(signs.T, np.matmul(head, slopes)) * final
            if part.operator:
                late.append((part, np.matmul(final, bra.swapaxes(1, 2))))
            else:
                both = np.stack([final, bra], axis=1)
                found["angles"][at] = _walk_back(self._program, both, angles[at]) / count
        if late:
            kets = np.concatenate([ket for _, ket in late])
            both = np.stack([kets, np.broadcast_to(np.eye(kets.shape[1]), kets.shape)], axis=1)
            own = np.concatenate([angles[part.at] for part, _ in late])
            slopes, begin = _walk_back(self._program, both, own), 0
            for part, ket in late:
                here = slopes[begin : begin + len(ket)] / part.y.shape[1]
                found["angles"][part.at] = here
                begin += len(ket)
        return found


def _boxes_first(columns: Float64s) -> Float64s:
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def _log_chances(arrays: Mapping[str, Float64s], at: slice, values: Float64s) -> Float64s:
    logits = np.matmul(arrays["head"][at], values) + arrays["bias"][at, :, None]
    logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def _judged(chances: Float64s, y: NDArray[np.int64]) -> list[Judged]:
    """What chances (boxes, 2, rows) of labels (boxes, rows) come to, box by box."""
    right = np.maximum(np.where(y == 1, chances[:, 1], chances[:, 0]), FLOOR)
    losses = -np.log(right).mean(axis=1)
    hits = (chances.argmax(axis=1) == y).mean(axis=1)
    pairs = zip(losses.tolist(), hits.tolist(), strict=True)
    return [Judged(loss, hit, y.shape[1]) for loss, hit in pairs]


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
    turned: Float64s = np.matmul(matrices[:, None], paired)
    return turned.reshape(states.shape)


def _matrices(op: Turn, angles: Float64s, *, inverse: bool) -> Float64s:
    """RY for each box, (boxes, 2, 2); by `math`, whose last bits may differ from NumPy's."""
    angle = op.angle
    assert angle is not None
    sign = -1.0 if inverse else 1.0
    values = angles[:, angle.index] if angle.source == "weight" else np.ones(1)
    # Boxes that start from one model have one angle, which is worked out once.
    values = values[:1] if (values == values[0]).all() else values
    halves = [0.5 * (sign * (angle.scale * value)) for value in values.tolist()]
    matrices = np.empty((len(angles), 2, 2))
    matrices[:, 0, 0] = matrices[:, 1, 1] = [math.cos(half) for half in halves]
    matrices[:, 1, 0] = [math.sin(half) for half in halves]
    np.negative(matrices[:, 1, 0], out=matrices[:, 0, 1])
    return matrices
