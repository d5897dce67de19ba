"""A round's stored updates to its result: moments to features, deltas to the next model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from coordinator import aggregation, robust, server_adam
from coordinator.jobstate import Rules
from proto.circuit import classifier_layout, shared_layout
from proto.errors import RemoteError
from proto.messages import EVALUATE, MOMENTS, TRAIN, Metrics, Task, Update
from quantization import moments
from quantization.arrays import BadArrays, Layout, draw, size, unflatten
from quantization.pack import pack, unpack, unpack_vector
from quantization.scheme import EXACT, Scheme

SPREAD = 0.3
"""The first model's numbers are uniform in ±SPREAD."""


class Part(NamedTuple):
    """One update as the store keeps it."""

    rows: int
    payload: bytes
    metrics: Metrics | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The boxes' figures on the model the round started from, weighted by rows; work added up."""

    first_loss: float | None = None
    last_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    rows: int = 0
    validation_rows: int = 0
    evaluations: int = 0
    gradients: int = 0
    shots: int = 0


class Server(NamedTuple):
    """How updates become one change, and what the last round left for it."""

    aggregation: str = "mean"
    rate: float = 0.1
    state: bytes = b""


MEAN = Server()


def server_of(rules: Rules, state: bytes) -> Server:
    return Server(rules.aggregation, rules.server_rate, state)


class Result(NamedTuple):
    """What a round gave: a packed model or feature map (or neither), and its figures."""

    data: bytes
    included: int
    figures: Figures
    state: bytes = b""
    """What the next round's aggregation goes on from; empty for most."""
    remark: str = ""
    """What the operator should know of it."""


class _Shape(NamedTuple):
    """Any aggregation: a state, how an update is added, and the change they give together."""

    init: Callable[[int], Any]
    add: Callable[[Any, NDArray[np.float32], int], Any]
    finish: Callable[[Any], NDArray[np.float32]]


_MEAN = _Shape(aggregation.init, aggregation.add, aggregation.finish)
AGGREGATIONS: Mapping[str, _Shape] = {
    "mean": _MEAN,
    "fedadam": _MEAN,
    "trimmed-mean": _Shape(robust.init, robust.add, robust.trimmed_mean),
    "median": _Shape(robust.init, robust.add, robust.median),
}


def scheme_of(task: Task) -> Scheme:
    return Scheme(bits=task.training.bits, block=task.training.block)


def layout_of(task: Task) -> Layout:
    return classifier_layout(task.model)


def shared_of(task: Task) -> Layout:
    """What an update changes."""
    return shared_layout(task.model, personal_head=task.training.personal_head)


def first_model(task: Task, seed: int) -> bytes:
    """The packed model every box starts from: small random numbers."""
    layout, rng = layout_of(task), np.random.default_rng(seed)
    return pack(draw(layout, SPREAD, rng), layout, EXACT, rng)


def check(task: Task, kind: int, update: Update) -> None:
    """Raise RemoteError unless this update could be folded."""
    try:
        if kind == MOMENTS:
            moments.moments_from_bytes(update.payload, len(task.data.columns))
        elif update.metrics is None:
            raise RemoteError("an update without metrics")
        elif kind == TRAIN:
            delta = unpack_vector(update.payload, shared_of(task), scheme_of(task))
            aggregation.check(delta)
        elif update.payload:
            raise RemoteError("an evaluation that carries a payload")
    except BadArrays as error:
        raise RemoteError(f"an update that does not unpack: {error}") from None


def fold(
    task: Task, kind: int, model: bytes, parts: Iterable[Part], server: Server = MEAN
) -> Result:
    """All of a round's parts, one at a time. Raises RemoteError when they give no result."""
    try:
        if kind == MOMENTS:
            return _fold_moments(task, parts)
        if kind == EVALUATE:
            return _fold_figures(parts)
        return _fold_training(task, model, parts, server)
    except BadArrays as error:
        raise RemoteError(f"a round that cannot be folded: {error}") from None


def _fold_training(task: Task, model: bytes, parts: Iterable[Part], server: Server) -> Result:
    shared, scheme, shape = shared_of(task), scheme_of(task), AGGREGATIONS[server.aggregation]
    total, tally = shape.init(size(shared)), _Tally()
    for part in parts:
        tally.add(part)
        total = shape.add(total, unpack_vector(part.payload, shared, scheme), part.rows)
    change, state = shape.finish(total), b""
    if server.aggregation == "fedadam":
        state, change = server_adam.step(server.state, change, server.rate)
    layout = layout_of(task)
    new = unpack(model, layout, EXACT)
    new |= {name: new[name] + moved for name, moved in unflatten(change, shared).items()}
    packed = pack(new, layout, EXACT, np.random.default_rng(0))
    return Result(packed, tally.count, tally.figures(), state)


def _fold_figures(parts: Iterable[Part]) -> Result:
    tally = _Tally()
    for part in parts:
        tally.add(part)
    return Result(b"", tally.count, tally.figures())


def _fold_moments(task: Task, parts: Iterable[Part]) -> Result:
    columns, components = len(task.data.columns), task.data.components
    pooled, count = moments.init(columns), 0
    for part in parts:
        pooled = moments.add(pooled, moments.moments_from_bytes(part.payload, columns))
        count += 1
    layout = moments.feature_layout(columns, components)
    found = moments.finish(pooled, components)
    data = pack(found.arrays(), layout, EXACT, np.random.default_rng(0))
    return Result(data, count, Figures(rows=pooled.count), remark=_remark(task, found))


def _remark(task: Task, found: moments.FeatureMap) -> str:
    """On columns that never change. Raises RemoteError where too few do for the components."""
    varied = int(found.matrix.any(axis=0).sum())
    if varied < task.data.components:
        raise RemoteError(
            f"the boxes' columns vary in {varied} directions: set data.components to at most that, "
            f"not {task.data.components}, in a new job"
        )
    still = np.flatnonzero(~found.matrix.any(axis=1))
    names = [task.data.columns[at] for at in still[:5]]
    if not names:
        return ""
    more = f" and {len(still) - 5} more" if len(still) > 5 else ""  # noqa: PLR2004
    return f"the same in every row of every box: {', '.join(names)}{more}; data.columns can do without"


class _Tally:
    """Weighted means of the metrics, part by part."""

    def __init__(self) -> None:
        self.count = 0
        self._rows = self._validation_rows = 0
        self._sums = np.zeros(4)
        self._work = np.zeros(3, np.int64)

    def add(self, part: Part) -> None:
        metrics = part.metrics
        if metrics is None:
            raise RemoteError("an update without metrics")
        held = metrics.validation_rows
        self.count += 1
        self._rows += part.rows
        self._validation_rows += held
        self._sums += [
            metrics.first_loss * part.rows,
            metrics.last_loss * part.rows,
            metrics.validation_loss * held,
            metrics.validation_accuracy * held,
        ]
        self._work += [metrics.evaluations, metrics.gradients, metrics.shots]

    def figures(self) -> Figures:
        first, last, loss, accuracy = (float(s) for s in self._sums)
        rows, held = self._rows, self._validation_rows
        evaluations, gradients, shots = (int(n) for n in self._work)
        return Figures(
            first_loss=first / rows if rows else None,
            last_loss=last / rows if rows else None,
            validation_loss=loss / held if held else None,
            validation_accuracy=accuracy / held if held else None,
            rows=rows,
            validation_rows=held,
            evaluations=evaluations,
            gradients=gradients,
            shots=shots,
        )
