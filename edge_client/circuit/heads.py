"""From expectation values to class probabilities, and the loss's gradient back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto.circuit import Classifier

Float64s = NDArray[np.float64]
Wide = Mapping[str, Float64s]
"""The model's arrays in float64."""

FLOOR = 1e-10
"""Smallest probability a parity head gives: its logarithm must stay finite."""


@dataclass(frozen=True, slots=True)
class Head:
    """Two functions; values are (observables, rows), chances and falls (classes, rows)."""

    log_chances: Callable[[Wide, Float64s], Float64s]
    pull: Callable[[Wide, Float64s, Float64s, Float64s], tuple[Float64s, dict[str, Float64s]]]
    """Of arrays, values, chances and how the summed loss falls as each log-chance rises (for the
    cross-entropy: the targets): the loss's slopes by the values, and its gradient by the head's
    own arrays."""


def head_of(classifier: Classifier) -> Head:
    """The head a classifier names."""
    if classifier.head == "parity":
        return Head(_parity_log_chances, _parity_pull)
    return Head(_linear_log_chances, _linear_pull)


def _linear_log_chances(arrays: Wide, values: Float64s) -> Float64s:
    logits = arrays["head"] @ values + arrays["bias"][:, None]
    if len(logits) == 1:
        # One logit tells two classes apart: the other's is 0.
        logits = np.concatenate([np.zeros_like(logits), logits])
    return log_softmax(logits)


def log_softmax(logits: Float64s) -> Float64s:
    """Of logits (classes, rows), so that the chances of each row add up to 1."""
    logits = logits - logits.max(axis=0)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=0)))


def _linear_pull(
    arrays: Wide, values: Float64s, chances: Float64s, falls: Float64s
) -> tuple[Float64s, dict[str, Float64s]]:
    slopes = (chances * falls.sum(axis=0) - falls)[-len(arrays["head"]) :]
    own = {"head": slopes @ values.T, "bias": slopes.sum(axis=1)}
    return arrays["head"].T @ slopes, own


def _parity_log_chances(_: Wide, values: Float64s) -> Float64s:
    return np.log(np.maximum(np.concatenate([1 + values, 1 - values]) / 2, FLOOR))


def _parity_pull(
    _: Wide, __: Float64s, chances: Float64s, falls: Float64s
) -> tuple[Float64s, dict[str, Float64s]]:
    ratio = falls / chances
    return (ratio[1:] - ratio[:1]) / 2, {}
