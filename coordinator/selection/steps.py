"""How many steps each chosen box is given: the task's own, by a teacher, or by its pace."""

import math
from collections.abc import Sequence

from coordinator.selection.advice import SHARES
from coordinator.selection.candidates import Candidate
from coordinator.selection.forecast import seconds_of
from coordinator.selection.regulators import RULES, Regulation, regulate
from coordinator.selection.request import Pace, Request

PACED = ("slack", "compass")
"""Rules for boxes that wait for each other."""
STEP_RULES = (*RULES, *PACED, "agent")


def steps_of(chosen: Sequence[Candidate], request: Request) -> dict[str, int]:
    """By box, where they are not the task's own. Boxes whose pace is unknown do those."""
    pace = request.pace
    match pace.regulation.rule:
        case "fixed":
            return {}
        case _ if not pace.steps:
            given = {}
        case "slack":
            given = fill_slack(_known(chosen), pace)
        case "compass":
            given = meet(_known(chosen), pace.regulation)
        case "agent":
            classes = request.advice.steps if request.advice else {}
            given = {c.box: advised(classes[c.box], pace) for c in chosen if c.box in classes}
        case _:
            given = {c.box: paced(c, pace) for c in chosen}
    return {box: steps for box, steps in given.items() if steps != pace.steps}


def advised(place: int, pace: Pace) -> int:
    """The steps of a class that a model named, within the task's bounds; else the task's own."""
    if not 0 <= place < len(SHARES):
        return pace.steps
    asked = math.floor(pace.steps * SHARES[place] + 0.5)
    return min(pace.regulation.most, max(pace.regulation.least, asked))


def paced(candidate: Candidate, pace: Pace) -> int:
    """The steps of one box: its last ones, regulated by how its model stood to its teacher."""
    last, regulation = candidate.last, pace.regulation
    if pace.round < regulation.first_round or last is None:
        return pace.steps
    # What a box says it did is its word: never outside what any box may be given.
    before = min(max(last.steps or pace.steps, regulation.least), max(regulation.most, pace.steps))
    if last.teacher_loss is None:
        return before
    return regulate(regulation, before, last.loss, last.teacher_loss)


def fill_slack(paces: dict[str, float], pace: Pace) -> dict[str, int]:
    """`slack`: a box that would wait for the slowest works on meanwhile.

    Li et al. 2022, "PyramidFL: a fine-grained client selection framework for efficient federated
    learning" (MobiCom): x = 1 + floor((T - t) / (time of one)), bounded; T is when the slowest of
    the cohort is done with the task's own steps. `steps.most` bounds what is added.
    """
    slowest = max(paces.values(), default=0.0) * pace.steps
    most = max(pace.steps, pace.regulation.most)
    return {
        box: min(most, pace.steps + math.floor((slowest - each * pace.steps) / each + 1e-9))
        for box, each in paces.items()
    }


def meet(paces: dict[str, float], regulation: Regulation) -> dict[str, int]:
    """`compass`: so many steps each that all arrive together.

    Li et al. 2024, "FedCompass: efficient cross-silo federated learning on heterogeneous client
    devices using a computing power-aware scheduler" (ICLR, arXiv 2309.14675): the fastest gets
    `steps.most`, the others as many as fit into its time, at least `steps.least`. The paper's
    groups, which arrive at several times, are one here: a round waits for all it asked.
    """
    if not paces:
        return {}
    until = min(paces.values()) * regulation.most
    return {
        box: min(regulation.most, max(regulation.least, math.floor(until / each + 1e-9)))
        for box, each in paces.items()
    }


def _known(chosen: Sequence[Candidate]) -> dict[str, float]:
    """Seconds of one step, of each box that has done some."""
    times = {c.box: seconds_of(c, 1) for c in chosen if c.past.steps}
    return {box: each for box, each in times.items() if each}
