"""The plan of a round, one way for every scorer. Pure, so any plan can be made again.

    feasible -> covered -> within the budget -> scored -> steps

A scorer only orders the boxes that are left by then: whatever it answers, and whatever it was told
by a box, it cannot have a box asked that should not train now, leave one out for ever or spend more
than the owner allows. When to stop is judged after each round: `selection/stopping.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from coordinator.selection.advice import Part
from coordinator.selection.candidates import Candidate, infeasible, waited
from coordinator.selection.forecast import Forecast, forecast, together
from coordinator.selection.request import Budget, Request
from coordinator.selection.scorers import CHANCES, SCORERS, by_staleness
from coordinator.selection.steps import steps_of

COVERAGE = 2.5
"""Scorers choose among the stalest COVERAGE x cohort boxes ..."""
OVERDUE = 4.0
"""... and a box that has waited OVERDUE times as long as if all took turns is asked before them:
without it a scorer could leave some of the stalest out for ever."""
MAX_SCORE = 1e9
"""A score beyond it is no answer."""

_box = attrgetter("box")


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is asked, the score of each box that was considered, and why others were not."""

    cohort: tuple[str, ...]
    scores: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    """Of each box that shall not do the task's own steps."""
    fewer: bool = False
    """Whether fewer than the cohort are asked because the others' scores are too low."""
    hand_rule: tuple[str, ...] = ()
    """Whom the hand rule would have asked, where that differs."""
    fallback: str = ""
    """Why the hand rule decided in place of the scorer."""
    forecast: Forecast = Forecast()  # noqa: RUF009 - frozen, so one default serves all
    prefix: str = ""
    """What a model was asked, if one was: what all questions begin with ..."""
    questions: dict[str, str] = field(default_factory=dict)
    """... and each box's own."""
    prices: dict[str, float] = field(default_factory=dict)
    """What the objective counts, as a model read it."""
    parts: dict[str, Part] = field(default_factory=dict)
    """What made each score, where that was numbers, aim and words."""


@dataclass(frozen=True, slots=True)
class Field:
    """Whom a scorer may choose among, how many of them, and why others are out."""

    covered: tuple[Candidate, ...]
    size: int
    refused: dict[str, str]
    overdue: frozenset[str]
    """Those that are asked whatever their score, where not all are asked anyway."""


def field_of(candidates: Sequence[Candidate], request: Request) -> Field:
    """Feasible boxes with budget left, the stalest of them, in id order."""
    refused, fit, asks = {}, [], request.budget.asks
    for c in candidates:
        if why := infeasible(c) or (asks and overdrawn(c, request.budget)):
            refused[c.box] = why
        else:
            fit.append(c)
    fit.sort(key=_box)
    size = affordable(request.size or len(fit), request)
    if len(fit) <= size and request.scorer not in CHANCES:
        return Field(tuple(fit), size, refused, frozenset())
    served = request.served or size
    reach = max(size, math.ceil(COVERAGE * served))
    covered = fit
    if len(fit) > reach:
        stale = by_staleness(fit, request)
        covered = sorted(sorted(fit, key=lambda c: -stale[c.box])[:reach], key=_box)
    late = overdue(covered, (len(fit) + request.busy) / served if served else 0.0, request)
    return Field(tuple(covered), size, refused, late)


def overdue(covered: Sequence[Candidate], cycle: float, request: Request) -> frozenset[str]:
    """Who has waited too long, where all could be asked once in `cycle` rounds."""
    # Turns count the rounds of all jobs; this job has had only so many.
    most = float(request.pace.round or request.turn)
    return frozenset(c.box for c in covered if min(waited(c, request.turn), most) > OVERDUE * cycle)


def overdrawn(candidate: Candidate, budget: Budget) -> str:
    """Why this box has done its share of the job, or nothing."""
    asked = candidate.past.asked
    return f"asked {asked} times, its share of this job" if 0 < budget.asks <= asked else ""


def affordable(size: int, request: Request) -> int:
    """How many boxes of `size` a round's budget of bytes pays for."""
    if not request.budget.bytes or not request.bytes_each:
        return size
    return min(size, request.budget.bytes // request.bytes_each)


def least(size: int, request: Request) -> int:
    """How many of a cohort of `size` are asked in any case."""
    return min(size, max(1, request.quorum + request.constants.spare))


def worth_asking(found: Field, scores: Mapping[str, float], request: Request) -> int:
    """How many are asked: those whose chance is high enough, within bounds."""
    bound = request.constants.least_score
    if request.scorer not in CHANCES or not bound:
        return found.size
    good = sum(scores[c.box] >= bound or c.box in found.overdue for c in found.covered)
    return min(found.size, max(least(found.size, request), good))


def plan(candidates: Sequence[Candidate], request: Request) -> Plan:
    """Of the boxes a scorer may choose among, the best-scored, in id order."""
    found = field_of(candidates, request)
    scores, fallback = scored(found.covered, request)
    size = found.size if fallback else worth_asking(found, scores, request)
    orders = scores if fallback else _levelled(found.covered, scores, request)
    best = _best(replace(found, size=size), orders)
    # Where all are asked there is no choice that the hand rule could make differently.
    all_in = found.size >= len(found.covered)
    usual = best if all_in else _best(found, by_staleness(found.covered, request))
    steps = steps_of(best, request)
    cohort = tuple(map(_box, best))
    return Plan(
        cohort=cohort,
        scores=scores,
        refused=found.refused,
        steps=steps,
        fewer=size < min(found.size, len(found.covered)),
        hand_rule=tuple(map(_box, usual)) if usual != best else (),
        fallback=fallback,
        forecast=forecast(best, steps, request),
        prefix=request.advice.prefix if request.advice else "",
        questions=request.advice.questions if request.advice else {},
        prices=request.advice.prices if request.advice else {},
        parts=request.advice.parts if request.advice else {},
    )


def both(first: Plan, more: Plan) -> Plan:
    """Two plans of one turn as one: each box's figures are those of when it was last considered."""
    usual = {*(first.hand_rule or first.cohort), *(more.hand_rule or more.cohort)}
    cohort = tuple(sorted({*first.cohort, *more.cohort}))
    return Plan(
        cohort=cohort,
        scores={**first.scores, **more.scores},
        refused=more.refused,
        steps={**first.steps, **more.steps},
        fewer=more.fewer,
        hand_rule=tuple(sorted(usual)) if usual != set(cohort) else (),
        fallback=more.fallback or first.fallback,
        forecast=together(first.forecast, more.forecast),
        prefix=more.prefix or first.prefix,
        questions={**first.questions, **more.questions},
        prices=more.prices or first.prices,
        parts={**first.parts, **more.parts},
    )


def scored(covered: Sequence[Candidate], request: Request) -> tuple[dict[str, float], str]:
    """A score for each box, and why they are the hand rule's where the scorer gave no good ones.

    Those of a model's advice, new or recorded, count as the scorer's.
    """
    advice = request.advice
    told: Mapping[str, float] | None = advice.scores if advice else None
    if advice is None:
        scorer = SCORERS.get(request.scorer)
        told = scorer(covered, request) if scorer else None
    why = (advice.remark if advice else "") or _objection(covered, told)
    if told is None or why:
        return by_staleness(covered, request), why
    return {c.box: float(told[c.box]) for c in covered}, ""


def _objection(covered: Sequence[Candidate], told: Mapping[str, float] | None) -> str:
    """Why these scores cannot be used, or nothing."""
    if told is None:
        return "no scores came"
    missing = set(map(_box, covered)) - told.keys()
    if missing:
        return f"{len(missing)} of {len(covered)} boxes were given no score"
    # NaN is in no order: it must never reach a sort.
    bad = [c.box for c in covered if not -MAX_SCORE <= told[c.box] <= MAX_SCORE]
    return f"the score of {bad[0]} is {told[bad[0]]}" if bad else ""


def _levelled(
    covered: Sequence[Candidate], scores: Mapping[str, float], request: Request
) -> Mapping[str, float]:
    """Chances in steps of `alike`, and within a step those higher that have waited longer.

    Small differences between boxes are noise: for it the same ones would be asked every round.
    """
    alike = request.constants.alike
    if request.scorer not in CHANCES or not alike:
        return scores
    stale = by_staleness(covered, request)
    order = sorted(covered, key=lambda c: (round(scores[c.box] / alike), stale[c.box]))
    return {c.box: float(place) for place, c in enumerate(order)}


def _best(found: Field, scores: Mapping[str, float]) -> Sequence[Candidate]:
    """The first of a field, in id order."""
    if found.size >= len(found.covered):
        return found.covered
    best = sorted(found.covered, key=lambda c: (c.box not in found.overdue, -scores[c.box], c.box))
    return sorted(best[: found.size], key=_box)
