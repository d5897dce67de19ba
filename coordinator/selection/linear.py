"""The student `linear`: a logistic regression on a box's numbers, learned from a teacher."""

import math
from collections.abc import Sequence

from coordinator.selection.candidates import Candidate
from coordinator.selection.features import Features, features, scaled
from coordinator.selection.request import Request
from coordinator.selection.weights import STEEP, Head, Weights


def by_linear(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`linear`: the chance, by the weights the job was given, that a teacher would ask this box.

    Without weights there is no score, and the hand rule decides.
    """
    student = request.weights
    if not isinstance(student, Weights):
        return {}
    return {c.box: probability(student, student.join, features(c, request)) for c in candidates}


def probability(weights: Weights, head: Head, values: Features) -> float:
    """In (0, 1). A value 6 scales out counts as 6: no report may drown the others."""
    total = head.bias
    for name, mean, scale, weight in zip(
        weights.features, weights.mean, weights.scale, head.weights, strict=True
    ):
        value = scaled(name, values.get(name))
        if value is not None:
            total += weight * min(6.0, max(-6.0, (value - mean) / scale))
    return 1 / (1 + math.exp(-min(STEEP, max(-STEEP, total))))
