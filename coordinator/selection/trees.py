"""The student `gbm`: boosted trees on a box's numbers, and on its words if it has terms."""

from collections.abc import Sequence

from coordinator.selection.candidates import Candidate
from coordinator.selection.features import Features, beside, features
from coordinator.selection.forest import Trees
from coordinator.selection.linear import chance
from coordinator.selection.request import Request
from coordinator.selection.terms import text_of, values


def by_trees(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`gbm`: the chance, by the trees the job was given, that a teacher would ask this box.

    Without trees there is no score, and the hand rule decides.
    """
    student = request.weights
    if not isinstance(student, Trees):
        return {}
    told = beside([features(c, request) for c in candidates])
    return {
        c.box: probability(student, values, c.resources.note, c.resources.journal)
        for c, values in zip(candidates, told, strict=True)
    }


def probability(student: Trees, told: Features, note: str, journal: Sequence[str]) -> float:
    """In (0, 1); `told` is a box's `beside` the others."""
    row: list[float | None] = [told.get(name) for name in student.features]
    if student.terms:
        row += values(student.terms, text_of(note, journal))
    total = student.bias + sum(tree.of(row) for tree in student.trees)
    return chance(total)
