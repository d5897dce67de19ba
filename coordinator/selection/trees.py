"""The student `gbm`: boosted trees on a box's numbers, and on its words if it has terms."""

import math
from collections.abc import Sequence

from coordinator.selection.candidates import Candidate
from coordinator.selection.features import Features, features
from coordinator.selection.forest import Trees
from coordinator.selection.request import Request
from coordinator.selection.terms import text_of, values
from coordinator.selection.weights import STEEP


def by_trees(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`gbm`: the chance, by the trees the job was given, that a teacher would ask this box.

    Without trees there is no score, and the hand rule decides.
    """
    student = request.weights
    if not isinstance(student, Trees):
        return {}
    return {
        c.box: probability(student, features(c, request), c.resources.note, c.resources.journal)
        for c in candidates
    }


def probability(student: Trees, told: Features, note: str, journal: Sequence[str]) -> float:
    """In (0, 1)."""
    row: list[float | None] = [told.get(name) for name in student.features]
    if student.terms:
        row += values(student.terms, text_of(note, journal))
    total = student.bias + sum(tree.of(row) for tree in student.trees)
    return 1 / (1 + math.exp(-min(STEEP, max(-STEEP, total))))
