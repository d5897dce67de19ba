"""How well a student orders boxes on fleets it never saw, by what its teacher thought of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CLOSE = 1e-7
DRAWS = 2000
"""Of the bootstrap."""


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
    gained, most = np.sum([_gains(choice) for choice in choices], axis=0)
    return {
        "boxes": float(len(y)),
        "loss": cross_entropy(y, p),
        "loss_of_a_constant": cross_entropy(y, np.full(len(y), y.mean())),
        "least_loss": cross_entropy(y, y),
        "captured": float(gained / most) if most > CLOSE else 0.0,
    }


def intervals(fleets: Sequence[Sequence[Choice]]) -> dict[str, list[float]]:
    """Where 95 % of the losses and captured shares are if fleets are drawn anew (bootstrap)."""
    rows = []
    for choices in fleets:
        found = judged(choices)
        gains = np.sum([_gains(choice) for choice in choices], axis=0)
        rows.append([found["boxes"], found["boxes"] * found["loss"], *gains])
    drawn = np.random.default_rng(0).integers(0, len(rows), (DRAWS, len(rows)))
    boxes, losses, gained, most = np.array(rows)[drawn].sum(axis=1).T
    spans = {"loss": losses / boxes, "captured": gained / np.maximum(most, CLOSE)}
    return {f"{name}_95": np.quantile(x, [0.025, 0.975]).tolist() for name, x in spans.items()}


def missed(choices: Sequence[Choice]) -> float:
    """What the student's cohorts are worth less than the teacher's best."""
    return float(sum(most - gained for gained, most in map(_gains, choices)))


def _gains(choice: Choice) -> tuple[float, float]:
    """Beyond what lots would gain: the student's cohort, and the teacher's best."""
    taught, said = np.array(choice.taught), np.array(choice.said)
    size = min(choice.cohort, len(taught))
    picked = float(taught[np.argsort(-said, kind="stable")[:size]].sum())
    lots = float(taught.mean() * size)
    return picked - lots, float(np.sort(taught)[::-1][:size].sum()) - lots


def cross_entropy(y: np.ndarray, p: np.ndarray) -> float:
    """Mean over rows, in nats."""
    p = np.clip(p, CLOSE, 1 - CLOSE)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
