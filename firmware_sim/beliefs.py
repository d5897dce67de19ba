"""What could be known of a client's hidden fault from what it reported: a posterior by Bayes' rule.

A perfect reader of journals and notes who also knows how often which fault occurs; nothing that the
coordinator was not told goes in. Futures are resampled from it, so that a teacher does not teach
what nobody could have seen.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from coordinator.taskfile import seconds
from firmware_sim.boards import Board, ram_free_mib
from firmware_sim.chance import uniform
from firmware_sim.hidden import FAULTS, Fault, effects, severity
from firmware_sim.journal import NOTE_S, Line, likelihood, silence
from firmware_sim.scenario import Hidden

MOMENTS = 12
"""Moments at which a fault may have begun that are told apart."""
USUAL_MISS = 0.04
"""How often a healthy box misses a round."""
SPREAD = 0.25
"""Standard deviation of the logarithm of how long a box takes, beside what it should."""
RAM_SPREAD = 40.0
"""MiB."""
_SINCE, _LEAD, _PICK = 51, 52, 53


class Seen(NamedTuple):
    """What the coordinator has of a client at a moment."""

    at: float
    lines: Sequence[tuple[float, Line]]
    """Of its journal, each with the moment it was written."""
    note: Line | None = None
    noted: bool = True
    """Whether its operator writes notes at all."""
    ram_free_mib: int | None = None
    misses: int = 0
    slower: float | None = None
    """How much longer it took the last time than it should have ..."""
    asked_at: float = 0.0
    """... which was then."""


class Belief(NamedTuple):
    """One supposition with its weight; weights add up to 1."""

    fault: Fault | None
    weight: float


def beliefs(hidden: Hidden, board: Board, seen: Seen, draw: int) -> list[Belief]:
    """The posterior over what may be wrong, given how often each fault occurs."""
    found: list[tuple[Fault | None, float]] = []
    for fault, prior in _prior(hidden, draw):
        words = sum(
            share * _words(seen, fault, decoys=decoys)
            for decoys, share in ((True, hidden.decoys), (False, 1 - hidden.decoys))
        )
        found.append((fault, prior * words * _numbers(seen, fault, board)))
    whole = sum(weight for _, weight in found)
    if whole <= 0:  # what is seen is impossible under all of it: nothing is known
        return [Belief(None, 1.0)]
    return [Belief(fault, weight / whole) for fault, weight in found if weight > 0]


def drawn(choices: Sequence[Belief], draw: int) -> Fault | None:
    """One of them by weight."""
    left = uniform(draw, _PICK)
    for fault, weight in choices:
        left -= weight
        if left < 0:
            return fault
    return choices[-1].fault


def _prior(hidden: Hidden, draw: int) -> list[tuple[Fault | None, float]]:
    within, shares = seconds(hidden.within), [getattr(hidden, n.replace("-", "_")) for n in FAULTS]
    found: list[tuple[Fault | None, float]] = [(None, 1 - sum(shares))]
    for name, share in zip(FAULTS, shares, strict=True):
        for part in range(MOMENTS if share else 0):
            since = within * (2 * (part + uniform(draw, _SINCE, part)) / MOMENTS - 1)
            lead = 1800.0 * (0.5 + uniform(draw, _LEAD, part))
            found.append((Fault(name, since, lead_s=lead), share / MOMENTS))
    return found


def _words(seen: Seen, fault: Fault | None, *, decoys: bool) -> float:
    chance = math.prod(likelihood(line, at, fault, decoys=decoys) for at, line in seen.lines)
    if not seen.noted:
        return chance
    began = seen.at // NOTE_S * NOTE_S
    quiet = silence(fault, began)
    if seen.note is None:
        return chance * quiet
    return chance * (1 - quiet) * likelihood(seen.note, began, fault, decoys=decoys)


def _numbers(seen: Seen, fault: Fault | None, board: Board) -> float:
    bad = severity(fault, seen.asked_at) if fault else 0.0
    chance = 1.0
    if seen.ram_free_mib is not None:
        gone = ram_free_mib(board) - seen.ram_free_mib
        chance *= _normal(gone - effects(fault, seen.at).ram_mib, RAM_SPREAD)
    chance *= _miss(fault, bad) ** seen.misses
    if seen.slower is not None and not seen.misses:
        chance *= (1 - _miss(fault, bad)) * _normal(
            math.log(seen.slower / _slower(fault, bad)), SPREAD
        )
    return chance


def _miss(fault: Fault | None, bad: float) -> float:
    """About how often a box with this fault misses a round."""
    share = {"weak-supply": 0.4, "dying-card": 0.8, "memory-leak": 0.5, "blocked-fan": 0.2}
    return min(0.95, USUAL_MISS + share.get(fault.name if fault else "", 0.0) * bad)


def _slower(fault: Fault | None, bad: float) -> float:
    if fault is None or not bad:
        return 1.0
    return {"weak-supply": 2.5, "blocked-fan": 1 + bad}.get(fault.name, 1.0)


def _normal(off: float, spread: float) -> float:
    """With a floor: the models of numbers here are rough."""
    return math.exp(-0.5 * min(9.0, (off / spread) ** 2))
