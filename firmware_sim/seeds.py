"""Many of NumPy's `SeedSequence`s at once: the same numbers, a cohort's in one go.

The algorithm is fixed for good (numpy.random.SeedSequence; M. E. O'Neill's seed_seq_fe, 2015):
words of 32 bits are mixed into a pool of four, which gives the state a generator starts from.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import PCG64, Generator
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

Words = NDArray[np.uint32]

POOL = 4
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_LEFT, _RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_SHIFT = np.uint32(16)
_MASK = 2**32 - 1


class _Ready(ISeedSequence):
    """A seed that has been worked out: four words of 64 bits, as PCG64 asks for them."""

    def __init__(self, state: NDArray[np.uint64]) -> None:
        self._state = state

    def generate_state(self, n_words: int, dtype: object = np.uint32) -> NDArray[np.uint64]:
        assert n_words == len(self._state)
        assert dtype == np.uint64
        return self._state


def generators(words: Sequence[int], last: Sequence[int]) -> list[Generator]:
    """For each n of `last`, what Generator(PCG64(SeedSequence([*words, n]))) is; uint32 all."""
    fixed = [np.full(len(last), word, np.uint32) for word in words]
    states = _states(_pool([*fixed, np.array(last, np.uint32)]))
    return [Generator(PCG64(_Ready(state))) for state in states]  # type: ignore[arg-type]


def _pool(entropy: list[Words]) -> list[Words]:
    """Four words for each generator, from its words of entropy."""
    hashed = _Hash(_INIT_A, _MULT_A)
    blank = np.zeros_like(entropy[0])
    padded = [*entropy, *[blank] * (POOL - len(entropy))]
    pool = [hashed(word) for word in padded[:POOL]]
    for source in range(POOL):
        for to in range(POOL):
            if source != to:
                pool[to] = _mixed(pool[to], hashed(pool[source]))
    for word in padded[POOL:]:
        pool = [_mixed(old, hashed(word)) for old in pool]
    return pool


def _states(pool: list[Words]) -> NDArray[np.uint64]:
    """(generators, 4): what PCG64 starts from."""
    hashed = _Hash(_INIT_B, _MULT_B)
    halves = np.stack([hashed(pool[number % POOL]) for number in range(2 * POOL)], axis=1)
    return np.ascontiguousarray(halves.astype("<u4")).view("<u8").astype(np.uint64)


class _Hash:
    """A hash whose constant changes with each word."""

    def __init__(self, constant: int, factor: int) -> None:
        self._constant, self._factor = constant, factor

    def __call__(self, word: Words) -> Words:
        mixed = word ^ np.uint32(self._constant)
        self._constant = self._constant * self._factor & _MASK
        return _shifted(mixed * np.uint32(self._constant))


def _mixed(x: Words, y: Words) -> Words:
    return _shifted(_LEFT * x - _RIGHT * y)


def _shifted(words: Words) -> Words:
    return np.asarray(words ^ words >> _SHIFT)
