"""How far a job has come, as numbers by name: what decides whether to go on."""

from collections.abc import Mapping

from coordinator.selection.features import Features

KEPT = 4
"""Losses a job remembers: the newest, and as many before as there are gains to tell."""
WORDS: Mapping[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {
    "done": ("rounds", ("begin", "early", "half", "late", "end"), (0.15, 0.4, 0.6, 0.85)),
    "gain": ("loss", ("rises", "stands", "creeps", "falls", "drops"), (-0.002, 0.002, 0.01, 0.04)),
    "gain_3": ("before", ("rises", "stands", "creeps", "falls", "drops"), (0.0, 0.01, 0.03, 0.1)),
    "stale": ("stale", ("no", "once", "twice", "often", "always"), (1, 2, 3, 5)),
    "accuracy": ("accuracy", ("poor", "low", "fair", "good", "high"), (0.6, 0.75, 0.85, 0.93)),
}
"""Of each number: what it is called, five words, and the edges between them."""


def progress(
    round_: int, rounds: int, losses: tuple[float, ...], stale: int, accuracy: float | None
) -> Features:
    """Every name of WORDS; None where it is not known.

    `losses` are the fleet's validation losses of the last rounds, the newest last; `gain` is the
    share of its loss that the last round took away, `gain_3` the last three together.
    """
    return {
        "done": round_ / rounds if rounds else None,
        "gain": _gain(losses[-2:], 2),
        "gain_3": _gain(losses[-KEPT:], KEPT),
        "stale": float(stale),
        "accuracy": accuracy,
    }


def words_of_progress(values: Mapping[str, float | None]) -> str:
    """All that is known of a job, as words."""
    told = (
        f"{label} {words[sum(value >= edge for edge in edges)]}"
        for name, (label, words, edges) in WORDS.items()
        if (value := values.get(name)) is not None
    )
    return " ".join(told)


def _gain(losses: tuple[float, ...], wanted: int) -> float | None:
    if len(losses) < wanted or losses[0] <= 0:
        return None
    return (losses[0] - losses[-1]) / losses[0]
