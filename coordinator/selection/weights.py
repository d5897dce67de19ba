"""A distilled linear scorer's numbers, as its file and a job's rules hold them."""

import math
from typing import Annotated

from msgspec import Meta, Struct

VERSION = 1
MAX_FEATURES, MAX_PRICES = 64, 8
MAX_NUMBER = 1e6
STEEP = 30.0
"""Logits beyond it are cut."""

Numbers = Annotated[tuple[float, ...], Meta(max_length=MAX_FEATURES)]
Price = Annotated[str, Meta(max_length=40)]
Names = Annotated[
    tuple[Annotated[str, Meta(max_length=40)], ...], Meta(min_length=1, max_length=MAX_FEATURES)
]


class Head(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A logistic regression: sigmoid(bias + sum of weights * (value - mean) / scale)."""

    weights: Numbers
    bias: float


class Weights(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="format",
    tag="qfleet-linear",
):
    """A linear student. A feature that a box does not report counts as its mean."""

    version: int
    features: Names
    mean: Numbers
    scale: Numbers
    join: Head
    """How good it is to ask this box now."""
    aims: Annotated[dict[Price, Numbers], Meta(max_length=MAX_PRICES)] = {}
    """By what an owner may price, such as "energy": what is added to the weights of `join` for each
    part of all that it is priced at beyond what is `usual`."""
    usual: Annotated[dict[Price, float], Meta(max_length=MAX_PRICES)] = {}
    """The prices of an objective that is not known."""
    words: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.0
    """By how much a language model's log-odds of what a box says are multiplied."""
    steps: Annotated[tuple[Head, ...], Meta(max_length=4)] = ()
    """Of each class of steps: how likely it is the best; none where nobody said."""
    trained_on: Annotated[str, Meta(max_length=200)] = ""
    """Which decisions, for people."""

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"not a linear student of version {VERSION}")
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is named twice")
        if set(self.aims) != set(self.usual):
            raise ValueError("aims and usual have the same prices")
        heads = (self.join, *self.steps)
        numbers = (self.mean, self.scale, *(head.weights for head in heads), *self.aims.values())
        if any(len(part) != len(self.features) for part in numbers):
            raise ValueError("mean, scale and weights have one number for each feature")
        biases = (head.bias for head in heads)
        flat = (*(x for part in numbers for x in part), *biases, *self.usual.values())
        if not all(math.isfinite(x) and abs(x) <= MAX_NUMBER for x in flat):
            raise ValueError(f"a number is not finite, or beyond {MAX_NUMBER:g}")
        if not all(s > 0 for s in self.scale):
            raise ValueError("a scale is not above 0")
