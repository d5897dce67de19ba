"""Scorers by power and presence: EAFL and REFL."""

from collections.abc import Sequence

from coordinator.selection.candidates import Candidate
from coordinator.selection.lots import lot
from coordinator.selection.request import Request
from coordinator.selection.utility import utilities

FULL = 100
DRAIN = 25.0
"""Per cent of its battery a box is taken to use in an hour of training."""


def remaining(candidate: Candidate, seconds: float) -> float:
    """The share of its battery a box should have left after so long; 1 on mains."""
    board = candidate.resources
    if board.battery is None or board.charging:
        return 1.0
    return max(0.0, board.battery - DRAIN * seconds / 3600) / FULL


def by_power(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`eafl`: Oort's utility against what the battery will have left.

    Arouj and Abdelmoniem 2022, "Towards energy-aware federated learning on battery-powered clients"
    (arXiv 2208.04505): f * utility + (1 - f) * power, f = 0.25. Power is the battery less
    the expected use, at DRAIN for the box's last time; the paper has use from a table of phones.
    A box whose utility is not known counts as one of the highest.
    """
    known, f = utilities(candidates, request), request.constants.eafl.utility
    top = max(known.values(), default=0.0) or 1.0

    def score(c: Candidate) -> float:
        power = remaining(c, c.past.seconds or request.deadline)
        draw = lot(request.seed, request.turn, c.box)
        return f * known.get(c.box, top) / top + (1 - f) * power + 1e-6 * draw

    return {c.box: score(c) for c in candidates}


def by_absence(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`refl`: those first that may not be there later.

    Abdelmoniem et al. 2023, "REFL: resource-efficient federated learning" (EuroSys), intelligent
    participant selection: the boxes least likely to be available in the coming window. The paper
    has a forecast of given accuracy from weeks of traces; here it is how often a box delivered when
    asked, times what `refl.window` rounds would leave of its battery. Its weighting of late updates
    is no part of a choice: late updates are not counted here.
    """
    ahead = request.constants.refl.window * request.deadline

    def score(c: Candidate) -> float:
        past = c.past
        kept = (past.delivered + 1) / (past.asked + 1)
        draw = lot(request.seed, request.turn, c.box)
        return 1.0 - kept * remaining(c, ahead) + 1e-6 * draw

    return {c.box: score(c) for c in candidates}
