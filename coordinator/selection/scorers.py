"""Scorers: a number for each candidate, higher first. All share one shape, so any can be swapped.

A scorer is pure: the same candidates and request give the same scores, and recorded scores replay
a decision exactly. What a method does beside choosing (its aggregation, its own stopping) is not
here, and every method chooses among the same feasible and stalest boxes: `coordinator/selection/
plan.py` sees to that for all.
"""

from collections.abc import Callable, Sequence

from coordinator.selection import energy, speed, utility
from coordinator.selection.candidates import Candidate, waited
from coordinator.selection.linear import by_linear
from coordinator.selection.lots import lot, lots
from coordinator.selection.request import Request
from coordinator.selection.trees import by_trees

Scorer = Callable[[Sequence[Candidate], Request], dict[str, float]]
"""(candidates, request) -> score by box."""


def by_lot(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`random`: every box is as likely as any other."""
    return lots(request.seed, request.turn, [c.box for c in candidates])


def by_staleness(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`stalest`, the hand rule: who has waited longest; lots decide between equals."""
    draws, turn = by_lot(candidates, request), request.turn
    return {c.box: waited(c, turn) + draws[c.box] for c in candidates}


def by_closeness(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`paper`: whose loss is nearest the fleet's (LLM-QFL, arXiv 2505.18656); unknown ones first.

    The paper takes the distances after everybody has trained. These are from the boxes' last
    turns, so that who is not chosen does no work.
    """
    return {
        c.box: 1.0 + lot(request.seed, request.turn, c.box)
        if c.last is None
        else -abs(c.last.loss - c.last.fleet_loss)
        for c in candidates
    }


SCORERS: dict[str, Scorer] = {
    "random": by_lot,
    "stalest": by_staleness,
    "paper": by_closeness,
    "fedcs": speed.by_added_time,
    "tifl": speed.by_tier,
    "power-of-choice": utility.by_loss,
    "oort": utility.by_utility,
    "eafl": energy.by_power,
    "refl": energy.by_absence,
    "linear": by_linear,
    "gbm": by_trees,
}
AGENT = "agent"
"""Scored by a language model, outside: its advice comes with the request."""
POLICIES = (*SCORERS, AGENT)
LEARNED = ("linear", "gbm")
"""Those that need a file of weights."""
CHANCES = frozenset({*LEARNED, AGENT})
"""Those whose scores are chances, the higher the surer that asking is worth its cost."""
STANDING = frozenset({"paper", *LEARNED, AGENT})
"""Scorers that read how boxes did last against the fleet."""
