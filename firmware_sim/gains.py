"""How much an update would help, measured: trained now, on the rows its box really has.

The very updates that boxes would send are made ahead of time, and every set of them is judged by
the loss of the model it gives, on rows that no box holds and that no target is measured on.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from coordinator.jobstate import JobState
from edge_client.circuit.backends.chosen import circuit_of
from edge_client.circuit.classifier import classifier_model
from edge_client.config import Data
from edge_client.dataset import Table, encode
from edge_client.kinds import features_of
from edge_client.requests import Assignment, Done
from firmware_sim.memory_store import MemoryStore
from firmware_sim.workshop import Workshop
from proto.blobs import encrypt
from proto.codec import decode_signed
from proto.messages import TRAIN, Offer, Task
from proto.models import model_layout
from quantization.arrays import Array, flatten, unflatten
from quantization.pack import pack_all, unpack, unpack_vector
from quantization.scheme import EXACT, Scheme

FLOOR = 1e-12

Loss = Callable[[Array], float]
"""Of a model as one vector, in nats."""


Asked = tuple[str, int]
"""A box with a class of steps, a place in SHARES."""
Move = tuple[Array, int]
"""How far a box would move the model, and its rows."""


class Updates:
    """What each of some boxes would send now; `gain` of any of them together."""

    def __init__(self, start: Array, loss: Loss, moves: dict[Asked, Move]) -> None:
        self.start, self.judge, self._moves = start, loss, moves
        self._known: dict[frozenset[Asked], float] = {}
        self.loss = loss(start)
        """Of the model as it is."""

    def gain(self, boxes: frozenset[Asked]) -> float:
        """How far these boxes' updates together lower the loss, in nats; 0 of none."""
        if boxes not in self._known:
            self._known[boxes] = self.loss - self.judge(self.after(boxes)) if boxes else 0.0
        return self._known[boxes]

    def after(self, boxes: frozenset[Asked]) -> Array:
        """The model with these boxes' updates."""
        return moved_by(self.start, [self._moves[b] for b in sorted(boxes) if b in self._moves])


def moved_by(start: Array, moves: Sequence[Move]) -> Array:
    """The mean by rows of some updates, added; the start itself where there are none."""
    rows = sum(rows for _, rows in moves)
    return start + sum((move * (n / rows) for move, n in moves), np.zeros_like(start))


class Gains:
    """Of one job of an emulated fleet; `table` holds the teacher's rows."""

    def __init__(self, store: MemoryStore, workshop: Workshop, job: str, table: Table) -> None:
        self._store, self._workshop, self._job, self._table = store, workshop, job, table
        self._prepared: tuple[bytes, Loss] | None = None

    def updates(
        self, state: JobState, turn: int, boxes: Sequence[str], steps: Sequence[int]
    ) -> Updates:
        """What these boxes would send for a round opened now, in each class of steps."""
        task, features = self._task(), self._blob("features")
        layout = model_layout(task.model)
        model = self._blob("model")
        by = {
            n: self._trained(self._offer(state, turn, n, model), boxes, model) for n in set(steps)
        }
        moves = {
            (box, place): move
            for place, count in enumerate(steps)
            for box, move in by[count].items()
        }
        start = flatten(unpack(model, layout, EXACT), layout)
        return Updates(start, self._loss(task, features), moves)

    def from_model(
        self, state: JobState, turn: int, model: Array, boxes: Sequence[str]
    ) -> dict[str, Move]:
        """What these boxes would send if this were the model, at the task's own steps."""
        steps, blob = state.rules.steps, pack_all(model[np.newaxis], EXACT)[0]
        return self._trained(self._offer(state, turn, steps, blob), boxes, blob)

    def _trained(self, offer: Offer, boxes: Sequence[str], model: bytes) -> dict[str, Move]:
        """Moves and rows of those that can train."""
        task = self._task()
        requests = [self._request(box, offer, model) for box in boxes]
        layout, scheme = model_layout(task.model), _scheme(task)
        found = {}
        for box, result in zip(boxes, self._workshop.foretell(requests), strict=True):
            if isinstance(result, Done):
                move = unpack_vector(result.update.payload, layout, scheme)
                found[box] = move, result.update.rows
        return found

    def _offer(self, state: JobState, turn: int, steps: int, model: bytes) -> Offer:
        key = bytes(32)
        return Offer(
            job=self._job,
            round=state.round,
            turn=turn,
            kind=TRAIN,
            task=bytes(16),
            key=key,
            model=encrypt(model, key)[0],
            features=None,
            inline=b"",
            steps=steps,
            seconds=max(1, int(state.rules.deadline)),
            seed=state.rules.seed,
        )

    def _request(self, box: str, offer: Offer, model: bytes) -> Assignment:
        return Assignment(
            box=box,
            id=hashlib.blake2b(box.encode(), digest_size=16).digest(),
            task=self._store.job(self._job).task,
            offer=offer,
            model=model,
            features=self._blob("features"),
            data=Data(source=box),
        )

    def _task(self) -> Task:
        return decode_signed(self._store.job(self._job).task, Task)

    def _blob(self, kind: str) -> bytes:
        row = self._store.model(self._job, kind)
        return row.data if row else b""

    def _loss(self, task: Task, features: bytes) -> Loss:
        if self._prepared is not None and self._prepared[0] == features:
            return self._prepared[1]
        model, layout = classifier_model(circuit_of(task)), model_layout(task.model)
        table = self._table
        rows = model.prepare(features_of(task, table.X, features))
        y = encode(table.labels, table.classes)
        each = np.arange(len(y))

        def loss(vector: Array) -> float:
            chances = model.predict(unflatten(vector.astype(np.float32), layout), rows)
            return float(-np.log(np.maximum(chances[each, y], FLOOR)).mean())

        self._prepared = features, loss
        return loss


def _scheme(task: Task) -> Scheme:
    return Scheme(task.training.bits, task.training.block, task.training.keep)
