"""What a teacher decided, as questions with the answers they should get."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from coordinator.distill import HELD_OUT, wanted_of
from coordinator.selection.advice import SHARES
from coordinator.selection.examples import Client, Decision
from coordinator.selection.features import beside
from coordinator.selection.linear import chance, log_odds
from coordinator.selection.prompt import (
    AIMS,
    COUNTS,
    JOIN,
    LABELS,
    OURS,
    STEPS,
    prefix_of,
    question_of,
    stop_question,
)
from coordinator.selection.weights import Weights
from coordinator.selection.words import edges_of
from quantization.arrays import Array

STEPS_SHARE = 0.1
"""Part of the loss that is about steps: which boxes to ask matters more."""
UNSAID = 0.05
"""The same where the teacher said nothing about steps."""


FIGURES = re.compile(r"\d+(?:[.,]\d+)*")
FAR = 3.0
"""Nats that words may be taught to add at most."""
PLAIN = 0.5
"""Weight of words that add nothing; others have so much and the nats they add, for they are few."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One question, what each of LABELS should get, and how often the teacher met it."""

    prefix: str
    question: str
    target: tuple[float, ...]
    count: int = 1


class Met(NamedTuple):
    """One time that a teacher met a question."""

    wanted: float
    """How good it was to ask that box ..."""
    judged: float
    """... and by its numbers alone, a half where nobody judges them."""
    steps: tuple[float, ...]


def held_back(decision: Decision) -> bool:
    """Whether a decision is of a fleet that is kept back: by its name alone."""
    return digest_of(decision.fleet)[0] % HELD_OUT == 0


def digest_of(fleet: str) -> bytes:
    """What draws lots among fleets, the same in every file and for every seed."""
    return hashlib.sha256(fleet.encode()).digest()


def lessons_of(decisions: Iterable[Decision], judge: Weights | None = None) -> list[Lesson]:
    """A lesson for each different question, its target the mean of what the teacher said to it.

    Those `alike` are one, asked as it was first met. With a judge of numbers they are about words,
    and say what is to be added to its log-odds.
    """
    asks: dict[tuple[str, str], str] = {}
    met: dict[tuple[str, str], list[Met]] = {}
    stops: dict[tuple[str, str], list[float]] = {}
    for decision in with_edges(decisions):
        prefix = prefix_for(decision, judge)
        for client, judged in zip(decision.clients, judged_by(judge, decision), strict=True):
            if question := asked(client, decision, numbers=judge is None):
                one = Met(wanted_of(client), judged, client.steps)
                first = asks.setdefault((prefix, alike(question)), question)
                met.setdefault((prefix, first), []).append(one)
        if decision.stop is not None and decision.progress:
            question = stop_question(decision.progress)
            stops.setdefault((prefix, question), []).append(decision.stop)
    return [
        *(Lesson(*key, target_of(every), len(every)) for key, every in met.items()),
        *(Lesson(*key, only(JOIN, told(fmean(x))), len(x)) for key, x in stops.items()),
    ]


def alike(question: str) -> str:
    """The same for questions that differ by figures alone, but for noughts: those mean something.

    A fan at "rpm=0" is blocked, whatever it turns at else.
    """
    return FIGURES.sub(lambda figure: "1" if figure.group().strip("0.,") else "0", question)


def aim_lessons(sentences: Iterable[tuple[str, Mapping[str, float]]]) -> list[Lesson]:
    """One for each objective: how its parts are priced."""
    return [
        Lesson(prefix_of(text), COUNTS, only(tuple(AIMS), [prices.get(n, 0.0) for n in AIMS]))
        for text, prices in sentences
    ]


def prefix_for(decision: Decision, judge: Weights | None) -> str:
    """What questions of a decision begin with."""
    return prefix_of(decision.objective) if judge is None else OURS


def judged_by(judge: Weights | None, decision: Decision) -> list[float]:
    """Each box's chance by its numbers and the decision's prices."""
    if judge is None:
        return [0.5 for _ in decision.clients]
    others = beside([client.features for client in decision.clients])
    return [chance(log_odds(judge, judge.join, values, decision.prices)) for values in others]


def asked(client: Client, decision: Decision, *, numbers: bool) -> str:
    """The question about one box of a decision; `numbers` are told where nobody judges them."""
    assert decision.edges is not None
    values = client.features if numbers else None
    return question_of(values, decision.edges, client.note, client.journal)


def told(chance: float) -> list[float]:
    """Of the two labels of JOIN."""
    return [1 - chance, chance]


def only(group: Sequence[str], shares: Sequence[float]) -> tuple[float, ...]:
    """Targets where nothing but one group of labels is answered."""
    first = {JOIN: 0, STEPS: len(JOIN)}.get(tuple(group), len(JOIN) + len(STEPS))
    target = [0.0] * len(LABELS)
    target[first : first + len(shares)] = shares
    return tuple(target)


def target_of(met: Sequence[Met]) -> tuple[float, ...]:
    """What each label should get; the task's own steps where the teacher named none."""
    named = [one.steps for one in met if len(one.steps) == len(STEPS) and sum(one.steps) > 0]
    share = STEPS_SHARE if named else UNSAID
    steps = np.mean(named, axis=0) if named else np.array([part == 1 for part in SHARES], float)
    wanted, judged = fmean(one.wanted for one in met), fmean(one.judged for one in met)
    more = max(-FAR, min(FAR, odds(wanted) - odds(judged)))
    join = [(1 - share) * part for part in told(chance(more))]
    paces = (share * steps / steps.sum()).tolist()
    return (*join, *paces, *(0.0 for _ in AIMS))


def odds(chance: float) -> float:
    """In nats."""
    kept = min(0.999, max(0.001, chance))
    return math.log(kept / (1 - kept))


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
    """(lessons, labels), each row weighted, 1 on average.

    By the root of how often it was met, and by how much its words add.
    """
    weights = np.array([math.sqrt(one.count) * (PLAIN + abs(_added(one))) for one in lessons])
    rows = np.array([lesson.target for lesson in lessons]) * (weights / weights.mean())[:, None]
    found: Array = rows.astype(np.float32)
    return found


def _added(lesson: Lesson) -> float:
    """Nats between the labels of JOIN, as far as words are taught; 0 where JOIN is not asked."""
    no, yes = lesson.target[: len(JOIN)]
    return max(-FAR, min(FAR, odds(yes / (no + yes)))) if no + yes else 0.0
