"""What a box does with its rows: requests in, results out, no I/O but reading the rows.

Run in a child process by the agent and in the same process by the emulator; both call `carry_out`.
"""

import hashlib
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client import dataset
from edge_client.circuit.backends.chosen import Workbench, in_round, workbench
from edge_client.circuit.backends.machine import NotHere, check_installed
from edge_client.columns import choose
from edge_client.config import Data
from edge_client.model import Labels
from edge_client.personal import keep_head, with_head
from edge_client.remarks import remarks
from edge_client.requests import (
    Assignment,
    Broken,
    Done,
    Finding,
    Inspection,
    Request,
    Result,
)
from edge_client.train import Hyper, Rows, evaluate, local_update
from proto.circuit import classifier_layout, shared_layout
from proto.codec import decode_sealed, decode_signed, encode
from proto.errors import ConfigError, LocalError, QfleetError
from proto.messages import EVALUATE, MOMENTS, TRAIN, Metrics, Offer, Task, Update
from quantization import moments
from quantization.arrays import Array, Arrays, BadArrays, delta
from quantization.pack import pack, unpack
from quantization.scheme import EXACT, Scheme


def carry_out(request: Request) -> Result:
    """One request to its result. Bad data gives a reason, never an exception."""
    if isinstance(request, Inspection):
        try:
            return _found(request)
        except (QfleetError, BadArrays) as error:
            return Finding(request.task, 0, *_told(error))
    offer = decode_sealed(request.offer)
    assert isinstance(offer, Offer)
    try:
        return Done(offer.turn, encode(_update(request, offer)))
    except (QfleetError, BadArrays) as error:
        return Broken(offer.turn, *_told(error))


def _told(error: Exception) -> tuple[str, str]:
    """What the coordinator is told, and what this box's log says.

    A data file's error may quote a cell, and no cell leaves the box.
    """
    if isinstance(error, ConfigError) and not isinstance(error, NotHere):
        told = "its data or settings cannot be used for this task; the box's own log says why"
        return told, str(error)
    return str(error)[:200], str(error)


def _found(request: Inspection) -> Finding:
    task = decode_signed(request.task, Task)
    check_installed(task.execution.backend)
    own = _own(task, request.data)
    if len(own.y) < task.data.min_rows:
        raise LocalError(f"{len(own.y)} rows; the task asks for at least {task.data.min_rows}")
    if task.data.components and len(own.learnt) < moments.MIN_ROWS:
        raise LocalError(f"{len(own.learnt)} rows; sums take at least {moments.MIN_ROWS}")
    said = remarks(task, own.X[own.learnt], own.y[own.learnt])
    return Finding(request.task, len(own.train), detail=said)


@dataclass(frozen=True, eq=False, slots=True)
class Own:
    """The box's rows in the task's columns, their class numbers, and which serve for what."""

    X: NDArray[np.float64]
    y: Labels
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]

    @property
    def learnt(self) -> NDArray[np.intp]:
        """Rows anything is learnt from: all but the test rows."""
        return np.concatenate([self.train, self.validation])


def _own(task: Task, data: Data) -> Own:
    if not data.source:
        raise LocalError("no data is set: name it in edge.toml, [data] source")
    table = dataset.load(data.source, data.target)
    X = choose(table.X, table.columns, task.data.columns)
    y = dataset.encode(table.labels, task.data.classes)
    return Own(X, y, *dataset.split(len(y), data.seed, task.data.validation, data.test))


def _update(request: Assignment, offer: Offer) -> Update:
    task = decode_signed(request.task, Task)
    own = _own(task, request.data)
    payload, metrics = b"", None
    if offer.kind == MOMENTS:
        payload = moments.moments_to_bytes(moments.measure(own.X[own.learnt]))
    else:
        z = features_of(task, own.X, request.features)
        received = unpack(request.model, classifier_layout(task.model), EXACT)
        arrays = with_head(request.home, task, received, offer.turn)
        bench = _bench(request, task, offer)
        try:
            if offer.kind == EVALUATE:
                metrics = _judge(bench, arrays, z, own)
            else:
                rows = Rows(*_parts(z, own))
                payload, metrics = _train(request, offer, bench, arrays, rows)
        finally:
            bench.close()
    return Update(
        id=request.id,
        turn=offer.turn,
        model=offer.model.digest if offer.model else bytes(32),
        rows=len(own.train),
        payload=payload,
        metrics=metrics,
    )


def _parts(z: Array, own: Own) -> tuple[Array, Labels, Array, Labels]:
    return z[own.train], own.y[own.train], z[own.validation], own.y[own.validation]


def _bench(request: Assignment, task: Task, offer: Offer) -> Workbench:
    """Where the task's circuit runs; the turn is named by all that its training starts from."""
    which = f"{request.box}/{offer.turn}/{offer.kind}/{offer.round}/{offer.steps}".encode()
    start = (which, request.model, request.features)
    turn = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in start)).digest()[:16]
    if offer.kind == TRAIN:
        task = in_round(task, offer.round)
    return workbench(task, request.quantum, request.home, turn, _draws(request, offer))


def _draws(request: Assignment, offer: Offer) -> int:
    return zlib.crc32(f"{offer.seed}/{offer.turn}/{request.box}".encode())


def _train(
    request: Assignment, offer: Offer, bench: Workbench, arrays: Arrays, rows: Rows
) -> tuple[bytes, Metrics]:
    """A packed delta, and the figures of the received model on the box's rows."""
    task = decode_signed(request.task, Task)
    training = task.training
    shared = shared_layout(task.model, personal_head=training.personal_head)
    rate = training.learning_rate * training.decay ** (offer.round - 1)
    draws = _draws(request, offer)
    hyper = Hyper(offer.steps, rate, training.batch, draws, training.optimiser)
    trained = local_update(bench.model, arrays, rows, hyper)
    # Each box rounds by its own draws: shared ones would leave a bias in the mean.
    rng = np.random.default_rng([offer.seed, offer.turn, zlib.crc32(request.box.encode())])
    scheme = Scheme(training.bits, training.block)
    moved = delta(trained.arrays, arrays)
    payload = pack({name: moved[name] for name, _ in shared}, shared, scheme, rng)
    keep_head(request.home, task, offer.turn, arrays, trained.arrays)
    return payload, Metrics(
        first_loss=trained.first_loss,
        last_loss=trained.last_loss,
        validation_loss=trained.validation_loss or 0.0,
        validation_accuracy=trained.validation_accuracy or 0.0,
        validation_rows=len(rows.validation_y),
        steps=offer.steps,
        evaluations=trained.evaluations,
        gradients=trained.gradients,
        shots=bench.shots,
    )


def _judge(bench: Workbench, arrays: Arrays, z: Array, own: Own) -> Metrics:
    """The received model on training rows, and on test rows (validation rows where none)."""
    model = bench.model
    seen = evaluate(model, arrays, z[own.train], own.y[own.train])
    index = own.test if len(own.test) else own.validation
    held = evaluate(model, arrays, z[index], own.y[index]) if len(index) else None
    return Metrics(
        first_loss=seen.loss,
        last_loss=seen.loss,
        validation_loss=held.loss if held else 0.0,
        validation_accuracy=held.accuracy if held else 0.0,
        validation_rows=held.rows if held else 0,
        steps=0,
        shots=bench.shots,
    )


def features_of(task: Task, X: NDArray[np.float64], packed: bytes) -> Array:
    """Rows in columns to rows in features, by the fleet's feature map when the task has one."""
    if not task.data.components:
        return X.astype(np.float32)
    layout = moments.feature_layout(len(task.data.columns), task.data.components)
    return moments.feature_map(unpack(packed, layout, EXACT)).apply(X)
