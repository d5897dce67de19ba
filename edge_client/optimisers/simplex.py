"""COBYLA, borrowed from SciPy, which is loaded only when a task asks for it."""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.optimisers.method import Method, Objective, Plan, Step
from proto.errors import ConfigError
from quantization.arrays import Arrays, flatten, layout_of, unflatten


def cobyla_method(plan: Plan) -> Method:
    """COBYLA (Powell 1994): one evaluation a step, on the same rows; the rate is its first radius.

    SciPy holds the reins until the last evaluation, so all steps are told at the end. It needs two
    evaluations more than there are numbers. Raises ConfigError where SciPy is missing.
    """
    minimise = _minimise()

    def run(arrays: Arrays, objectives: Iterator[Objective]) -> Iterator[Step]:
        layout, losses = layout_of(arrays), list[float]()
        objective = next(objectives, None)
        if objective is None:
            return

        def loss(at: NDArray[np.float64]) -> float:
            (seen,) = objective.probe([unflatten(at.astype(np.float32), layout)])
            losses.append(seen.loss)
            return seen.loss

        start = flatten(arrays, layout).astype(np.float64)
        options = {"rhobeg": plan.rate, "maxiter": plan.steps}
        found = minimise(loss, start, method="COBYLA", options=options, tol=plan.rate / 1000)
        moved = unflatten(np.asarray(found.x, np.float32), layout)
        yield from (Step(moved, seen) for seen in losses)

    return run


def _minimise() -> Any:
    try:
        return importlib.import_module("scipy.optimize").minimize
    except ImportError as error:
        text = "the optimiser cobyla needs SciPy: pip install 'qfleet[optimisers]'"
        raise ConfigError(text) from error
