"""Rows for the adapter benchmark: a device's report, and whether it should train by a rule."""

import random
from typing import Any

TRAINED, TESTED = 160, 160
NOTES = (
    *((note, True) for note in ("runs well", "fan is steady", "quiet tonight", "freshly updated")),
    *((note, False) for note in ("under-voltage", "card errors", "fan has stopped", "disk full")),
)
"""What a board says of itself, and whether that is well."""


def label_tokens(model: Any) -> list[int]:
    """Of yes and no."""
    return [model.tokens.single(" yes"), model.tokens.single(" no")]


def rows(first: int, count: int) -> tuple[list[str], list[int]]:
    """Texts and labels (0 yes, 1 no), as many of each; other rows for another first."""
    rng = random.Random(first)
    kept: list[list[tuple[str, int]]] = [[], []]
    while min(map(len, kept)) < count // 2:
        text, label = _row(rng)
        kept[label].append((text, label))
    both = kept[0][: count // 2] + kept[1][: count // 2]
    rng.shuffle(both)
    return [text for text, _ in both], [label for _, label in both]


def _row(rng: random.Random) -> tuple[str, int]:
    note, well = rng.choice(NOTES)
    link = rng.choice(["wifi", "4g", "3g"])
    load, free = rng.randint(1, 99), rng.randint(1, 9)
    text = (
        f"Device report: {note}, link {link}, cpu load {load}%, free memory {free} GB."
        "\nJoin the training round? Answer:"
    )
    return text, int(not (well and link != "3g"))
