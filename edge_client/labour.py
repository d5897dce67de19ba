"""What a box does with its rows: requests in, results out, no I/O but reading the rows.

Run in a child process by the agent and in the same process by the emulator; both call `carry_out`.
"""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from edge_client import dataset, kinds, personal, residual, texts
from edge_client.circuit.backends.chosen import in_round
from edge_client.circuit.backends.machine import NotHere
from edge_client.columns import choose
from edge_client.config import Data
from edge_client.model import Features, Labels, Parts
from edge_client.ownhead import keep_head, with_head
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
from proto.codec import decode_signed, validate
from proto.errors import ConfigError, LocalError, QfleetError, StorageError
from proto.messages import EVALUATE, MOMENTS, TRAIN, Metrics, Offer, Task, Update
from proto.models import label_columns, model_layout, sent_layout
from quantization import moments
from quantization.arrays import Arrays, BadArrays, Layout, delta, flatten, size, unflatten
from quantization.pack import pack, unpack, unpack_vector
from quantization.scheme import EXACT, Scheme

_WORD = 2**32 - 1


def carry_out(request: Request, own: "OwnRows | None" = None) -> Result:
    """One request to its result. Bad data gives a reason, never an exception.

    `own` says where the box's rows come from, when not from the file its settings name.
    """
    own = own or own_rows
    if isinstance(request, Inspection):
        try:
            return _found(request, own)
        except (QfleetError, BadArrays) as error:
            return Finding(request.task, 0, *_told(error))
    offer = request.offer
    try:
        update = _update(request, offer, own)
        validate(update)
        return Done(offer.turn, update)
    except (QfleetError, BadArrays) as error:
        return Broken(offer.turn, *_told(error))


def _told(error: Exception) -> tuple[str, str]:
    """What the coordinator is told, and what this box's log says.

    A data file's error may quote a cell, and no cell leaves the box.
    """
    if isinstance(error, ConfigError) and not isinstance(error, NotHere):
        told = "its data or settings cannot be used for this task; the box's own log says why"
        return told, str(error)
    if isinstance(error, StorageError):
        return "its disk is full, or refuses; the box's own log says more", str(error)
    return str(error)[:200], str(error)


def _found(request: Inspection, own_rows: "OwnRows") -> Finding:
    task = decode_signed(request.task, Task)
    own = own_rows(task, request.data)
    if len(own.y) < task.data.min_rows:
        raise LocalError(f"{len(own.y)} rows; the task asks for at least {task.data.min_rows}")
    if task.data.components:
        summed = _summed(task, own)
        if len(summed) < moments.MIN_ROWS:
            raise LocalError(f"{len(summed)} rows; sums take at least {moments.MIN_ROWS}")
        if label_columns(task.model):
            moments.check_classes(np.bincount(own.y[summed]))
    kinds.check_ready(task, request.adapter)
    said = remarks(task, own.table.X[own.learnt], own.y[own.learnt])
    return Finding(request.task, len(own.train), detail=said)


@dataclass(frozen=True, eq=False, slots=True)
class Own:
    """The box's rows in the task's columns, their class numbers, and which serve for what."""

    table: dataset.Table
    """Its `y` and `classes` are the task's."""
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]

    @property
    def y(self) -> Labels:
        return self.table.y

    @property
    def learnt(self) -> NDArray[np.intp]:
        """Rows anything is learnt from: all but the test rows."""
        return np.concatenate([self.train, self.validation])


OwnRows = Callable[[Task, Data], Own]


def own_rows(task: Task, data: Data) -> Own:
    """The rows of the file that the box's settings name. Raises QfleetError."""
    if not data.source:
        raise LocalError("no data is set: name it in edge.toml, [data] source")
    spec = task.data
    if spec.text:
        table = texts.load(data.source, data.target, spec.text, spec.columns)
    else:
        table = dataset.load(data.source, data.target)
    return fitted(task, data, table)


def fitted(task: Task, data: Data, table: dataset.Table) -> Own:
    """A table's rows as the task wants them. Raises QfleetError where they do not fit."""
    spec = task.data
    X = choose(table.X, table.columns, spec.columns)
    y = dataset.encode(table.labels, spec.classes)
    fitting = dataset.Table(X, y, spec.columns, spec.classes, table.texts)
    return Own(fitting, *dataset.split(len(y), data.seed, spec.validation, data.test))


def _update(request: Assignment, offer: Offer, own_rows: OwnRows) -> Update:
    task = decode_signed(request.task, Task)
    own = own_rows(task, request.data)
    payload, metrics = b"", None
    if offer.kind == MOMENTS:
        X = kinds.columns_of(request, task, _start(request, offer), own.table)
        found = moments.measure(X[_summed(task, own)], label_columns(task.model))
        payload = moments.moments_to_bytes(found)
    else:
        received = _received(request.model, task)
        arrays = with_head(request.home, task, received, offer.turn)
        part = in_round(task, offer.round) if offer.kind == TRAIN else task
        bench = kinds.bench_of(request, part, _start(request, offer))
        try:
            z = bench.rows(own.table, Parts(own.train, own.validation))
            if offer.kind == EVALUATE:
                metrics = _judge(bench, arrays, z, own)
                if bench.personal and request.home:
                    _personalise(request, offer, bench, Rows(*_parts(z, own)))
            else:
                rows = Rows(*_parts(z, own))
                payload, metrics = _train(request, offer, bench, bench.cut(arrays), rows)
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


def _summed(task: Task, own: Own) -> NDArray[np.intp]:
    """Rows that the fleet's map is fitted on."""
    # Classes of validation rows would praise the map that learnt them.
    return own.train if label_columns(task.model) else own.learnt


def _received(model: bytes, task: Task) -> Arrays:
    """The fleet's arrays. Raises BadArrays where they are not the task's."""
    try:
        return unpack(model, model_layout(task.model), EXACT)
    except BadArrays as error:
        text = f"the fleet's model is none of its task's, perhaps one of another rank: {error}"
        raise BadArrays(text) from None


def _parts(z: Features, own: Own) -> tuple[Features, Labels, Features, Labels]:
    return z[own.train], own.y[own.train], z[own.validation], own.y[own.validation]


def _start(request: Assignment, offer: Offer) -> kinds.Start:
    """The turn is named by all that its training starts from."""
    which = f"{request.box}/{offer.turn}/{offer.kind}/{offer.round}/{offer.steps}".encode()
    start = (which, request.model, request.features)
    turn = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in start)).digest()[:16]
    return kinds.Start(turn, _draws(request, offer), offer.steps, offer.seconds)


def _draws(request: Assignment, offer: Offer) -> int:
    return zlib.crc32(f"{offer.seed}/{offer.turn}/{request.box}".encode())


def _train(
    request: Assignment, offer: Offer, bench: kinds.Bench, arrays: Arrays, rows: Rows
) -> tuple[bytes, Metrics]:
    """A packed delta, and the figures of the received model on the box's rows."""
    task = decode_signed(request.task, Task)
    sent = sent_layout(task.model, bench.rank, personal_head=task.training.personal_head)
    hyper = hyper_of(request, offer, offer.steps, bench.probe)
    trained = local_update(bench.model, arrays, rows, hyper)
    moved = delta(trained.arrays, arrays)
    payload = _packed(request, offer, {name: moved[name] for name, _ in sent}, sent)
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
        rank=bench.rank,
        teacher_loss=bench.teacher_loss,
    )


def hyper_of(request: Assignment, offer: Offer, steps: int, probe: int = 0) -> Hyper:
    """How the offer's round is trained on this box."""
    training = decode_signed(request.task, Task).training
    return Hyper(
        steps=steps,
        learning_rate=training.learning_rate * training.decay ** max(0, offer.round - 1),
        batch=training.batch,
        seed=_draws(request, offer),
        optimiser=training.optimiser,
        warmup=min(training.warmup, steps),
        weight_decay=training.weight_decay,
        probe=probe,
    )


def _personalise(request: Assignment, offer: Offer, bench: kinds.Bench, rows: Rows) -> None:
    """Train on where the fleet has stopped, for this box alone; not without validation rows."""
    if not len(rows.validation_y):
        return
    layout = model_layout(decode_signed(request.task, Task).model)
    arrays = unpack(request.model, layout, EXACT)
    hyper = hyper_of(request, offer, bench.personal, bench.probe)
    trained = local_update(bench.model, arrays, rows, hyper)
    own = evaluate(bench.model, trained.arrays, rows.validation_z, rows.validation_y)
    model = pack(trained.arrays, layout, EXACT, np.random.default_rng(0))
    start = hashlib.sha256(request.model).digest()
    assert trained.validation_loss is not None
    kept = personal.Personal(start, model, trained.validation_loss, own.loss)
    personal.keep(Path(request.home), offer.job, kept)


def _packed(request: Assignment, offer: Offer, change: Arrays, layout: Layout) -> bytes:
    """A change by the task's scheme, with what this box owes where the task feeds errors back."""
    training = decode_signed(request.task, Task).training
    scheme = Scheme(training.bits, training.block, training.keep)
    rng = rounding(offer, request.box)
    if not training.feedback or not request.home:
        return pack(change, layout, scheme, rng)
    home, length = Path(request.home), size(layout)
    before = residual.owed(home, offer.job, request.task, length, offer.counted)
    wanted = flatten(change, layout) + before
    payload = pack(unflatten(wanted, layout), layout, scheme, rng)
    after = wanted - unpack_vector(payload, layout, scheme)
    residual.keep(home, offer.job, residual.of_turn(request.task, offer.turn, before, after))
    return payload


def rounding(offer: Offer, box: str) -> Generator:
    """What a box rounds its update by. Shared draws would leave a bias in the mean."""
    words = [*rounding_words(offer), zlib.crc32(box.encode())]
    # As default_rng makes it of these numbers, in half the time.
    return Generator(PCG64(SeedSequence(np.array(words, np.uint32))))


def rounding_words(offer: Offer) -> list[int]:
    """What the rounding of all boxes begins with; each one's name follows."""
    high = [offer.turn >> 32] if offer.turn > _WORD else []
    return [offer.seed, offer.turn & _WORD, *high]


def _judge(bench: kinds.Bench, arrays: Arrays, z: Features, own: Own) -> Metrics:
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
