"""What it is worth to ask a set of clients: progress for its priced cost, in one future.

    value = ln((gain + steps) * (delivered / cohort)^(1/4)) - ln(sum of price * cost / usual cost)

Gain is how far the set's updates lower the loss, in what all updates together do at the task's own
steps, 0 to 2 for each share of them that was done; fewer updates are a noisier mean, and below the
quorum they are nothing. A round costs the time of its slowest client (all of the deadline if one
never delivers), energy and metered bytes of all in those of a usual cohort, and unfairness: how
often its clients were asked compared with all others. Ratios, so that a policy that maximises them
spends least until a target: a round twice as long must teach twice as much.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from coordinator.selection.advice import SHARES
from firmware_sim.foresight import Prospect
from firmware_sim.gains import Updates
from firmware_sim.prices import Prices

OVERHEAD_S = 5.0
"""Of any round: offers, folding."""
SOFT = 0.1
"""Difference of values that is taken for about nothing."""
PATIENT = 1.0
"""A round that lowers no loss still counts that much, in shares of the task's own steps: the loss
one round ahead is not all, and where it hardly moves at first it says little."""
STEADY = 0.4
"""What other steps than the task's own have to bring more: one round ahead is not far."""
MOST = 2.0
FEWER = 0.25
"""Exponent on the share of a cohort that delivers. A half would be the noise of a mean's; well
chosen updates are fewer without being as much worse."""
FLOOR = 0.01
"""Of what counts, so that a round nobody delivers in is not infinitely bad."""


class Usual(NamedTuple):
    """What a round of ordinary clients costs and gains; costs are told in it."""

    seconds: float
    joules: float
    paid_bytes: float
    gain: float


Asked = tuple[str, int]
"""A box with a class of steps, a place in SHARES."""
CLASSES = range(len(SHARES))
OWN = SHARES.index(1.0)
"""The class of the task's own steps."""


class Future(NamedTuple):
    """One way things may go."""

    prospects: Mapping[Asked, Prospect]
    asked: Mapping[str, float]
    """How often each was asked before, over the mean; 1 is as often as all."""
    updates: Mapping[str, str]
    """Whose update each would send: its own, or another's where nobody could know its data."""
    shares: Sequence[float] = SHARES
    """What each class comes to, in parts of the task's own steps."""
    cohort: int = 1
    quorum: int = 1


class Values:
    """Of sets of clients in one future."""

    def __init__(self, future: Future, updates: Updates, prices: Prices, usual: Usual) -> None:
        self._future, self._updates, self._prices, self._usual = future, updates, prices, usual

    def of(self, chosen: Sequence[Asked]) -> float:
        """One set's."""
        prospects = [self._future.prospects[each] for each in chosen]
        whose = self._future.updates
        came = [
            (whose[box], place)
            for (box, place), p in zip(chosen, prospects, strict=True)
            if p.delivered
        ]
        if len(came) < min(self._future.quorum, len(chosen)):
            counts = 0.0
        else:
            gain = self._updates.gain(frozenset(came)) / self._usual.gain
            done = sum(self._future.shares[place] for _, place in came) / len(came)
            counts = done * PATIENT + min(done * MOST, max(0.0, gain))
            counts *= (len(came) / self._future.cohort) ** FEWER
        odd = sum(place != OWN for _, place in chosen) / len(chosen)
        return math.log(counts + FLOOR) - math.log(self._cost(chosen, prospects)) - STEADY * odd

    def _cost(self, chosen: Sequence[Asked], prospects: Sequence[Prospect]) -> float:
        shares = [self._future.asked[box] for box, _ in chosen]
        return cost_of(prospects, shares, self._prices, self._usual, self._future.cohort)

    def best(self, boxes: Sequence[str], least: int, forced: frozenset[str]) -> list[Asked]:
        """From `least` clients to a cohort, greedily, those that are forced first; and steps."""
        most = self._future.cohort
        chosen = [(box, OWN) for box in sorted(forced)[:most]]
        left = [(box, OWN) for box in boxes if box not in forced]
        while left and len(chosen) < least:
            self._join(chosen, left)
        found = [self._paced(chosen)]
        while left and len(chosen) < most:
            self._join(chosen, left)
            found.append(self._paced(chosen))
        return max(found, key=self.of)

    def _join(self, chosen: list[Asked], left: list[Asked]) -> None:
        top = max(left, key=lambda each: (self.of([*chosen, each]), each))
        chosen.append(top)
        left.remove(top)

    def _paced(self, chosen: Sequence[Asked]) -> list[Asked]:
        """With the best steps: the same class for all first, then each one's own."""
        same = [[(box, place) for box, _ in chosen] for place in CLASSES]
        found = max(same, key=self.of)
        for at in range(len(found)):
            found = max(_classes(found, at), key=self.of)
        return found

    def joins(self, boxes: Sequence[str], chosen: Sequence[Asked]) -> dict[str, "Join"]:
        """How much better the best set is for having each client in it, as a chance.

        Half where it does not matter: logistic in the difference between the best set with the
        client and the best one without it, one client exchanged for another.
        """
        own, asked = self.of(chosen), {box for box, _ in chosen}
        at_own = [self._by_class(_classes(chosen, at)) for at in range(len(chosen))]
        steps = {box: _shares(values) for (box, _), values in zip(chosen, at_own, strict=True)}
        outside = [box for box in boxes if box not in asked]
        if not outside:
            return {box: Join(1.0, steps[box]) for box in boxes}
        weakest = max(chosen, key=lambda one: self.of(_without(chosen, one) or [one]))
        kept = _without(chosen, weakest)
        others = {box: self._by_class(_classes([(box, OWN), *kept], 0)) for box in outside}
        best = {box: max(values) for box, values in others.items()}
        spare = max(outside, key=lambda box: (best[box], box))
        place = others[spare].index(best[spare])
        found = {box: Join(_soft(best[box] - own), _shares(others[box])) for box in outside}
        for one in chosen:
            without = self.of([*_without(chosen, one), (spare, place)])
            found[one[0]] = Join(_soft(own - without), steps[one[0]])
        return found

    def _by_class(self, sets: Sequence[Sequence[Asked]]) -> list[float]:
        return [self.of(chosen) for chosen in sets]


def cost_of(
    prospects: Sequence[Prospect],
    shares: Sequence[float],
    prices: Prices,
    usual: Usual,
    cohort: int,
) -> float:
    """Of one round, 1 being usual; `shares` is how often its clients were asked, over the mean."""
    cost = prices.time * (OVERHEAD_S + max(p.seconds for p in prospects)) / usual.seconds
    cost += prices.energy * sum(p.joules for p in prospects) / cohort / usual.joules
    cost += prices.bytes * sum(p.paid_bytes for p in prospects) / cohort / usual.paid_bytes
    return cost + prices.fairness * sum(shares) / len(shares) + 1e-3


class Join(NamedTuple):
    """Of one client in one future: how good it is to ask it, and how often each class is best."""

    chance: float
    steps: tuple[float, ...]


def _classes(chosen: Sequence[Asked], at: int) -> list[list[Asked]]:
    """The same set with each class for one of its boxes."""
    box = chosen[at][0]
    return [[*chosen[:at], (box, place), *chosen[at + 1 :]] for place in CLASSES]


def _without(chosen: Sequence[Asked], one: Asked) -> list[Asked]:
    return [other for other in chosen if other != one]


def _shares(values: Sequence[float]) -> tuple[float, ...]:
    """Chances by value: a difference of SOFT is worth a factor e."""
    weights = [math.exp((value - max(values)) / SOFT) for value in values]
    return tuple(weight / sum(weights) for weight in weights)


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
