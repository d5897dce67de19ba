"""Sentences that say what an owner wants, with what each counts: lessons for reading objectives.

A teacher's decisions hold few different ones; more are in aims.toml, in frames and pairs.
"""

from collections.abc import Iterable
from functools import cache
from importlib import resources

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.selection.examples import Decision
from coordinator.selection.fence import plain
from coordinator.selection.prompt import MAX_OBJECTIVE

TIMES = 3
"""Frames that each sentence is put into."""
PAIRS = 60
"""Sentences that are made of two."""
CHECK = 8
"""One sentence in so many of the file is kept back, to tell how well others are read."""

Prices = dict[str, float]


class Aim(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that owners want."""

    prices: Prices
    sentences: tuple[str, ...]
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()


class Phrases(Struct, frozen=True):
    """All of aims.toml."""

    frames: tuple[str, ...]
    joins: tuple[str, ...]
    time: Aim
    energy: Aim
    both: Aim
    bytes: Aim
    fairness: Aim

    @property
    def aims(self) -> tuple[Aim, ...]:
        return self.time, self.energy, self.both, self.bytes, self.fairness


@cache
def phrases() -> Phrases:
    text = resources.files(__package__).joinpath("aims.toml").read_bytes()
    return msgspec.toml.decode(text, type=Phrases)


def own_sentences(*, kept_back: bool) -> list[tuple[str, Prices]]:
    """Those of the file as they stand, to learn or to check with."""
    found = []
    for aim in phrases().aims:
        for at, sentence in enumerate(aim.sentences):
            if (at % CHECK == CHECK - 1) == kept_back:
                found.append((sentence, aim.prices))
    return found


def sentences_of(decisions: Iterable[Decision], seed: int) -> list[tuple[str, Prices]]:
    """All that are learned, each once: the decisions' own, and the file's in frames and pairs."""
    rng = np.random.default_rng([seed, 1])
    told = {d.objective: d.prices for d in decisions if d.prices}
    every = {plain(text, MAX_OBJECTIVE): dict(prices) for text, prices in told.items()}
    held = phrases()
    for sentence, prices in [*told.items(), *own_sentences(kept_back=False)]:
        for at in rng.permutation(len(held.frames))[:TIMES] if sentence else ():
            every[plain(held.frames[at].format(sentence), MAX_OBJECTIVE)] = dict(prices)
    for aim in held.aims:
        for _ in range(PAIRS if aim.first else 0):
            pair = (rng.choice(aim.first), rng.choice(aim.second))
            join = held.joins[rng.integers(len(held.joins))]
            every[join.format(*(pair if rng.random() < 0.5 else pair[::-1]))] = aim.prices  # noqa: PLR2004
    return list(every.items())
