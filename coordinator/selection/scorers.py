"""Scorers: a number for each candidate, higher first. All share one shape, so any can be swapped.

A scorer is pure: the same candidates, seed and turn give the same scores, and recorded scores
replay a decision exactly.
"""

import hashlib
from collections.abc import Callable, Sequence

from coordinator.selection.candidates import Candidate

Scorer = Callable[[Sequence[Candidate], int, int], dict[str, float]]
"""(candidates, seed, turn) -> score by box."""


def lot(seed: int, turn: int, box: str) -> float:
    """A fair draw in [0, 1) that depends only on seed, turn and box."""
    digest = hashlib.sha256(f"{seed}/{turn}/{box}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def by_lot(candidates: Sequence[Candidate], seed: int, turn: int) -> dict[str, float]:
    """`random`: every box is as likely as any other."""
    return {c.box: lot(seed, turn, c.box) for c in candidates}


def by_staleness(candidates: Sequence[Candidate], seed: int, turn: int) -> dict[str, float]:
    """`stalest`, the hand rule: who has waited longest; lots decide between equals."""
    return {c.box: turn - c.last_turn + lot(seed, turn, c.box) for c in candidates}


def by_closeness(candidates: Sequence[Candidate], seed: int, turn: int) -> dict[str, float]:
    """`paper`: whose loss is nearest the fleet's (LLM-QFL, arXiv 2505.18656); unknown ones first.

    The paper takes the distances after everybody has trained. These are from the boxes' last
    turns, so that who is not chosen does no work.
    """
    return {
        c.box: 1.0 + lot(seed, turn, c.box)
        if c.last is None
        else -abs(c.last.loss - c.last.fleet_loss)
        for c in candidates
    }


SCORERS: dict[str, Scorer] = {
    "random": by_lot,
    "stalest": by_staleness,
    "paper": by_closeness,
}
STANDING = frozenset({"paper"})
"""Scorers that read how boxes did last."""
