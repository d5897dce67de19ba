"""The student `linear`: a logistic regression on a box's numbers, learned from a teacher.

It reads each number beside those of the round's other boxes. Where an owner's aim is known, as
prices of time, energy, traffic and fairness, each price shifts the weights: what a slow box costs
depends on what time is worth.
"""

import math
from collections.abc import Mapping, Sequence

from coordinator.selection.candidates import Candidate
from coordinator.selection.features import Features, beside, features, scaled
from coordinator.selection.request import Request
from coordinator.selection.weights import STEEP, Head, Weights

MOST = 6.0
"""Scales out at which a value is cut: no report may drown the others."""
NO_AIM: Mapping[str, float] = {}


def by_linear(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`linear`: the chance, by the weights the job was given, that a teacher would ask this box.

    Without weights there is no score, and the hand rule decides.
    """
    student = request.weights
    if not isinstance(student, Weights):
        return {}
    told = beside([features(c, request) for c in candidates])
    return {
        c.box: chance(log_odds(student, student.join, values))
        for c, values in zip(candidates, told, strict=True)
    }


def log_odds(
    weights: Weights, head: Head, values: Features, prices: Mapping[str, float] = NO_AIM
) -> float:
    """In nats; `values` are a box's `beside` the others. Without prices they are the usual ones."""
    beyond = {name: prices[name] - weights.usual[name] for name in weights.aims if name in prices}
    total = head.bias
    for at, name in enumerate(weights.features):
        value = scaled(name, values.get(name))
        if value is None:
            continue
        weight = head.weights[at] + sum(x * weights.aims[aim][at] for aim, x in beyond.items())
        total += weight * min(MOST, max(-MOST, (value - weights.mean[at]) / weights.scale[at]))
    return total


def chance(odds: float) -> float:
    """In (0, 1), of log-odds."""
    return 1 / (1 + math.exp(-min(STEEP, max(-STEEP, odds))))
