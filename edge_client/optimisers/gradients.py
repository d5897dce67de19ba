"""Optimisers that walk down exact gradients: Adam, and L-BFGS for full batches."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_client.optimise import adam
from edge_client.optimisers.method import Method, Objective, Plan, Step
from quantization.arrays import Arrays, Layout, flatten, layout_of, unflatten

Vector = NDArray[np.float64]

MEMORY = 10
"""Pairs of step and change of gradient that L-BFGS remembers."""
TRIES = 12
"""Halvings of a step that goes uphill before it is given up."""
ENOUGH = 1e-4
"""Share of the promised decrease that a step must bring (Armijo's rule)."""


def adam_method(plan: Plan) -> Method:
    """One gradient a step; rows may differ from step to step."""
    rule = adam(plan.rate)

    def run(arrays: Arrays, objectives: Iterator[Objective]) -> Iterator[Step]:
        state, moved = rule.init(arrays), dict(arrays)
        for objective in objectives:
            loss, grad = objective.gradient(moved)
            state, moved = rule.step(state, moved, grad)
            yield Step(moved, loss)

    return run


class _Place(NamedTuple):
    at: Vector
    loss: float
    grad: Vector


def adamw_method(plan: Plan) -> Method:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    The rate rises in `warmup` equal steps: the first know the second moment from few rows only.
    """
    rule = adam(1.0)

    def run(arrays: Arrays, objectives: Iterator[Objective]) -> Iterator[Step]:
        state, moved = rule.init(arrays), dict(arrays)
        for number, objective in enumerate(objectives, 1):
            loss, grad = objective.gradient(moved)
            rate = plan.rate * min(1.0, number / (plan.warmup + 1))
            state, full = rule.step(state, moved, grad)
            moved = {
                name: (old + rate * (full[name] - old - plan.weight_decay * old)).astype(np.float32)
                for name, old in moved.items()
            }
            yield Step(moved, loss)

    return run


def sgd_method(plan: Plan) -> Method:
    """Plain descent: how far a box moves says how wrong it was.

    Adam on each box moves a content one as far as any; where boxes hold different classes, plain
    steps and Adam at the coordinator ("fedadam", Reddi et al. 2021) go together.
    """

    def run(arrays: Arrays, objectives: Iterator[Objective]) -> Iterator[Step]:
        moved = dict(arrays)
        for objective in objectives:
            loss, grad = objective.gradient(moved)
            moved = {
                name: (old - plan.rate * grad[name]).astype(np.float32)
                for name, old in moved.items()
            }
            yield Step(moved, loss)

    return run


def lbfgs_method(plan: Plan) -> Method:
    """L-BFGS (Liu and Nocedal 1989) with halving of steps; every step on the same rows.

    The first step moves no number further than the rate. A step that no halving saves ends the
    walk: the arrays stay where they are.
    """

    def run(arrays: Arrays, objectives: Iterator[Objective]) -> Iterator[Step]:
        layout = layout_of(arrays)
        pairs: deque[tuple[Vector, Vector]] = deque(maxlen=MEMORY)
        here: _Place | None = None

        def look(objective: Objective, at: Vector) -> _Place:
            loss, grad = objective.gradient(unflatten(at.astype(np.float32), layout))
            return _Place(at, loss, _vector(grad, layout))

        for objective in objectives:
            if here is None:
                here = look(objective, _vector(arrays, layout))
            way = -_bent(here.grad, pairs)
            if not pairs:
                way *= plan.rate / max(plan.rate, float(np.abs(way).max()))
            there = _walk(partial(look, objective), here, way)
            yield Step(unflatten(there.at.astype(np.float32), layout), here.loss)
            if there is here:
                return
            moved, change = there.at - here.at, there.grad - here.grad
            if moved @ change > 1e-10 * (change @ change):
                pairs.append((moved, change))
            here = there

    return run


def _walk(look: Callable[[Vector], _Place], here: _Place, way: Vector) -> _Place:
    """The first of 1, 1/2, 1/4, ... of the way that brings enough; else where we are."""
    slope, length = float(here.grad @ way), 1.0
    for _ in range(TRIES):
        there = look(here.at + length * way)
        if there.loss <= here.loss + ENOUGH * length * slope:
            return there
        length /= 2
    return here


def _bent(grad: Vector, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    """The gradient times the inverse curvature the pairs tell of (the two-loop recursion)."""
    bent, shares = grad.copy(), []
    for moved, change in reversed(pairs):
        share = float(moved @ bent) / float(moved @ change)
        bent -= share * change
        shares.append(share)
    if pairs:
        moved, change = pairs[-1]
        bent *= float(moved @ change) / float(change @ change)
    for (moved, change), share in zip(pairs, reversed(shares), strict=True):
        bent += (share - float(change @ bent) / float(moved @ change)) * moved
    return bent


def _vector(arrays: Arrays, layout: Layout) -> Vector:
    return flatten(arrays, layout).astype(np.float64)
