"""What a teacher decided, as questions with the answers they should get."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from coordinator.selection.advice import SHARES
from coordinator.selection.examples import Client, Decision
from coordinator.selection.prompt import JOIN, LABELS, prefix_of, question_of, stop_question
from coordinator.selection.weights import Weights
from coordinator.selection.words import edges_of
from quantization.arrays import Array

HELD_OUT = 5
"""One fleet in so many is kept back, to tell how a student does where it was not trained."""
STEPS_SHARE = 0.25
"""Part of the loss that is about steps: which boxes to ask matters more."""
UNSAID = 0.05
"""The same where the teacher said nothing about steps."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One question, what each of LABELS should get, and how often the teacher met it."""

    prefix: str
    question: str
    target: tuple[float, ...]
    count: int = 1


def held_back(decision: Decision) -> bool:
    """Whether a decision is of a fleet that is kept back: by its name alone."""
    return hashlib.sha256(decision.fleet.encode()).digest()[0] % HELD_OUT == 0


def lessons_of(decisions: Iterable[Decision], gauge: Weights | None = None) -> list[Lesson]:
    """A lesson for each different question, its target the mean of what the teacher said to it."""
    met: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for decision in with_edges(decisions):
        prefix = prefix_of(decision.objective)
        for client in decision.clients:
            met.setdefault((prefix, asked(client, decision, gauge)), []).append(target_of(client))
        if decision.stop is not None and decision.progress:
            target = joined(decision.stop, 1.0) + (0.0,) * (len(LABELS) - len(JOIN))
            met.setdefault((prefix, stop_question(decision.progress)), []).append(target)
    return [
        Lesson(prefix, question, tuple(np.mean(targets, axis=0).tolist()), len(targets))
        for (prefix, question), targets in met.items()
    ]


def asked(client: Client, decision: Decision, gauge: Weights | None = None) -> str:
    """The question about one box of a decision."""
    assert decision.edges is not None
    told = client.features, decision.edges, client.note, client.journal
    return question_of(*told, gauge=gauge)


def wanted(client: Client) -> float:
    """How good it is to ask this box now: the mean of the teacher's choice and of its worth alone.

    A choice depends on the others of its round, of whom a question tells nothing, and on what a
    box's rows would teach, which nobody can see; its worth does not, so the mean holds less chance.
    """
    return client.join if client.worth is None else (client.join + client.worth) / 2


def joined(chance: float, share: float) -> tuple[float, ...]:
    """Targets of the two labels of JOIN."""
    return (share * (1 - chance), share * chance)


def target_of(client: Client) -> tuple[float, ...]:
    """What each label should get; the task's own steps where the teacher named none."""
    classes = len(LABELS) - len(JOIN)
    steps, share = client.steps, STEPS_SHARE
    if len(steps) != classes or sum(steps) <= 0:
        steps, share = tuple(float(part == 1) for part in SHARES), UNSAID
    whole = sum(steps)
    return joined(wanted(client), 1 - share) + tuple(share * s / whole for s in steps)


def with_edges(decisions: Iterable[Decision]) -> Iterator[Decision]:
    """Decisions that all say what the words of their job mean.

    Where a teacher left that out, they mean what fits all that its fleet reported.
    """
    fleets: dict[str, list[Decision]] = {}
    for decision in decisions:
        fleets.setdefault(decision.fleet, []).append(decision)
    for group in fleets.values():
        clients = [client for decision in group for client in decision.clients]
        usual = edges_of([c.features for c in clients], [c.journal for c in clients])
        for decision in group:
            told = decision.edges
            yield replace(decision, edges=told if told and told.routine else usual)


def targets(lessons: Sequence[Lesson]) -> Array:
    """(lessons, labels), each row weighted by the root of how often it was met, 1 on average."""
    weights = np.sqrt([lesson.count for lesson in lessons])
    rows = np.array([lesson.target for lesson in lessons]) * (weights / weights.mean())[:, None]
    found: Array = rows.astype(np.float32)
    return found
