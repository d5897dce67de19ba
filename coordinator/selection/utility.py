"""Scorers by what a box may teach: Power-of-Choice and Oort."""

import math
from collections.abc import Sequence

from coordinator.selection.candidates import Candidate
from coordinator.selection.forecast import seconds_of
from coordinator.selection.lots import lot, weighted
from coordinator.selection.request import Request

CLIP = 0.95
EXPLORE_FIRST, EXPLORE_DECAY, EXPLORE_LEAST = 0.9, 0.98, 0.2
CUT = 0.95


def by_loss(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`power-of-choice`: some drawn by how many rows they have, of them the highest losses.

    Cho, Wang and Joshi 2020, arXiv 2010.01243, the variant pi_rpow-d: a box's loss is that of its
    last turn (nothing is sent to ask for a newer one), that of a new box counts as infinite.
    """
    keys = {
        c.box: weighted(lot(request.seed, request.turn, c.box), float(c.rows)) for c in candidates
    }
    size = request.size or len(candidates)
    count = math.ceil(request.constants.power_of_choice.draw * size)
    drawn = set(sorted(keys, key=lambda box: (-keys[box], box))[:count])
    known = [c.past.loss for c in candidates if c.past.loss is not None]
    most = max(known, default=0.0) + 1.0

    def score(c: Candidate) -> float:
        if c.box not in drawn:
            # Below every loss; the larger key first.
            return -1.0 / (1.0 - max(keys[c.box], -1e9)) - 1.0
        return most if c.past.loss is None else max(0.0, c.past.loss)

    return {c.box: score(c) for c in candidates}


def utilities(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """Oort's utility of each box whose loss is known, at most some 1 + sqrt(0.1 ln round).

    Its statistical part is rows * sqrt(mean of squared losses) over a box's samples; boxes report
    only the mean loss, which stands for the root here (equal where all samples' losses are).
    Clipped at the 95th percentile and scaled to 1; plus sqrt(0.1 ln R / last turn) for how long ago
    that was; times (T / t) ** penalty for a box whose t seconds are more than the preferred T. The
    paper's pacer, which moves T, is one fixed percentile here.
    """
    known = [c for c in candidates if c.past.loss is not None]
    raw = {c.box: c.rows * max(0.0, c.past.loss or 0.0) for c in known}
    top = percentile(list(raw.values()), 100 * CLIP) or 1.0
    settings = request.constants.oort
    times = {
        c.box: t for c in known if (t := seconds_of(c, request.pace.steps)) is not None and t > 0
    }
    preferred = percentile(list(times.values()), settings.percentile)
    found = {}
    for c in known:
        value = min(raw[c.box], top) / top
        value += math.sqrt(0.1 * math.log(max(request.turn, 1)) / max(c.past.last_asked, 1))
        if times.get(c.box, 0.0) > preferred:
            value *= (preferred / times[c.box]) ** settings.penalty
        found[c.box] = value
    return found


def by_utility(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`oort`: most of the cohort by utility, some of it boxes not yet known.

    Lai et al. 2021, "Oort: efficient federated learning via guided participant selection" (OSDI),
    algorithm 1: of those with at least 0.95 times the utility that makes the cut, by lots weighted
    with it; and a share of 0.9, decaying by 0.98 a round to 0.2, of unknown boxes. Those are drawn
    by lots: the paper takes the fastest by their hardware, which boards do not report.
    """
    size = request.size or len(candidates)
    known = utilities(candidates, request)
    fresh = [c.box for c in candidates if c.box not in known]
    share = max(EXPLORE_LEAST, EXPLORE_FIRST * EXPLORE_DECAY ** max(0, request.pace.round - 1))
    explore = min(len(fresh), max(size - len(known), round(share * size)))
    draws = {c.box: lot(request.seed, request.turn, c.box) for c in candidates}
    picked = set(sorted(fresh, key=lambda box: (draws[box], box))[:explore])
    ranked = sorted(known.values(), reverse=True)
    exploit = size - explore
    cut = CUT * ranked[min(exploit, len(ranked)) - 1] if ranked and exploit > 0 else math.inf

    def score(box: str) -> float:
        if box in picked:
            return 3.0 + draws[box]
        if box not in known:
            return draws[box] - 1.0
        if known[box] < cut:
            return known[box] / (1.0 + known[box])
        # The weighted lot, brought from (-inf, 0] to (0, 1].
        return 2.0 + 1.0 / (1.0 - weighted(draws[box], known[box]))

    return {c.box: score(c.box) for c in candidates}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many per cent lie, the next one up; 0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, math.ceil(percent / 100 * len(ordered)) - 1))]
