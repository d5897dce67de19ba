"""Whether a job has learned enough, by a regression on how it stands: no words, no model asked.

It learns what a teacher who saw three rounds ahead said of fleets that ran until nothing was to be
gained any more, and lies beside an adapter as NAME.stop.json. Where it is missing the language
model is asked instead.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.agent.lessons import held_back
from coordinator.decisionsfile import read_all
from coordinator.distill import Floats, entropy, regression
from coordinator.selection.examples import Decision
from coordinator.selection.linear import chance, log_odds
from coordinator.selection.progress import WORDS
from coordinator.selection.weights import Weights
from coordinator.weightsfile import write_weights
from proto.errors import ConfigError

NAMES = tuple(WORDS)
"""What it reads: coordinator/selection/progress.py."""


def distill_stop(sources: Sequence[Path], target: Path) -> dict[str, Any]:
    """Train on teachers' decisions, write it; its figures. Raises ConfigError."""
    header, every = read_all(sources)
    told = [d for d in every if d.stop is not None and d.progress]
    learned = [d for d in told if not held_back(d)]
    held = [d for d in told if held_back(d)]
    if not learned:
        raise ConfigError(f"{sources[0]} says of no job to train on whether it had learned enough")
    weights = regression(NAMES, _table(learned), _wanted(learned), header.teacher)
    write_weights(target, weights)
    there = None
    if held:
        constant = np.full(len(held), _wanted(learned).mean())
        there = {
            "fleets": len({d.fleet for d in held}),
            "boxes": len(held),
            "loss": entropy(_wanted(held), chances(weights, held)),
            "loss_of_a_constant": entropy(_wanted(held), constant),
        }
    return {
        "student": "stop",
        "file": str(target),
        "teacher": header.teacher,
        "decisions": len(learned),
        "fleets": len({d.fleet for d in learned}),
        "boxes": len(learned),
        "loss": entropy(_wanted(learned), chances(weights, learned)),
        "held_out": there,
        "weights": dict(zip(weights.features, weights.join.weights, strict=True)),
    }


def chances(weights: Weights, decisions: Sequence[Decision]) -> Floats:
    """What it says of each moment."""
    return np.array([chance(log_odds(weights, weights.join, d.progress)) for d in decisions])


def _table(decisions: Sequence[Decision]) -> Floats:
    rows = [[d.progress.get(name) for name in NAMES] for d in decisions]
    return np.array(rows, np.float64).reshape(-1, len(NAMES))  # None becomes NaN


def _wanted(decisions: Sequence[Decision]) -> Floats:
    return np.array([d.stop for d in decisions], np.float64)
