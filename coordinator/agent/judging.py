"""How well a student orders boxes on fleets it never saw, by what its teacher thought of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CLOSE = 1e-7


class Choice(NamedTuple):
    """One round: how many are asked, and of each box the teacher's chance and the student's."""

    cohort: int
    taught: Sequence[float]
    said: Sequence[float]


def judged(choices: Sequence[Choice]) -> dict[str, float]:
    """Losses in nats, and the share of what could be gained over lots that the student gains.

    `captured` is 1 where its cohorts are as good as the teacher's best, by the teacher's chances,
    and 0 where lots would do as well. `least_loss` is the teacher's own uncertainty.
    """
    y = np.concatenate([choice.taught for choice in choices])
    p = np.concatenate([choice.said for choice in choices])
    best = picked = lots = 0.0
    for choice in choices:
        taught, said = np.array(choice.taught), np.array(choice.said)
        size = min(choice.cohort, len(taught))
        best += float(np.sort(taught)[::-1][:size].sum())
        picked += float(taught[np.argsort(-said, kind="stable")[:size]].sum())
        lots += float(taught.mean() * size)
    return {
        "boxes": float(len(y)),
        "loss": cross_entropy(y, p),
        "loss_of_a_constant": cross_entropy(y, np.full(len(y), y.mean())),
        "least_loss": cross_entropy(y, y),
        "captured": (picked - lots) / (best - lots) if best - lots > CLOSE else 0.0,
    }


def cross_entropy(y: np.ndarray, p: np.ndarray) -> float:
    """Mean over rows, in nats."""
    p = np.clip(p, CLOSE, 1 - CLOSE)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
