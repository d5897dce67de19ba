"""What a round's agent is asked, and what its answers come to. No model and no clock in here."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from coordinator.agent.engine import Answer
from coordinator.agent.memory import Key
from coordinator.jobstate import JobState
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.edges import Edges
from coordinator.selection.features import features
from coordinator.selection.fence import MAX_JOURNAL
from coordinator.selection.plan import field_of
from coordinator.selection.prompt import prefix_of, question_of, stop_question
from coordinator.selection.request import Request
from coordinator.selection.stopping import progress_of
from coordinator.selection.weights import Weights
from coordinator.selection.words import edges_of

SUFFIX = 64
"""Tokens of a question at most; a box that has more to say is told with fewer of its words."""
CUT = 12
"""Characters of a journal that are left out at a time."""


class Reader(Protocol):
    """What questions are made for."""

    @property
    def gauge(self) -> Weights | None: ...

    def length(self, question: str) -> int:
        """Its tokens."""


class Asking(NamedTuple):
    """All questions of one round."""

    prefix: str
    boxes: dict[str, str]
    stop: str
    """Empty where the job does not ask."""
    edges: Edges

    @property
    def keys(self) -> list[Key]:
        stop = [self.stop] if self.stop else []
        return [(self.prefix, question) for question in (*stop, *self.boxes.values())]


def asking(
    state: JobState, candidates: Sequence[Candidate], request: Request, reader: Reader
) -> Asking:
    """About the boxes that coverage leaves to choose among, in the words of the job."""
    edges = state.edges
    if edges is None:
        edges = edges_of(
            [features(c, request) for c in candidates], [c.resources.journal for c in candidates]
        )
    covered = field_of(candidates, request).covered
    ends = request.constants.agent.stop > 0 and state.losses
    return Asking(
        prefix_of(state.rules.objective),
        {c.box: _question(c, request, edges, reader) for c in covered},
        stop_question(progress_of(state)) if ends else "",
        edges,
    )


def _question(candidate: Candidate, request: Request, edges: Edges, reader: Reader) -> str:
    told, board = features(candidate, request), candidate.resources

    def make(room: int) -> str:
        return question_of(told, edges, board.note, board.journal, room=room, gauge=reader.gauge)

    return fitting(make, reader.length)


def fitting(make: Callable[[int], str], length: Callable[[str], int]) -> str:
    """A question with as many of the journal's characters as SUFFIX tokens leave room for."""
    room = MAX_JOURNAL
    while length(question := make(room)) > SUFFIX and room > 0:
        room -= CUT
    return question


def advice_of(found: Asking, answers: Mapping[Key, Answer]) -> Advice:
    """What the answers to all questions come to; an answer that is no chance spoils the round."""
    boxes = {box: answers[found.prefix, question] for box, question in found.boxes.items()}
    wrong = [box for box, answer in boxes.items() if not sound(answer)]
    if wrong:
        return Advice(remark=f"the agent's answer on {wrong[0]} is no chance", edges=found.edges)
    stop = answers[found.prefix, found.stop].join if found.stop else None
    return Advice(
        scores={box: answer.join for box, answer in boxes.items()},
        steps={box: answer.steps.index(max(answer.steps)) for box, answer in boxes.items()},
        stop=stop,
        edges=found.edges,
        prefix=found.prefix,
        questions=found.boxes,
    )


def sound(answer: Answer) -> bool:
    """Whether all of it are chances. NaN is none."""
    chances = (answer.join, *answer.steps)
    return bool(answer.steps) and all(math.isfinite(x) and 0 <= x <= 1 for x in chances)
