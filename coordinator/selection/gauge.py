"""What the linear student makes of a box's numbers, as one word of the question about it.

A small language model reads words well and numbers badly: it is told a verdict on the numbers, and
judges what the box and its owner say beside it.
"""

from bisect import bisect

from coordinator.selection.features import Features
from coordinator.selection.linear import probability
from coordinator.selection.weights import Weights

LABEL = "numbers"
VERDICTS = (
    "hopeless",
    "bad",
    "poor",
    "weak",
    "fair",
    "decent",
    "good",
    "strong",
    "great",
    "best",
)
CUTS = (0.11, 0.15, 0.26, 0.35, 0.4, 0.45, 0.49, 0.54, 0.61)
"""Chances between two verdicts."""


def verdict(values: Features, weights: Weights | None) -> str:
    """Nothing without a linear student."""
    if weights is None:
        return ""
    return f"{LABEL} {VERDICTS[bisect(CUTS, probability(weights, weights.join, values))]}"
