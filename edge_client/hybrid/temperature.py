"""A teacher made honest: its logits divided by one temperature, set on rows it never saw."""

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.heads import log_softmax
from edge_client.model import Labels
from proto.errors import LocalError

Float64s = NDArray[np.float64]

COLDEST, WARMEST = 1 / 50, 50.0
HALVINGS = 60


def temperature(logits: Float64s, y: Labels) -> float:
    """The temperature at which logits (rows, classes) fit the labels best (Guo et al. 2017).

    The labels are smoothed by the rule of succession (as Platt 1999 does), or a teacher that is
    right about all of a few rows would be believed without any doubt. Least cross-entropy: the
    slope by the inverse temperature only rises, so it is bisected. 1 without rows; COLDEST or
    WARMEST where the best is beyond. Raises LocalError for NaN.
    """
    if not np.isfinite(logits).all():
        raise LocalError("a teacher's logit is NaN or infinite")
    if len(y) == 0:
        return 1.0
    classes = logits.shape[1]
    targets = (len(y) * np.eye(classes)[y] + 1) / (len(y) + classes)
    low, high = 1 / WARMEST, 1 / COLDEST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        if _slope(logits, targets, middle) < 0:
            low = middle
        else:
            high = middle
    return float(1 / (low * high) ** 0.5)


def log_chances(logits: Float64s, warmth: float) -> Float64s:
    """Of logits (rows, classes): log-chances of the same shape."""
    return log_softmax(logits.T / warmth).T


def loss(taught: Float64s, y: Labels) -> float:
    """Mean cross-entropy in nats of log-chances (rows, classes), of which there must be a row."""
    return -float(taught[np.arange(len(y)), y].mean())


def _slope(logits: Float64s, targets: Float64s, inverse: float) -> float:
    chances = np.exp(log_chances(logits, 1 / inverse))
    return float(((chances - targets) * logits).sum(axis=1).mean())
