"""One box's part in a round: from the received model to its own, and how good the received one was.

Pure: the same model, arrays, rows and settings give the same update.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.model import Labels, Model, P
from edge_client.optimise import adam
from proto.errors import LocalError
from quantization.arrays import Array, Arrays

FLOOR = 1e-12
"""Smallest probability whose logarithm is taken."""

MAX_STEPS = 100_000

Progress = Callable[[int, float], None]
"""Told after each step: steps done, loss before the step."""


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """A box's samples: features z (rows, features) and class numbers y (rows,).

    Nothing is trained on the validation rows; there may be none.
    """

    z: Array
    y: Labels
    validation_z: Array
    validation_y: Labels


@dataclass(frozen=True, slots=True)
class Hyper:
    """How to train. Raises LocalError for values that make no sense."""

    steps: int
    learning_rate: float
    batch: int = 0
    """Rows a step; 0 is all of them."""
    seed: int = 0
    """Draws the batches."""

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
    gradients: int
    """Gradients worked out, the unit of what training cost."""


def evaluate(model: Model[P], arrays: Arrays, z: Array, y: Labels) -> Evaluation:
    """The model on labelled rows, of which there must be one."""
    return _evaluate(model, arrays, model.prepare(z), y)


def local_update(
    model: Model[P], arrays: Arrays, rows: Rows, hyper: Hyper, progress: Progress | None = None
) -> LocalUpdate:
    """Train the received arrays with Adam on the box's rows.

    Raises LocalError when there are no rows, or the loss is no longer a number.
    """
    if not len(rows.y):
        raise LocalError("there are no rows to train on")
    prepared = model.prepare(rows.z)
    first = _evaluate(model, arrays, prepared, rows.y)
    optimiser = adam(hyper.learning_rate)
    state, moved = optimiser.init(arrays), dict(arrays)
    for number, batch in enumerate(_batches(hyper, len(rows.y)), 1):
        part = prepared if batch is None else prepared.take(batch)
        loss, grad = model.loss_and_grad(moved, part, rows.y if batch is None else rows.y[batch])
        if not np.isfinite(loss):
            raise LocalError(f"the loss is {loss} at step {number}; lower the learning rate")
        state, moved = optimiser.step(state, moved, grad)
        if progress:
            progress(number, loss)
    received = None
    if len(rows.validation_y):
        received = evaluate(model, arrays, rows.validation_z, rows.validation_y)
    return LocalUpdate(
        arrays=moved,
        rows=len(rows.y),
        first_loss=first.loss,
        last_loss=_evaluate(model, moved, prepared, rows.y).loss,
        validation_loss=received.loss if received else None,
        validation_accuracy=received.accuracy if received else None,
        gradients=hyper.steps,
    )


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
