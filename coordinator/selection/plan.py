"""The plan of a round: feasibility, coverage, scores. Pure, so any plan can be replayed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from coordinator.selection.candidates import Candidate, infeasible
from coordinator.selection.regulators import Regulation, regulate
from coordinator.selection.scorers import SCORERS, by_staleness

COVERAGE = 2.5
"""Scorers choose among the stalest COVERAGE x cohort boxes, so that no box is left out for ever."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is asked, the score of each box that was considered, and why others were not."""

    cohort: tuple[str, ...]
    scores: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    """Of each box that shall not do the task's own steps."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The task's own steps, and what may change them in this round; 0 steps: nothing may."""

    steps: int = 0
    round: int = 0
    regulation: Regulation = Regulation()  # noqa: RUF009 - frozen, so one default serves all


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be planned: a scorer's name, cohort size (0: everyone), seed and turn."""

    scorer: str
    size: int
    seed: int
    turn: int
    pace: Pace = Pace()


def plan(candidates: Sequence[Candidate], request: Request) -> Plan:
    """Feasible boxes, the stalest of them, the best-scored of those, in id order."""
    refused = {c.box: why for c in candidates if (why := infeasible(c))}
    fit = sorted((c for c in candidates if c.box not in refused), key=lambda c: c.box)
    size = request.size or len(fit)
    stale = by_staleness(fit, request.seed, request.turn)
    reach = max(size, math.ceil(COVERAGE * size))
    covered = sorted(fit, key=lambda c: -stale[c.box])[:reach]
    scores = SCORERS[request.scorer](covered, request.seed, request.turn)
    best = sorted(covered, key=lambda c: -scores[c.box])[:size]
    steps = {c.box: own for c in best if (own := paced(c, request.pace)) != request.pace.steps}
    return Plan(tuple(sorted(c.box for c in best)), scores, refused, steps)


def paced(candidate: Candidate, pace: Pace) -> int:
    """The steps of one box: its last ones, regulated by how its model stood to its teacher."""
    last, regulation = candidate.last, pace.regulation
    if regulation.rule == "fixed" or pace.round < regulation.first_round or last is None:
        return pace.steps
    # What a box says it did is its word: never outside what any box may be given.
    before = min(max(last.steps or pace.steps, regulation.least), max(regulation.most, pace.steps))
    if last.teacher_loss is None:
        return before
    return regulate(regulation, before, last.loss, last.teacher_loss)
