"""One box's part in a round: from the received model to its own, and how good the received one was.

Pure: the same model, arrays, rows and settings give the same update.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from edge_client.model import Features, Labels, Model, P, Probe, Probing
from edge_client.optimisers.chosen import method_of
from edge_client.optimisers.method import Plan
from proto.errors import LocalError
from quantization.arrays import Array, Arrays

FLOOR = 1e-12
"""Smallest probability whose logarithm is taken."""

MAX_STEPS = 100_000

Progress = Callable[[int, float], None]
"""Told after each step: steps done, loss before the step."""


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """A box's samples: features z (rows, ...) and class numbers y (rows,).

    Nothing is trained on the validation rows; there may be none.
    """

    z: Features
    y: Labels
    validation_z: Features
    validation_y: Labels


@dataclass(frozen=True, slots=True)
class Hyper:
    """How to train. Raises LocalError for values that make no sense."""

    steps: int
    learning_rate: float
    batch: int = 0
    """Rows a step; 0 is all of them."""
    seed: int = 0
    """Draws the batches, and the ways an optimiser looks."""
    optimiser: str = "adam"
    warmup: int = 0
    """First steps, in which the rate rises; adamw alone. So is the weight decay."""
    weight_decay: float = 0.0
    probe: int = 0
    """Training rows on which losses are told; 0 is all of them."""

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= MAX_STEPS:
            raise LocalError(f"{self.steps} steps; 0 to {MAX_STEPS} are accepted")
        if not 0 < self.learning_rate < float("inf"):
            raise LocalError(f"a learning rate of {self.learning_rate}")
        if self.batch < 0:
            raise LocalError(f"{self.batch} rows a batch")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on some rows: mean cross-entropy in nats, share of right answers."""

    loss: float
    accuracy: float
    rows: int


@dataclass(frozen=True, eq=False, slots=True)
class LocalUpdate:
    """What training gave."""

    arrays: dict[str, Array]
    rows: int
    """Training rows: the update's weight in the fleet's mean."""
    first_loss: float
    """Of the received model on all training rows."""
    last_loss: float
    """Of the trained model on the same rows."""
    validation_loss: float | None
    """Of the received model; None without validation rows. So is the accuracy."""
    validation_accuracy: float | None
    evaluations: int
    """Losses worked out while training, without a gradient."""
    gradients: int
    """Gradients worked out while training."""


@dataclass
class _Work:
    evaluations: int = 0
    gradients: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class _Batch(Generic[P]):
    """The loss on one step's rows, as optimisers see it; it counts what they ask."""

    model: Model[P]
    rows: P
    labels: Labels
    number: int
    work: _Work = field(repr=False)

    @property
    def exact(self) -> tuple[str, ...]:
        return self._probing.exact

    def gradient(self, arrays: Arrays) -> tuple[float, dict[str, Array]]:
        self.work.gradients += 1
        loss, grad = self.model.loss_and_grad(arrays, self.rows, self.labels)
        self._check(loss)
        return loss, grad

    def probe(self, points: Sequence[Arrays]) -> list[Probe]:
        self.work.evaluations += len(points)
        probes = self._probing.probe(points, self.rows, self.labels)
        for probe in probes:
            self._check(probe.loss)
        return probes

    def overlap(self, one: Arrays, other: Arrays) -> float:
        return self._probing.overlap(one, other, self.rows)

    @property
    def _probing(self) -> Probing[P]:
        if self.model.probing is None:
            raise LocalError("this model is trained by its gradient: choose adam or lbfgs")
        return self.model.probing

    def _check(self, loss: float) -> None:
        if not np.isfinite(loss):
            text = f"the loss is {loss} at step {self.number}; lower the learning rate"
            raise LocalError(text)


def evaluate(model: Model[P], arrays: Arrays, z: Features, y: Labels) -> Evaluation:
    """The model on labelled rows, of which there must be one."""
    return _evaluate(model, arrays, model.prepare(z), y)


def local_update(
    model: Model[P], arrays: Arrays, rows: Rows, hyper: Hyper, progress: Progress | None = None
) -> LocalUpdate:
    """Train the received arrays on the box's rows.

    Raises LocalError when there are no rows, or the loss is no longer a number.
    """
    if not len(rows.y):
        raise LocalError("there are no rows to train on")
    prepared = model.prepare(rows.z)
    seen = np.arange(len(rows.y))[: hyper.probe] if hyper.probe else None
    told, told_y = _part(prepared, rows.y, seen)
    first = _evaluate(model, arrays, told, told_y)
    work, moved = _Work(), dict(arrays)
    objectives = (
        _Batch(model, *_part(prepared, rows.y, batch), number, work)
        for number, batch in enumerate(_batches(hyper, len(rows.y)), 1)
    )
    method = method_of(hyper.optimiser, _plan(hyper))
    for number, step in enumerate(method(arrays, objectives), 1):
        moved = step.arrays
        if progress:
            progress(number, step.loss)
    received = None
    if len(rows.validation_y):
        received = evaluate(model, arrays, rows.validation_z, rows.validation_y)
    return LocalUpdate(
        arrays=moved,
        rows=len(rows.y),
        first_loss=first.loss,
        last_loss=_evaluate(model, moved, told, told_y).loss,
        validation_loss=received.loss if received else None,
        validation_accuracy=received.accuracy if received else None,
        evaluations=work.evaluations,
        gradients=work.gradients,
    )


def _plan(hyper: Hyper) -> Plan:
    return Plan(hyper.learning_rate, hyper.steps, hyper.seed, hyper.warmup, hyper.weight_decay)


def _part(prepared: P, labels: Labels, batch: NDArray[np.intp] | None) -> tuple[P, Labels]:
    return (prepared, labels) if batch is None else (prepared.take(batch), labels[batch])


def _evaluate(model: Model[P], arrays: Arrays, prepared: P, y: Labels) -> Evaluation:
    if len(y) == 0 or len(y) != prepared.rows:
        raise LocalError(f"{len(y)} labels for {prepared.rows} rows")
    chances = model.predict(arrays, prepared)
    if y.min() < 0 or y.max() >= chances.shape[1]:
        raise LocalError(f"a label is not one of the {chances.shape[1]} classes")
    right = np.maximum(chances[np.arange(len(y)), y], FLOOR)
    accuracy = (chances.argmax(axis=1) == y).mean()
    return Evaluation(float(-np.log(right).mean()), float(accuracy), len(y))


def _batches(hyper: Hyper, rows: int) -> Iterator[NDArray[np.intp] | None]:
    """Row numbers for each step, None for all of them; no row twice in one pass over them."""
    rng = np.random.default_rng(hyper.seed)
    waiting = np.empty(0, np.intp)
    for _ in range(hyper.steps):
        if hyper.batch == 0 or hyper.batch >= rows:
            yield None
            continue
        if len(waiting) < hyper.batch:
            waiting = rng.permutation(rows)
        batch, waiting = waiting[: hyper.batch], waiting[hyper.batch :]
        yield batch
