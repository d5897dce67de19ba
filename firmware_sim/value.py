"""What it is worth to ask a set of clients: progress for its priced cost, in one future.

    value = ln(gain + 1) - ln(sum of price * cost / usual cost)

Gain is how far the set's updates lower the loss, in what all updates together do, 0 to 2; a round
costs the time of its slowest client (all of the deadline if one never delivers), everybody's energy
and metered bytes, and unfairness, how often its clients were asked compared with all others.
Ratios, so that a policy that maximises them spends least until a target: a round twice as long must
teach twice as much.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from firmware_sim.foresight import Prospect
from firmware_sim.gains import Updates
from firmware_sim.prices import Prices

OVERHEAD_S = 5.0
"""Of any round: offers, folding."""
SOFT = 0.1
"""Difference of values that is taken for about nothing."""
PATIENT = 1.0
"""A round that lowers no loss still counts that much: the loss one round ahead is not all, and
where it hardly moves at first it says little."""
MOST = 2.0
FLOOR = 0.01
"""Of what counts, so that a round nobody delivers in is not infinitely bad."""


class Usual(NamedTuple):
    """What a round of ordinary clients costs and gains; costs are told in it."""

    seconds: float
    joules: float
    paid_bytes: float
    gain: float


class Future(NamedTuple):
    """One way things may go."""

    prospects: Mapping[str, Prospect]
    asked: Mapping[str, float]
    """How often each was asked before, over the mean; 1 is as often as all."""
    updates: Mapping[str, str]
    """Whose update each would send: its own, or another's where nobody could know its data."""


class Values:
    """Of sets of clients in one future."""

    def __init__(self, future: Future, updates: Updates, prices: Prices, usual: Usual) -> None:
        self._future, self._updates, self._prices, self._usual = future, updates, prices, usual

    def of(self, chosen: Sequence[str]) -> float:
        """One set's."""
        prospects = [self._future.prospects[box] for box in chosen]
        whose = self._future.updates
        came = [whose[b] for b, p in zip(chosen, prospects, strict=True) if p.delivered]
        gain = self._updates.gain(frozenset(came)) / self._usual.gain
        counts = (PATIENT + min(MOST, max(0.0, gain))) * len(came) / len(chosen)
        return math.log(counts + FLOOR) - math.log(self._cost(chosen, prospects))

    def _cost(self, chosen: Sequence[str], prospects: Sequence[Prospect]) -> float:
        usual, prices, each = self._usual, self._prices, len(chosen)
        seconds = OVERHEAD_S + max(p.seconds for p in prospects)
        cost = prices.time * seconds / usual.seconds
        cost += prices.energy * sum(p.joules for p in prospects) / each / usual.joules
        cost += prices.bytes * sum(p.paid_bytes for p in prospects) / each / usual.paid_bytes
        cost += prices.fairness * sum(self._future.asked[box] for box in chosen) / each
        return cost + 1e-3

    def best(self, boxes: Sequence[str], size: int, forced: frozenset[str]) -> list[str]:
        """Greedily, one client after the other; those that are forced come first."""
        chosen, left = sorted(forced)[:size], [box for box in boxes if box not in forced]
        while left and len(chosen) < size:
            top = max(left, key=lambda box: (self.of([*chosen, box]), box))
            chosen.append(top)
            left.remove(top)
        return chosen

    def joins(self, boxes: Sequence[str], chosen: Sequence[str]) -> dict[str, float]:
        """How much better the best set is for having each client in it, as a chance.

        Half where it does not matter: logistic in the difference between the best set with the
        client and the best one without it, one client exchanged for another.
        """
        outside = [box for box in boxes if box not in chosen]
        if not outside:
            return dict.fromkeys(boxes, 1.0)
        own = self.of(chosen)
        weakest = max(chosen, key=lambda box: self.of([b for b in chosen if b != box] or [box]))
        kept = [box for box in chosen if box != weakest]
        with_ = {box: self.of([*kept, box]) for box in outside}
        spare = max(with_, key=lambda box: (with_[box], box))
        found = {box: _soft(with_[box] - own) for box in outside}
        for box in chosen:
            without = self.of([*(b for b in chosen if b != box), spare])
            found[box] = _soft(own - without)
        return found


def worth(prospect: Prospect, prices: Prices, usual: Usual) -> float:
    """One client by itself, 0 to 1: a half for an ordinary one, nothing for one that fails.

    Its data are left out: what they are good for shows only beside others' data.
    """
    if not prospect.delivered:
        return 0.0
    cost = prices.time * (OVERHEAD_S + prospect.seconds) / usual.seconds
    cost += prices.energy * prospect.joules / usual.joules
    cost += prices.bytes * prospect.paid_bytes / usual.paid_bytes
    return 1 / (1 + cost + prices.fairness)


def _soft(difference: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, difference / SOFT))))
