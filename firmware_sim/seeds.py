"""Many of NumPy's `SeedSequence`s at once: the same numbers, a cohort's in one go.

The algorithm is fixed for good (numpy.random.SeedSequence; M. E. O'Neill's seed_seq_fe, 2015):
words of 32 bits are mixed into a pool of four, which gives the state a generator starts from.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.random import PCG64, Generator
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

Words = NDArray[np.uint32]

POOL = 4
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
# Arrays, as in `draws`: scalars would be made arrays with each operation.
_LEFT, _RIGHT = np.array(0xCA01F9DD, np.uint32), np.array(0x4973F715, np.uint32)
_SHIFT = np.array(16, np.uint32)
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
    return [Generator(PCG64(_Ready(state))) for state in states(words, last)]  # type: ignore[arg-type]


def states(words: Sequence[int], last: Sequence[int]) -> NDArray[np.uint64]:
    """(generators, 4): what each one's PCG64 starts from, two words of state and two of stream."""
    entropy = np.zeros((max(POOL, len(words) + 1), len(last)), np.uint32)
    entropy[: len(words)] = np.array(words, np.uint32)[:, None]
    entropy[len(words)] = last
    pool = _pool(entropy)
    halves = _Hash(_INIT_B, _MULT_B)(np.concatenate([pool, pool]), 2 * POOL)
    return np.ascontiguousarray(halves.T.astype("<u4")).view("<u8").astype(np.uint64)


def _pool(entropy: Words) -> Words:
    """Four words for each generator, (4, generators), from its words of entropy, 4 or more."""
    hashed = _Hash(_INIT_A, _MULT_A)
    pool = hashed(entropy[:POOL], POOL)
    for source in range(POOL):
        word = pool[source].copy()
        pool = _mixed(pool, hashed(word, POOL, but=source))
        pool[source] = word
    for word in entropy[POOL:]:
        pool = _mixed(pool, hashed(word, POOL))
    return pool


class _Hash:
    """A hash whose constant changes with each word."""

    def __init__(self, constant: int, factor: int) -> None:
        self._constant, self._factor = constant, factor

    def __call__(self, words: Words, times: int, but: int = -1) -> Words:
        """So many rows of these words, ([times or 1,] generators), hashed one after the other.

        What is in the row `but` counts for nothing, and is no turn of the hash.
        """
        self._constant, before, after = _turns(self._constant, self._factor, times, but)
        return _shifted((words ^ before) * after)


@lru_cache(maxsize=64)
def _turns(constant: int, factor: int, times: int, but: int) -> tuple[int, Words, Words]:
    """The constant after so many turns, and columns of those before and after each turn."""
    constants = [constant]
    for row in range(times):
        constants.append(constants[-1] * (1 if row == but else factor) & _MASK)
    column = np.array(constants, np.uint32)[:, None]
    return constants[-1], column[:-1], column[1:]


def _mixed(x: Words, y: Words) -> Words:
    return _shifted(_LEFT * x - _RIGHT * y)


def _shifted(words: Words) -> Words:
    return np.asarray(words ^ words >> _SHIFT)
