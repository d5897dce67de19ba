"""Sets of clients judged by some rounds ahead: the set first, then the hand rule goes on.

    value = ln(rounds that counted + gain) - ln(sum of the rounds' priced costs)

as `value` says it of one round. All sets are played in the same future, so that they differ by
themselves and not by luck (common random numbers); every later round's training is really done, on
the model that the rounds before it would have given. Boards are taken to be as warm later as now.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from firmware_sim.chance import uniform
from firmware_sim.foresight import Ask, Prospect
from firmware_sim.gains import Move, Updates, moved_by
from firmware_sim.prices import Prices
from firmware_sim.value import (
    FLOOR,
    MOST,
    OVERHEAD_S,
    OWN,
    PATIENT,
    SOFT,
    Asked,
    Future,
    Join,
    Usual,
    cost_of,
)
from quantization.arrays import Array

AHEAD = 3
"""Rounds, the set's own among them."""
SWAPS, BY_LOTS = 2, 2
"""Sets tried beside the greedy one and the hand rule's: one box exchanged, and any boxes."""
_SET = 74

Train = Callable[[Array, Sequence[str]], Mapping[str, Move]]
"""What these boxes would send for this model, at the task's own steps."""


class Course(NamedTuple):
    """One future, as far as rollouts need it."""

    future: Future
    way: Callable[[str, Ask], Prospect]
    """How asking a box would go in it."""
    asks: Mapping[Asked, Ask]
    """What each is asked now."""
    stalest: Sequence[str]
    """Whom the hand rule asks next, the first first."""

    def later(self, box: str, seconds: float) -> Prospect:
        """The same, so much later, at the task's own steps."""
        ask = self.asks[box, OWN]
        return self.way(box, ask._replace(at=ask.at + seconds))


class Rollouts:
    """Of one round's sets."""

    def __init__(self, updates: Updates, train: Train, prices: Prices, usual: Usual) -> None:
        self._updates, self._train, self._prices, self._usual = updates, train, prices, usual
        self._known: dict[tuple[bytes, str], Move | None] = {}

    def joins(
        self, known: Mapping[str, Join], sets: Sequence[Sequence[Asked]], course: Course
    ) -> dict[str, Join]:
        """Each box's chance, halfway to how much of the good sets it is in.

        A difference of SOFT in value counts a factor e.
        """
        values = [self.value(chosen, course) for chosen in sets]
        weights = [math.exp((value - max(values)) / SOFT) for value in values]
        shares = dict.fromkeys(known, 0.0)
        for chosen, weight in zip(sets, weights, strict=True):
            shares.update({box: shares[box] + weight / sum(weights) for box, _ in chosen})
        return {b: Join((j.chance + shares[b]) / 2, j.steps) for b, j in known.items()}

    def value(self, chosen: Sequence[Asked], course: Course) -> float:
        """Of one set, in one future."""
        future = course.future
        asked = {box for box, _ in chosen}
        left = [box for box in course.stalest if box not in asked]
        model, counted, cost, at = self._updates.start, 0.0, 0.0, 0.0
        group = list(chosen)
        for number in range(AHEAD):
            if not group:
                break
            prospects = [self._prospect(each, course, at, first=not number) for each in group]
            came = [each for each, p in zip(group, prospects, strict=True) if p.delivered]
            if len(came) >= min(future.quorum, len(group)):
                model = self._after(model, came, future, first=not number)
                counted += sum(future.shares[place] for _, place in came) / len(came)
            usual, shares = self._usual, [future.asked[box] for box, _ in group]
            cost += cost_of(prospects, shares, self._prices, usual, future.cohort)
            at += OVERHEAD_S + max(p.seconds for p in prospects)
            group = [(box, OWN) for box in left[: future.cohort]]
            left = left[future.cohort :]
        gain = (self._updates.loss - self._updates.judge(model)) / self._usual.gain
        worth = counted * PATIENT + min(counted * MOST, max(0.0, gain))
        return math.log(worth + FLOOR) - math.log(cost)

    @staticmethod
    def _prospect(each: Asked, course: Course, at: float, *, first: bool) -> Prospect:
        return course.future.prospects[each] if first else course.later(each[0], at)

    def _after(self, model: Array, came: Sequence[Asked], future: Future, *, first: bool) -> Array:
        whose = [(future.updates[box], place) for box, place in came]
        if first:
            return self._updates.after(frozenset(whose))
        boxes = sorted({box for box, _ in whose})
        return moved_by(model, self._moves(model, boxes))

    def _moves(self, model: Array, boxes: Sequence[str]) -> list[Move]:
        """Trained once for each model."""
        key = model.tobytes()
        new = [box for box in boxes if (key, box) not in self._known]
        if new:
            made = self._train(model, new)
            self._known.update({(key, box): made.get(box) for box in new})
        return [move for box in boxes if (move := self._known[key, box]) is not None]


def sets_of(
    greedy: Sequence[Asked], course: Course, forced: frozenset[str], draw: int
) -> list[list[Asked]]:
    """The greedy set, swaps in it, the hand rule's set, and sets by lots; none twice."""
    asked, stalest = {box for box, _ in greedy}, course.stalest
    outside = [box for box in stalest if box not in asked]
    sets = [list(greedy)]
    free = [at for at, (box, _) in enumerate(greedy) if box not in forced]
    for at, other in zip(free[:SWAPS], outside, strict=False):
        sets.append([*greedy[:at], (other, OWN), *greedy[at + 1 :]])
    sets.append(_filled(forced, stalest, course.future.cohort))
    for number in range(BY_LOTS):
        lots = {box: uniform(draw, _SET, number, at) for at, box in enumerate(stalest)}
        order = sorted(lots, key=lambda box: lots[box])
        sets.append(_filled(forced, order, len(greedy)))
    return [each for at, each in enumerate(sets) if each and each not in sets[:at]]


def _filled(forced: frozenset[str], order: Sequence[str], size: int) -> list[Asked]:
    boxes = [*sorted(forced), *(box for box in order if box not in forced)]
    return [(box, OWN) for box in boxes[:size]]
