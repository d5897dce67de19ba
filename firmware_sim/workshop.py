"""Where emulated boxes train: their rows in memory, a cohort's circuits in one go.

A result depends on its request alone, so it may be worked out late: when the first of a cohort is
due, all that were handed in by then are done together, and each is delivered at its own time.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from edge_client.config import Data
from edge_client.dataset import Table
from edge_client.kinds import features_of
from edge_client.labour import Own, carry_out, fitted, rate_of, rounding
from edge_client.requests import Assignment, Done, Request, Result
from edge_client.train import Hyper
from firmware_sim.stacked import MAX_ROWS, Group, Stacked, Trained, groups
from proto.circuit import Classifier
from proto.codec import decode_sealed, decode_signed, encode
from proto.messages import TRAIN, Metrics, Offer, Task, Update
from proto.models import model_layout
from quantization.arrays import Array, BadArrays, flatten
from quantization.pack import pack_all, unpack
from quantization.scheme import EXACT, Scheme

RowsOf = Callable[[str], Table]
"""A box's rows, by its name."""


class _Key(NamedTuple):
    """What must be the same for two assignments to be trained together."""

    task: bytes
    offer: bytes
    model: bytes
    features: bytes


class Workshop:
    """The rows of all boxes, and the work in hand."""

    def __init__(self, rows_of: RowsOf, *, together: bool = True) -> None:
        self._rows_of, self._together = rows_of, together
        self._own: dict[tuple[str, str], Own] = {}
        self._tasks: dict[bytes, Task] = {}
        self._stacks: dict[bytes, Stacked | None] = {}
        self._waiting: dict[_Key, dict[bytes, Assignment]] = {}
        self._keys: dict[bytes, _Key] = {}
        self._done: dict[bytes, Result] = {}
        self._z: dict[str, tuple[tuple[str, bytes], Array]] = {}

    def begin(self, request: Request) -> None:
        """Something that `result` will be asked for later."""
        if isinstance(request, Assignment) and self._together:
            key = _Key(request.task, _common(request.offer), request.model, request.features)
            self._keys[request.id] = key
            self._waiting.setdefault(key, {})[request.id] = request

    def drop(self, request: Request) -> None:
        """Given up; nobody will ask."""
        if isinstance(request, Assignment):
            key = self._keys.pop(request.id, None)
            if key is not None:
                self._waiting.get(key, {}).pop(request.id, None)
            self._done.pop(request.id, None)

    def result(self, request: Request) -> Result:
        """What the request comes to."""
        if not isinstance(request, Assignment):
            return carry_out(request, self._rows)
        if request.id not in self._done and request.id in self._keys:
            key = self._keys[request.id]
            together = self._waiting.pop(key, {})
            self._done.update(self._work(list(together.values())))
        self._keys.pop(request.id, None)
        return self._done.pop(request.id, None) or self._alone(request)

    def _alone(self, request: Assignment) -> Result:
        return carry_out(replace(request, home=""), self._rows)

    def _rows(self, task: Task, data: Data) -> Own:
        """A virtual box's settings name the box itself as its source."""
        key = (task.job, data.source)
        if key not in self._own:
            self._own[key] = fitted(task, data, self._rows_of(data.source))
        return self._own[key]

    def _work(self, requests: list[Assignment]) -> dict[bytes, Result]:
        first = requests[0]
        task = self._task(first.task)
        offer = decode_sealed(first.offer)
        assert isinstance(offer, Offer)
        stack = self._stack(first.task, task) if offer.kind == TRAIN else None
        if stack is None or len(requests) == 1:
            return {r.id: self._alone(r) for r in requests}
        owns = [self._rows(task, r.data) for r in requests]
        results: dict[bytes, Result] = {}
        for at in groups([(len(own.train), len(own.validation)) for own in owns]):
            part, held = [requests[i] for i in at], [owns[i] for i in at]
            results |= self._train(stack, task, part, held)
        return results

    def _train(
        self, stack: Stacked, task: Task, requests: list[Assignment], owns: list[Own]
    ) -> dict[bytes, Result]:
        offer = decode_sealed(requests[0].offer)
        assert isinstance(offer, Offer)
        rows, batch = len(owns[0].train), task.training.batch
        if not 0 < rows <= MAX_ROWS or 0 < batch < rows or offer.steps == 0:
            return {r.id: self._alone(r) for r in requests}
        layout = model_layout(task.model)
        arrays = unpack(requests[0].model, layout, EXACT)
        hyper = Hyper(offer.steps, rate_of(task, offer), optimiser=task.training.optimiser)
        with np.errstate(all="ignore"):
            trained = stack.train(arrays, self._group(task, requests, owns), hyper)
            parts = [trained.arrays[name].reshape(len(owns), -1) for name, _ in layout]
            moved = np.concatenate(parts, axis=1) - flatten(arrays, layout)
        if not np.isfinite(moved).all():
            return {r.id: self._alone(r) for r in requests}  # each tells what is wrong with it
        rngs = [rounding(offer, r.box) for r in requests]
        try:
            scheme = Scheme(task.training.bits, task.training.block)
            payloads = pack_all(moved, scheme, rngs)
        except BadArrays:
            return {r.id: self._alone(r) for r in requests}
        held = len(owns[0].validation)
        return {
            request.id: Done(offer.turn, encode(_update(request.id, offer, rows, payload, figures)))
            for request, payload, figures in zip(
                requests, payloads, _metrics(trained, held, offer.steps), strict=True
            )
        }

    def _group(self, task: Task, requests: list[Assignment], owns: list[Own]) -> Group:
        z = [self._features(task, r, own) for r, own in zip(requests, owns, strict=True)]
        pairs = list(zip(z, owns, strict=True))
        return Group(
            z=np.stack([part[own.train] for part, own in pairs]),
            y=np.stack([own.y[own.train] for own in owns]),
            validation_z=np.stack([part[own.validation] for part, own in pairs]),
            validation_y=np.stack([own.y[own.validation] for own in owns]),
        )

    def _features(self, task: Task, request: Assignment, own: Own) -> Array:
        """A box's rows through the fleet's feature map, which stays the same for a whole job."""
        known = self._z.get(request.box)
        if known is None or known[0] != (task.job, request.features):
            z = features_of(task, own.table.X, request.features)
            known = self._z[request.box] = ((task.job, request.features), z)
        return known[1]

    def _task(self, body: bytes) -> Task:
        if body not in self._tasks:
            self._tasks[body] = decode_signed(body, Task)
        return self._tasks[body]

    def _stack(self, body: bytes, task: Task) -> Stacked | None:
        """How this task's boxes are trained together; None where each trains alone."""
        if body not in self._stacks:
            plain = task.execution.backend == "numpy" and not task.execution.shots
            sort = isinstance(task.model, Classifier) and task.training.optimiser == "adam"
            stack = Stacked(task.model) if plain and sort else None  # type: ignore[arg-type]
            self._stacks[body] = stack if stack and stack.fits else None
        return self._stacks[body]


def _common(offer: bytes) -> bytes:
    """An offer without what differs from box to box and changes no result."""
    message = decode_sealed(offer)
    assert isinstance(message, Offer)
    return encode(replace(message, seconds=1, inline=b""))


def _update(id_: bytes, offer: Offer, rows: int, payload: bytes, metrics: Metrics) -> Update:
    assert offer.model is not None
    return Update(
        id=id_,
        turn=offer.turn,
        model=offer.model.digest,
        rows=rows,
        payload=payload,
        metrics=metrics,
    )


def _metrics(trained: Trained, held: int, steps: int) -> list[Metrics]:
    """As `labour.metrics_of` tells them, box by box."""
    return [
        Metrics(
            first_loss=first.loss,
            last_loss=last.loss,
            validation_loss=seen.loss if seen else 0.0,
            validation_accuracy=seen.accuracy if seen else 0.0,
            validation_rows=held,
            steps=steps,
            gradients=steps,
        )
        for first, last, seen in zip(trained.first, trained.last, trained.received, strict=True)
    ]
