"""Optimisers that look at two points a step, however many numbers there are: for real machines.

Both take the exact gradient of what is trained classically (the head) from their probes.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_client.model import Probe
from edge_client.optimise import adam
from edge_client.optimisers.method import DIFFERENCE, Method, Objective, Plan, Step
from quantization.arrays import Array, Arrays, flatten, layout_of, unflatten

Vector = NDArray[np.float64]

REGULAR = 0.01
"""Added to the metric's diagonal: it is estimated from few looks and may be singular."""


def spsa_method(plan: Plan) -> Method:
    """Simultaneous perturbation (Spall 1992), its estimates smoothed as Adam smooths gradients.

    Measured under shot noise, the smoothing beats Spall's own falling gains: there is no
    calibration, and 16 shots with many steps go further than 1024 with few.
    """
    rule = adam(plan.rate)

    def run(arrays: Arrays, objectives: Iterator[Objective]) -> Iterator[Step]:
        rng = np.random.default_rng(plan.seed)
        state, moved = rule.init(arrays), dict(arrays)
        for objective in objectives:
            way = _way(moved, objective.exact, rng)
            ahead, behind = objective.probe([_along(moved, way, s) for s in (1.0, -1.0)])
            state, moved = rule.step(state, moved, _estimate(ahead, behind, way))
            yield Step(moved, (ahead.loss + behind.loss) / 2)

    return run


def qn_spsa_method(plan: Plan) -> Method:
    """SPSA bent by an estimate of the quantum metric (Gacon et al. 2021).

    The metric asks for fidelities of states. Circuits here have at most 12 qubits, so the box
    simulates them: they cost no shots. The angles move by the rate times the natural gradient, none
    further than the rate; the head moves by Adam.
    """
    rule = adam(plan.rate)

    def run(arrays: Arrays, objectives: Iterator[Objective]) -> Iterator[Step]:
        rng = np.random.default_rng(plan.seed)
        state, moved = rule.init(arrays), dict(arrays)
        metric: Vector | None = None
        for count, objective in enumerate(objectives):
            way, other = (_way(moved, objective.exact, rng) for _ in range(2))
            ahead, behind = objective.probe([_along(moved, way, s) for s in (1.0, -1.0)])
            seen = _metric(objective, moved, way, other)
            metric = seen if metric is None else (count * metric + seen) / (count + 1)
            grad = _estimate(ahead, behind, way)
            state, after = rule.step(state, moved, grad)
            moved = {**after, **_natural(moved, grad, metric, way, plan.rate)}
            yield Step(moved, (ahead.loss + behind.loss) / 2)

    return run


def _way(arrays: Arrays, exact: tuple[str, ...], rng: Generator) -> dict[str, Array]:
    """A random ±1 for each number that has no exact gradient."""
    return {
        name: rng.choice([-1.0, 1.0], array.shape).astype(np.float32)
        for name, array in arrays.items()
        if name not in exact
    }


def _along(arrays: Arrays, way: Arrays, sign: float) -> dict[str, Array]:
    by = np.float32(sign * DIFFERENCE)
    return {**arrays, **{name: arrays[name] + by * step for name, step in way.items()}}


def _estimate(ahead: Probe, behind: Probe, way: Arrays) -> dict[str, Array]:
    """The slope along the way, and the mean of the two points' exact gradients."""
    slope = np.float32((ahead.loss - behind.loss) / (2 * DIFFERENCE))
    exact = {name: (grad + behind.own[name]) / 2 for name, grad in ahead.own.items()}
    return {**{name: slope * step for name, step in way.items()}, **exact}


def _metric(objective: Objective, arrays: Arrays, way: Arrays, other: Arrays) -> Vector:
    """One look at the Fubini-Study metric (numbers, numbers), made positive."""
    both = {name: step + other[name] for name, step in way.items()}
    minus = {name: other[name] - step for name, step in way.items()}
    looks = [
        objective.overlap(arrays, _along(arrays, steps, sign))
        for steps, sign in ((both, 1.0), (way, 1.0), (minus, 1.0), (way, -1.0))
    ]
    bend = -(looks[0] - looks[1] - looks[2] + looks[3]) / (2 * DIFFERENCE**2) / 2
    first, second = (flatten(step, layout_of(step)).astype(np.float64) for step in (way, other))
    return bend * (np.outer(first, second) + np.outer(second, first)) / 2


def _natural(
    arrays: Arrays, grad: Mapping[str, Array], metric: Vector, way: Arrays, rate: float
) -> dict[str, Array]:
    """The probed arrays moved down the natural gradient."""
    layout = layout_of(way)
    flat = flatten({name: grad[name] for name in way}, layout).astype(np.float64)
    values, vectors = np.linalg.eigh(metric)
    bent = vectors @ ((vectors.T @ flat) / (np.abs(values) + REGULAR))
    step = rate * bent / max(1.0, float(np.abs(bent).max()))
    change = unflatten(step.astype(np.float32), layout)
    return {name: arrays[name] - change[name] for name in way}
