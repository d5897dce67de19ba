"""What a round's agent is asked, and what its answers come to. No model and no clock in here."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from coordinator.agent.engine import SURE, Answer, prices_of
from coordinator.agent.memory import Key
from coordinator.jobstate import JobState
from coordinator.selection.advice import OWN, Advice, Part
from coordinator.selection.candidates import Candidate
from coordinator.selection.edges import Edges
from coordinator.selection.features import Features, beside, features
from coordinator.selection.fence import MAX_JOURNAL
from coordinator.selection.linear import chance, log_odds
from coordinator.selection.plan import field_of
from coordinator.selection.prompt import COUNTS, OURS, prefix_of, question_of, stop_question
from coordinator.selection.request import Request
from coordinator.selection.stopping import progress_of
from coordinator.selection.weights import Weights
from coordinator.selection.words import edges_of
from proto.messages import Resources

SUFFIX = 64
"""Tokens of a question at most; a box that has more to say is told with fewer of its words."""
CUT = 12
"""Characters of a journal that are left out at a time."""


class Reader(Protocol):
    """What questions are made for."""

    @property
    def judge(self) -> Weights | None: ...

    @property
    def stopper(self) -> Weights | None: ...

    def length(self, question: str) -> int:
        """Its tokens."""


class Asking(NamedTuple):
    """All questions of one round."""

    prefix: str
    """Of the questions about boxes and the job."""
    boxes: dict[str, str]
    """By box; one that says nothing has none where a judge knows its numbers."""
    stop: str
    """Empty where the job does not ask."""
    edges: Edges
    aim: Key | None = None
    """What is asked of the objective alone, for a judge."""
    told: Mapping[str, Features] = {}
    """Of all boxes, beside the others."""
    judge: Weights | None = None
    ends: float | None = None
    """The chance that the job has learned enough, where nobody need be asked for it."""

    @property
    def keys(self) -> list[Key]:
        stop = [self.stop] if self.stop else []
        aim = [self.aim] if self.aim else []
        return [*aim, *((self.prefix, question) for question in (*stop, *self.boxes.values()))]


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
    told = [features(c, request) for c in covered]
    asked = {
        c.box: question
        for c, values in zip(covered, told, strict=True)
        if (question := _question(c.resources, values, edges, reader))
    }
    ends = request.constants.agent.stop > 0 and state.losses
    stands, stopper = progress_of(state), reader.stopper
    enough = chance(log_odds(stopper, stopper.join, stands)) if ends and stopper else None
    stop = stop_question(stands) if ends and enough is None else ""
    aim = prefix_of(state.rules.objective)
    if reader.judge is None:
        return Asking(aim, asked, stop, edges, ends=enough)
    others = {c.box: values for c, values in zip(covered, beside(told), strict=True)}
    counts = (aim, COUNTS) if reader.judge.aims else None
    return Asking(OURS, asked, stop, edges, counts, others, reader.judge, enough)


def _question(board: Resources, told: Features, edges: Edges, reader: Reader) -> str:
    values = told if reader.judge is None else None

    def make(room: int) -> str:
        return question_of(values, edges, board.note, board.journal, room=room)

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
    aim = {"the objective": answers[found.aim]} if found.aim else {}
    wrong = [name for name, answer in (*aim.items(), *boxes.items()) if not sound(answer)]
    if wrong:
        return Advice(remark=f"the agent's answer on {wrong[0]} is no chance", edges=found.edges)
    advice = Advice(
        scores={box: answer.join for box, answer in boxes.items()},
        steps={box: answer.steps.index(max(answer.steps)) for box, answer in boxes.items()},
        stop=answers[found.prefix, found.stop].join if found.stop else found.ends,
        edges=found.edges,
        prefix=found.prefix,
        questions=found.boxes,
    )
    if found.judge is None:
        return advice
    prices = prices_of(answers[found.aim]) if found.aim else {}
    parts = {
        box: parts_of(found.judge, values, prices, boxes.get(box))
        for box, values in found.told.items()
    }
    return replace(
        advice,
        scores={box: chance(p.numbers + p.aim + p.words) for box, p in parts.items()},
        steps={
            box: pace_of(found.judge, values, boxes.get(box)) for box, values in found.told.items()
        },
        prices=prices,
        parts=parts,
    )


def parts_of(
    judge: Weights, told: Features, prices: Mapping[str, float], said: Answer | None
) -> Part:
    """What makes a box's score: its numbers, the aim, and its words; the latter 0 without any."""
    numbers = log_odds(judge, judge.join, told)
    aim = log_odds(judge, judge.join, told, prices) - numbers
    return Part(numbers, aim, judge.words * said.odds if said else 0.0)


def pace_of(judge: Weights, told: Features, said: Answer | None) -> int:
    """The likeliest class of steps, by the judge and, of a box that says something, the model."""
    if not judge.steps:
        return OWN if said is None else said.steps.index(max(said.steps))
    odds = [log_odds(judge, head, told) for head in judge.steps]
    if said is not None:
        odds = [a + math.log(max(b, SURE)) for a, b in zip(odds, said.steps, strict=True)]
    return odds.index(max(odds))


def sound(answer: Answer) -> bool:
    """Whether all of it are chances. NaN is none."""
    chances = (answer.join, *answer.steps, *answer.aims)
    return bool(answer.steps) and all(math.isfinite(x) and 0 <= x <= 1 for x in chances)
