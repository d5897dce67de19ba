"""Where emulated boxes train: their rows in memory, a cohort's circuits in one go.

A result depends on its request alone, so it may be worked out late: when the first of a cohort is
due, all that were handed in by then are done together, and each is delivered at its own time.
"""

from operator import is_
from typing import Protocol

import numpy as np
from msgspec.structs import replace

from edge_client.config import Data
from edge_client.dataset import Table
from edge_client.labour import Own, carry_out, fitted, hyper_of, rounding_words
from edge_client.requests import Assignment, Request, Result
from firmware_sim.rounding import rounded
from firmware_sim.stacked import MAX_ROWS, Cohort, Group, Stacked
from firmware_sim.together import Box, Part, Sizes, told_judging, told_training
from proto.circuit import Classifier
from proto.codec import decode_signed
from proto.messages import MOMENTS, TRAIN, Offer, Task, Training
from proto.models import model_layout
from quantization.arrays import BadArrays
from quantization.pack import unpack_vector
from quantization.scheme import EXACT, Scheme


class Source(Protocol):
    """Where boxes' rows are."""

    def rows(self, box: str) -> Table: ...
    def version(self, box: str) -> int: ...


_Key = tuple[bytes, bytes, bytes, int, int, int, int, int]


def _key(request: Assignment) -> _Key:
    """What must be the same for two assignments to be trained together."""
    task, model, features, of = request.task, request.model, request.features, request.offer
    return task, model, features, of.turn, of.round, of.kind, of.steps, of.seed


class _Batch:
    """Assignments that can be done together, until one of them is due; then what they came to."""

    def __init__(self, key: _Key, first: Assignment) -> None:
        self.key, self._first = key, first
        self.waiting: dict[bytes, Assignment] = {}
        self.done: dict[bytes, Result] = {}

    def takes(self, request: Assignment) -> bool:
        """Whether this surely has the same key, as the next one of a cohort: it holds the same."""
        first = self._first
        return (
            request.offer is first.offer
            and request.model is first.model
            and request.features is first.features
            and request.task is first.task
        )


class Workshop:
    """The rows of all boxes, and the work in hand."""

    def __init__(self, source: Source, *, together: bool = True) -> None:
        self._source, self._together = source, together
        self._own: dict[tuple[str, str], tuple[int, Own]] = {}
        self._tasks: dict[bytes, Task] = {}
        self._stacks: dict[bytes, Stacked | None] = {}
        self._open: dict[_Key, _Batch] = {}
        """Those that more may still join, by what all in one have in common."""
        self._newest: _Batch | None = None
        self._batches: dict[bytes, _Batch] = {}
        """Of each assignment in hand."""
        self._boxes: dict[str, Box] = {}
        self._latest: tuple[list[object], Cohort] | None = None

    def begin(self, request: Request) -> None:
        """Something that `result` will be asked for later."""
        if isinstance(request, Assignment) and self._together:
            batch = self._newest
            if batch is None or not batch.takes(request):
                key = _key(request)
                batch = self._newest = self._open.setdefault(key, _Batch(key, request))
            batch.waiting[request.id] = request
            self._batches[request.id] = batch

    def drop(self, request: Request) -> None:
        """Given up; nobody will ask."""
        if isinstance(request, Assignment) and (batch := self._batches.pop(request.id, None)):
            batch.waiting.pop(request.id, None)
            batch.done.pop(request.id, None)

    def result(self, request: Request) -> Result:
        """What the request comes to."""
        if not isinstance(request, Assignment):
            return carry_out(request, self._rows)
        batch = self._batches.pop(request.id, None)
        if batch is None:
            return self._alone(request)
        if batch.waiting:
            waiting, batch.waiting = batch.waiting, {}
            del self._open[batch.key]
            self._newest = None
            batch.done = self._work(list(waiting.values()))
        return batch.done.pop(request.id, None) or self._alone(request)

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
        for request in requests:
            if request.id not in results:
                results[request.id] = self._alone(request)
        return results

    def _part(self, task: Task, offer: Offer, requests: list[Assignment]) -> Part:
        """Those that can be done together, boxes with equally many rows side by side."""
        batch, most = task.training.batch, MAX_ROWS
        if offer.kind == TRAIN and batch:
            most = min(batch, most)
        groups: dict[Sizes, tuple[list[Box], list[Assignment]]] = {}
        for request in requests:
            box = self._box(task, request)
            if (group := groups.get(box.sizes)) is None:
                group = groups[box.sizes] = [], []
            group[0].append(box)
            group[1].append(request)
        chosen = {s: groups[s] for s in sorted(groups) if 0 < s.train <= most}
        boxes = [box for group, _ in chosen.values() for box in group]
        together = [request for _, asked in chosen.values() for request in asked]
        counts = [(sizes, len(group)) for sizes, (group, _) in chosen.items()]
        return Part(task, offer, together, boxes, counts)

    def _cohort(self, stack: Stacked, part: Part) -> Cohort:
        """Made ready once for boxes that train again and again as they are."""
        of: list[object] = [stack, *part.boxes]
        known = self._latest
        if known and len(known[0]) == len(of) and all(map(is_, known[0], of)):
            return known[1]
        pairs = zip(part.of("train"), part.of("validation"), strict=True)
        cohort = stack.cohort([Group(*seen, *held) for seen, held in pairs])
        self._latest = of, cohort
        return cohort

    def _train(self, stack: Stacked, part: Part) -> dict[bytes, Result]:
        """Nothing where an update cannot be packed: alone, each tells what is wrong."""
        task, offer = part.task, part.offer
        if offer.steps == 0:
            return {}
        start = unpack_vector(part.requests[0].model, model_layout(task.model), EXACT)
        hyper = hyper_of(part.requests[0], offer, offer.steps)
        trained = stack.train(start, self._cohort(stack, part), hyper)
        moved = trained.models - start
        if not np.isfinite(moved).all():
            return {}
        try:
            scheme = Scheme(task.training.bits, task.training.block)
            own = [box.word for box in part.boxes]
            payloads = rounded(moved, scheme, rounding_words(offer), own)
        except BadArrays:
            return {}
        return part.done(payloads, told_training(trained, part.sizes("validation"), offer.steps))

    def _judge(self, stack: Stacked, part: Part) -> dict[bytes, Result]:
        start = unpack_vector(part.requests[0].model, model_layout(part.task.model), EXACT)
        which = "test" if all(part.sizes("test")) else "validation"
        held = part.sizes(which)
        if not all(held):
            return {}
        seen, other = (stack.judge(start, part.of(what)) for what in ("train", which))
        return part.done([b""] * len(held), told_judging(seen, other, held))

    def _box(self, task: Task, request: Assignment) -> Box:
        """Made ready once: the fleet's feature map stays the same for a whole job."""
        name, features = request.box, request.features
        known, version = self._boxes.get(name), self._source.version(name)
        if (
            known is None
            or known.task is not task
            or known.version != version
            or known.features != features
        ):
            own = self._rows(task, request.data)
            known = self._boxes[name] = Box(task, own, version, features, name)
        return known

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


def _simple(training: Training) -> bool:
    """Adam at a steady rate, and every number of the update travels."""
    plain = training.optimiser == "adam" and not (training.warmup or training.weight_decay)
    dense = not Scheme(training.bits, training.block, training.keep).sparse
    return plain and dense and not training.feedback
