"""A round's stored updates to its result: moments to features, deltas to the next model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from coordinator import aggregation, robust, server_adam
from coordinator.jobstate import Rules
from coordinator.kinds import first_arrays
from coordinator.ranks import way_of
from coordinator.updates import Part
from proto.adapter import Adapter
from proto.errors import RemoteError
from proto.messages import EVALUATE, MOMENTS, TRAIN, Task, Update
from proto.models import label_columns, model_layout, sent_layout, summed_columns
from quantization import moments
from quantization.arrays import Array, BadArrays, Layout, flatten, unflatten
from quantization.pack import Form, bound, form_of, pack, unpack, unpack_all, unpack_vector
from quantization.scheme import EXACT, Scheme


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The boxes' figures on the model the round started from, weighted by rows; work added up."""

    first_loss: float | None = None
    last_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    teacher_loss: float | None = None
    """Of the boxes that have a teacher, on their validation rows."""
    distance: float | None = None
    """Mean distance of a box's validation loss from the fleet's; every box counts the same."""
    staleness: float = 0.0
    """Mean of the updates', in steps of the model; 0 in synchronous rounds."""
    rows: int = 0
    validation_rows: int = 0
    evaluations: int = 0
    gradients: int = 0
    shots: int = 0


class Server(NamedTuple):
    """How updates become one change, and what the last round left for it."""

    aggregation: str = "mean"
    rate: float = 1.0
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
    add: Callable[[Any, NDArray[np.float32], Sequence[int]], Any]
    """Some more, (v, n), with their rows."""
    finish: Callable[[Any], NDArray[np.float32]]


def _held(state: Any, deltas: NDArray[np.float32], weights: Sequence[int]) -> Any:
    for delta, weight in zip(deltas, weights, strict=True):
        state = robust.add(state, delta, weight)
    return state


_MEAN = _Shape(aggregation.init, aggregation.add_all, aggregation.finish)
AGGREGATIONS: Mapping[str, _Shape] = {
    "mean": _MEAN,
    "fedadam": _MEAN,
    "trimmed-mean": _Shape(robust.init, _held, robust.trimmed_mean),
    "median": _Shape(robust.init, _held, robust.median),
}
AT_ONCE = 2**18
"""Numbers that are unpacked together, of as many updates as that makes, at least one."""
MOST_LEARNT = 4
"""Rows a box may sum up for each it trains on: its validation rows are summed up too."""
STATEFUL = frozenset({"fedadam"})
"""Aggregations that go on from what the last round left."""


def scheme_of(task: Task) -> Scheme:
    training = task.training
    return _scheme(training.bits, training.block, training.keep)


_scheme = lru_cache(maxsize=64)(Scheme)


def layout_of(task: Task) -> Layout:
    return model_layout(task.model)


def sent_of(task: Task, rank: int = 0) -> Layout:
    """What an update changes."""
    return sent_layout(task.model, rank, personal_head=task.training.personal_head)


def first_model(task: Task, seed: int) -> bytes:
    """The packed model every box starts from."""
    arrays = first_arrays(task, seed)
    return pack(arrays, layout_of(task), EXACT, np.random.default_rng(0))


class Checks:
    """What updates of a task must be like so that they can be folded by this aggregation."""

    def __init__(self, task: Task, method: str = "mean") -> None:
        self._task, self._method = task, method
        self._forms: dict[int, Form] = {}
        """Of training's updates, by rank: looked up with each of them."""

    def check(self, kind: int, update: Update) -> None:
        """Raise RemoteError unless this update could be folded."""
        try:
            if kind == MOMENTS:
                self._check_moments(update)
            elif update.metrics is None:
                raise RemoteError("an update without metrics")
            elif kind == TRAIN:
                self._check_change(update.payload, update.metrics.rank)
            elif update.payload:
                raise RemoteError("an evaluation that carries a payload")
        except BadArrays as error:
            raise RemoteError(f"an update that does not unpack: {error}") from None

    def _check_moments(self, update: Update) -> None:
        model = self._task.model
        columns, labels = summed_columns(model, len(self._task.data.columns)), label_columns(model)
        told = moments.moments_from_bytes(update.payload, columns, labels).count
        if told > MOST_LEARNT * update.rows:
            raise RemoteError(f"sums over {told} rows of a box that trains on {update.rows}")

    def _check_change(self, payload: bytes, rank: int) -> None:
        if rank and AGGREGATIONS[self._method] is not _MEAN:
            raise RemoteError(f"an adapter of a rank of its own; a {self._method} takes none")
        form = self._forms.get(rank)
        if form is None:
            form = self._forms[rank] = form_of(sent_of(self._task, rank), scheme_of(self._task))
        if bound(payload, form) > aggregation.MAX_DELTA:
            layout = sent_of(self._task, rank)
            aggregation.check(unpack_vector(payload, layout, scheme_of(self._task)))


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
    layout, sent, tally, state = layout_of(task), sent_of(task), _Tally(), b""
    before = unpack(model, layout, EXACT)
    start = flatten({name: before[name] for name, _ in sent}, sent)
    change = _change(task, start, tally.seen(parts), server)
    if server.aggregation == "fedadam":
        state, change = server_adam.step(server.state, change, server.rate)
    elif server.rate != 1:
        change = (server.rate * change).astype(np.float32)
    new = {**before, **unflatten(start + change, sent)}
    packed = pack(new, layout, EXACT, np.random.default_rng(0))
    return Result(packed, tally.count, tally.figures(), state)


def _change(task: Task, model: Array, parts: Iterable[Part], server: Server) -> Array:
    """The boxes' changes (n,) as one."""
    scheme = scheme_of(task)
    if isinstance(task.model, Adapter) and AGGREGATIONS[server.aggregation] is _MEAN:
        way = way_of(task.model)
        state = way.init(task.model)
        for part in parts:
            rank = part.metrics.rank if part.metrics else 0
            delta = unpack_vector(part.payload, model_layout(task.model, rank), scheme)
            delta = faded(delta[None], [part])[0]
            state = way.add(state, delta, rank, part.rows)
        return way.finish(state, model)
    shape = AGGREGATIONS[server.aggregation]
    sent, total, rest = sent_of(task), shape.init(model.size), iter(parts)
    while some := list(islice(rest, max(1, AT_ONCE // max(1, model.size)))):
        if any(part.metrics and part.metrics.rank for part in some):
            raise RemoteError(f"a {server.aggregation} of different ranks: take the mean")
        deltas = unpack_all([part.payload for part in some], sent, scheme)
        total = shape.add(total, faded(deltas, some), [part.rows for part in some])
    return shape.finish(total)


def faded(deltas: NDArray[np.float32], parts: Sequence[Part]) -> NDArray[np.float32]:
    """Changes (v, n), each less by how stale it is: times 1 / sqrt(1 + steps).

    FedBuff's polynomial. It divides by the updates' number, not by their weights: a step that is
    made of stale ones is a smaller step.
    """
    if not any(part.stale for part in parts):
        return deltas
    share = np.array([1.0 + part.stale for part in parts]) ** -0.5
    return (deltas * share[:, None]).astype(np.float32)


def _fold_figures(parts: Iterable[Part]) -> Result:
    tally = _Tally()
    for _part in tally.seen(parts):
        pass  # figures are all they bring
    return Result(b"", tally.count, tally.figures())


def _fold_moments(task: Task, parts: Iterable[Part]) -> Result:
    columns = summed_columns(task.model, len(task.data.columns))
    components, labels = task.data.components, label_columns(task.model)
    pooled, count = moments.init(columns), 0
    for part in parts:
        pooled = moments.add(pooled, moments.moments_from_bytes(part.payload, columns, labels))
        count += 1
    layout = moments.feature_layout(columns, components)
    found = moments.finish(pooled, components, labels)
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
    still = np.flatnonzero(~found.matrix.any(axis=1)).tolist()
    # Of a hybrid the first numbers are what it reads, the task's own columns follow.
    own = [at - len(found.shift) + len(task.data.columns) for at in still]
    names = [task.data.columns[at] for at in own if at >= 0]
    if not names:
        return ""
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")  # noqa: PLR2004
    return f"the same in every row of every box: {listed}; data.columns can do without"


class _Tally:
    """Weighted means of a round's metrics."""

    def __init__(self) -> None:
        self.count = 0
        self._rows = self._validation_rows = 0
        self._sums = (0.0, 0.0, 0.0, 0.0)
        self._losses: list[float] = []
        self._taught, self._taught_rows = 0.0, 0
        self._stale = 0
        self._work = (0, 0, 0)

    def seen(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The parts themselves. They are counted once the last has gone by, and not before."""
        count = stale = rows = held_rows = taught_rows = evaluations = gradients = shots = 0
        first = last = loss = accuracy = taught = 0.0
        losses = []
        for part in parts:
            metrics = part.metrics
            if metrics is None:
                raise RemoteError("an update without metrics")
            weight, held = part.rows, metrics.validation_rows
            count += 1
            stale += part.stale
            rows += weight
            first += metrics.first_loss * weight
            last += metrics.last_loss * weight
            if held:
                held_rows += held
                loss += metrics.validation_loss * held
                accuracy += metrics.validation_accuracy * held
                losses.append(metrics.validation_loss)
                if metrics.teacher_loss is not None:
                    taught += metrics.teacher_loss * held
                    taught_rows += held
            evaluations += metrics.evaluations
            gradients += metrics.gradients
            shots += metrics.shots
            yield part
        self.count, self._stale, self._losses = count, stale, losses
        self._rows, self._validation_rows = rows, held_rows
        self._taught, self._taught_rows = taught, taught_rows
        self._sums, self._work = (first, last, loss, accuracy), (evaluations, gradients, shots)

    def figures(self) -> Figures:
        first, last, loss, accuracy = self._sums
        rows, held = self._rows, self._validation_rows
        evaluations, gradients, shots = self._work
        mean = loss / held if held else 0.0
        return Figures(
            first_loss=first / rows if rows else None,
            last_loss=last / rows if rows else None,
            validation_loss=mean if held else None,
            validation_accuracy=accuracy / held if held else None,
            teacher_loss=self._taught / self._taught_rows if self._taught_rows else None,
            distance=float(np.abs(np.array(self._losses) - mean).mean()) if held else None,
            staleness=self._stale / self.count if self.count else 0.0,
            rows=rows,
            validation_rows=held,
            evaluations=evaluations,
            gradients=gradients,
            shots=shots,
        )
