"""Where emulated boxes train: their rows in memory, a cohort's circuits in one go.

A result depends on its request alone, so it may be worked out late: when the first of a cohort is
due, all that were handed in by then are done together, and each is delivered at its own time.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import is_, itemgetter
from typing import Protocol

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_client.config import Data
from edge_client.dataset import Table
from edge_client.kinds import features_of
from edge_client.labour import Own, carry_out, fitted, hyper_of, rounding_words
from edge_client.requests import Assignment, Done, Request, Result
from firmware_sim.seeds import generators
from firmware_sim.stacked import MAX_ROWS, Cohort, Group, Judged, Stacked, Trained
from proto.circuit import Classifier
from proto.codec import decode_signed
from proto.messages import MOMENTS, TRAIN, Metrics, Offer, Task, Training, Update
from proto.models import model_layout
from quantization.arrays import Array, BadArrays, flatten
from quantization.pack import pack_all, unpack
from quantization.scheme import EXACT, Scheme


class Source(Protocol):
    """Where boxes' rows are."""

    def rows(self, box: str) -> Table: ...
    def version(self, box: str) -> int: ...


_Key = tuple[bytes, bytes, bytes, int, int, int, int, int]


def _key(request: Assignment) -> _Key:
    """What must be the same for two assignments to be trained together."""
    of, given = request.offer, (request.task, request.model, request.features)
    return (*given, of.turn, of.round, of.kind, of.steps, of.seed)


class Workshop:
    """The rows of all boxes, and the work in hand."""

    def __init__(self, source: Source, *, together: bool = True) -> None:
        self._source, self._together = source, together
        self._own: dict[tuple[str, str], tuple[int, Own]] = {}
        self._tasks: dict[bytes, Task] = {}
        self._stacks: dict[bytes, Stacked | None] = {}
        self._waiting: dict[_Key, dict[bytes, Assignment]] = {}
        self._keys: dict[bytes, _Key] = {}
        self._done: dict[bytes, Result] = {}
        self._pieces: dict[str, tuple[tuple[str, bytes], _Pieces]] = {}
        self._latest: tuple[list[object], Cohort] | None = None

    def begin(self, request: Request) -> None:
        """Something that `result` will be asked for later."""
        if isinstance(request, Assignment) and self._together:
            key = _key(request)
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

    def foretell(self, requests: list[Assignment]) -> list[Result]:
        """What these would come to, ahead of time; all of one offer. Nothing is kept."""
        found = self._work(requests)
        return [found[request.id] for request in requests]

    def _alone(self, request: Assignment) -> Result:
        return carry_out(replace(request, home=""), self._rows)

    def _rows(self, task: Task, data: Data) -> Own:
        """A virtual box's settings name the box itself as its source."""
        box = data.source
        known, version = self._own.get((task.job, box)), self._source.version(box)
        if known is None or known[0] != version:
            known = version, fitted(task, data, self._source.rows(box))
            self._own[task.job, box] = known
            self._pieces.pop(box, None)
        return known[1]

    def _work(self, requests: list[Assignment]) -> dict[bytes, Result]:
        """All of one cohort: together where that can be, each alone where it cannot."""
        task, offer = self._task(requests[0].task), requests[0].offer
        results: dict[bytes, Result] = {}
        stack = self._stack(requests[0].task, task) if offer.kind != MOMENTS else None
        if stack is not None and len(requests) > 1:
            part = self._part(task, offer, requests)
            do = self._train if offer.kind == TRAIN else self._judge
            with np.errstate(all="ignore"):
                results = do(stack, part) if part.requests else {}
        return {r.id: results.get(r.id) or self._alone(r) for r in requests}

    def _part(self, task: Task, offer: Offer, requests: list[Assignment]) -> "_Part":
        """Those that can be done together, boxes with equally many rows side by side."""
        batch, found = task.training.batch, []
        for request in requests:
            own = self._rows(task, request.data)
            rows = len(own.train)
            if 0 < rows <= MAX_ROWS and not (offer.kind == TRAIN and 0 < batch < rows):
                found.append((_sizes(own), request, own))
        found.sort(key=itemgetter(0))
        counts = [len(list(part)) for _, part in groupby(found, key=itemgetter(0))]
        requests, owns = [r for _, r, _ in found], [own for _, _, own in found]
        pieces = [self._piece(task, request, own) for _, request, own in found]
        return _Part(task, offer, requests, owns, pieces, counts)

    def _cohort(self, stack: Stacked, part: "_Part") -> Cohort:
        """Made ready once for boxes that train again and again as they are."""
        of: list[object] = [stack, *part.pieces]
        known = self._latest
        if known and len(known[0]) == len(of) and all(map(is_, known[0], of)):
            return known[1]
        pairs = zip(part.of("train"), part.of("validation"), strict=True)
        cohort = stack.cohort([Group(*seen, *held) for seen, held in pairs])
        self._latest = of, cohort
        return cohort

    def _train(self, stack: Stacked, part: "_Part") -> dict[bytes, Result]:
        """Nothing where an update cannot be packed: alone, each tells what is wrong."""
        task, offer = part.task, part.offer
        if offer.steps == 0:
            return {}
        layout = model_layout(task.model)
        arrays = unpack(part.requests[0].model, layout, EXACT)
        hyper = hyper_of(part.requests[0], offer, offer.steps)
        trained = stack.train(arrays, self._cohort(stack, part), hyper)
        new = [trained.arrays[name].reshape(len(part.owns), -1) for name, _ in layout]
        moved = np.concatenate(new, axis=1) - flatten(arrays, layout)
        if not np.isfinite(moved).all():
            return {}
        try:
            scheme = Scheme(task.training.bits, task.training.block)
            names = [zlib.crc32(request.box.encode()) for request in part.requests]
            payloads = pack_all(moved, scheme, generators(rounding_words(offer), names))
        except BadArrays:
            return {}
        return part.done(payloads, _told_training(trained, part.owns, offer.steps))

    def _judge(self, stack: Stacked, part: "_Part") -> dict[bytes, Result]:
        arrays = unpack(part.requests[0].model, model_layout(part.task.model), EXACT)
        which = "test" if all(len(own.test) for own in part.owns) else "validation"
        if not all(len(getattr(own, which)) for own in part.owns):
            return {}
        seen, held = (stack.judge(arrays, part.of(what)) for what in ("train", which))
        return part.done([b""] * len(part.owns), _told_judging(seen, held))

    def _piece(self, task: Task, request: Assignment, own: Own) -> "_Pieces":
        """A box's rows through the fleet's feature map, which stays the same for a whole job."""
        key, known = (task.job, request.features), self._pieces.get(request.box)
        if known is None or known[0] != key:
            z = features_of(task, own.table.X, request.features)
            pieces = {w: (z[at], own.y[at]) for w in _WHICH for at in (getattr(own, w),)}
            known = self._pieces[request.box] = (key, pieces)
        return known[1]

    def _task(self, body: bytes) -> Task:
        if body not in self._tasks:
            self._tasks[body] = decode_signed(body, Task)
        return self._tasks[body]

    def _stack(self, body: bytes, task: Task) -> Stacked | None:
        """How this task's boxes are trained together; None where each trains alone."""
        if body not in self._stacks:
            plain = task.execution.backend == "numpy" and not task.execution.shots
            model, stack = task.model, None
            if plain and isinstance(model, Classifier) and _simple(task.training):
                stack = Stacked(model)
            self._stacks[body] = stack if stack and stack.fits else None
        return self._stacks[body]


_Pieces = Mapping[str, tuple[Array, NDArray[np.int64]]]
"""A box's features and labels by what they are for."""
_WHICH = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class _Part:
    """Assignments of one cohort; boxes with equally many rows side by side."""

    task: Task
    offer: Offer
    requests: list[Assignment]
    owns: list[Own]
    pieces: list[_Pieces]
    counts: list[int]
    """Boxes of each such group."""

    def of(self, what: str) -> list[tuple[Array, NDArray[np.int64]]]:
        """Features and labels of each group's training, validation or test rows."""
        found, end = [], 0
        for count in self.counts:
            begin, end = end, end + count
            features, labels = zip(*(piece[what] for piece in self.pieces[begin:end]), strict=True)
            found.append((np.array(features), np.array(labels)))
        return found

    def done(self, payloads: list[bytes], figures: list[Metrics]) -> dict[bytes, Result]:
        """The updates, by the assignments' ids."""
        assert self.offer.model is not None
        digest = self.offer.model.digest
        each = zip(self.requests, self.owns, payloads, figures, strict=True)
        return {
            request.id: Done(
                self.offer.turn,
                Update(
                    id=request.id,
                    turn=self.offer.turn,
                    model=digest,
                    rows=len(own.train),
                    payload=payload,
                    metrics=metrics,
                ),
            )
            for request, own, payload, metrics in each
        }


def _simple(training: Training) -> bool:
    """Adam at a steady rate, and every number of the update travels."""
    plain = training.optimiser == "adam" and not (training.warmup or training.weight_decay)
    dense = not Scheme(training.bits, training.block, training.keep).sparse
    return plain and dense and not training.feedback


def _sizes(own: Own) -> tuple[int, int, int]:
    return len(own.train), len(own.validation), len(own.test)


def _told_training(trained: Trained, owns: list[Own], steps: int) -> list[Metrics]:
    """As `edge_client.labour` tells it, box by box."""
    return [
        Metrics(
            first_loss=first.loss,
            last_loss=last.loss,
            validation_loss=seen.loss if seen else 0.0,
            validation_accuracy=seen.accuracy if seen else 0.0,
            validation_rows=len(own.validation),
            steps=steps,
            gradients=steps,
        )
        for own, first, last, seen in zip(
            owns, trained.first, trained.last, trained.received, strict=True
        )
    ]


def _told_judging(seen: list[Judged], held: list[Judged]) -> list[Metrics]:
    return [
        Metrics(
            first_loss=own.loss,
            last_loss=own.loss,
            validation_loss=other.loss,
            validation_accuracy=other.accuracy,
            validation_rows=other.rows,
            steps=0,
        )
        for own, other in zip(seen, held, strict=True)
    ]
