"""Scorers by speed: FedCS and TiFL."""

from collections.abc import Sequence
from itertools import pairwise

from coordinator.selection.candidates import Candidate
from coordinator.selection.forecast import seconds_of
from coordinator.selection.lots import lot
from coordinator.selection.request import Request


def by_added_time(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`fedcs`: as many boxes as a round's time allows, each the one that adds least to it.

    Nishio and Yonetani 2019, "Client selection for federated learning with heterogeneous resources
    in mobile edge", algorithm 3. There the boxes send one after another over one base station; here
    each has a link of its own, so what a box adds is how much later than the others it is done,
    and the greedy order is the order of their times. Those that would overrun `fedcs.seconds` come
    last. A box whose time is unknown is asked first: the paper asks all for theirs.
    """
    bound = request.constants.fedcs.seconds or request.deadline / 2 or float("inf")
    scores = {}
    for c in candidates:
        seconds = seconds_of(c, request.pace.steps)
        if seconds is None:
            scores[c.box] = 1.0 + lot(request.seed, request.turn, c.box)
        else:
            scores[c.box] = 1 / (1 + seconds) - (seconds > bound)
    return scores


def by_tier(candidates: Sequence[Candidate], request: Request) -> dict[str, float]:
    """`tifl`: boxes of one tier of speed a round, tiers where the model does worst more often.

    Chai et al. 2020, "TiFL: a tier-based federated learning system", adaptive selection: the chance
    of a tier is (n - rank) / (n (n + 1) / 2), ranked by its accuracy, the lowest first; here by the
    last losses of its boxes, the highest first. The paper's credits, which bound how often a tier
    is drawn, are left to the coverage that bounds every method. A tier with too few boxes is filled
    up from the nearest ones.
    """
    tiers = _tiers(candidates, request)
    ranked = sorted(range(len(tiers)), key=lambda at: (-_mean_loss(tiers[at]), at))
    drawn = _draw(len(tiers), lot(request.seed, request.turn, "tier"))
    chosen = ranked[drawn] if ranked else 0
    return {
        c.box: lot(request.seed, request.turn, c.box) - abs(at - chosen)
        for at, tier in enumerate(tiers)
        for c in tier
    }


def _tiers(candidates: Sequence[Candidate], request: Request) -> list[list[Candidate]]:
    """Equally many boxes each, the fastest first; of unknown speed is like slowest."""

    def time(c: Candidate) -> tuple[float, str]:
        seconds = seconds_of(c, request.pace.steps)
        return (float("inf") if seconds is None else seconds, c.box)

    ordered = sorted(candidates, key=time)
    count = min(request.constants.tifl.tiers, len(ordered))
    cuts = [round(at * len(ordered) / count) for at in range(count + 1)] if count else []
    return [ordered[a:b] for a, b in pairwise(cuts)]


def _mean_loss(tier: Sequence[Candidate]) -> float:
    losses = [c.past.loss for c in tier if c.past.loss is not None]
    return sum(losses) / len(losses) if losses else float("inf")


def _draw(count: int, chance: float) -> int:
    """A rank, the first `count` times as likely as the last."""
    left = chance * count * (count + 1) / 2
    for rank in range(count):
        left -= count - rank
        if left < 0:
            return rank
    return max(0, count - 1)
