"""First draws of many of NumPy's generators at once: the same numbers, a cohort's in one go.

PCG64 (M. E. O'Neill, 2014; XSL-RR of 128 bits) multiplies its state by a constant and adds another
at each step, so that all of a generator's first states follow at once from where it starts.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_sim.seeds import generators, states

MOST = 64
"""Draws of each above which NumPy's own generators are quicker."""

_Words = NDArray[np.uint64]
_Wide = tuple[_Words, _Words]
"""Numbers of 128 bits: their high and their low words. Sums and products are modulo 2^128."""

_FACTOR = 0x2360ED051FC65DA44385DF649FCCF645
# Arrays, not scalars: NumPy would make arrays of those anew for each operation.
_LOW = np.array(2**32 - 1, np.uint64)
_HALF, _ALL, _TOP, _UNUSED = (np.array(number, np.uint64) for number in (32, 63, 58, 11))


def draws(words: Sequence[int], last: Sequence[int], count: int) -> NDArray[np.float64]:
    """For each n of `last`, Generator(PCG64(SeedSequence([*words, n]))).random(count), a row."""
    if count > MOST:
        return np.stack([own.random(count) for own in generators(words, last)])
    high, low = _states(states(words, last), count)
    mixed, turn = high ^ low, high >> _TOP
    rotated = mixed >> turn | mixed << (-turn & _ALL)
    return np.ascontiguousarray(((rotated >> _UNUSED) * 2.0**-53).T)


def _states(seeds: _Words, count: int) -> _Wide:
    """(count, generators): each one's states, from its seed's words (generators, 4).

    Seeding takes two steps, and what a step adds is 2 * stream + 1.
    """
    # What is gone through in the innermost loops comes last: the generators.
    parts = np.ascontiguousarray(seeds.T).reshape(2, 2, 1, -1)
    factors, added = _constants(count)
    high, low = _product((parts[:, 0], parts[:, 1]), factors)
    return _sum(_sum((high[0], low[0]), (high[1], low[1])), added)


@lru_cache(maxsize=MOST)
def _constants(count: int) -> tuple[_Wide, _Wide]:
    """What start and stream are multiplied by for each state, (2, count, 1), and what is added."""
    powers, sums = [_FACTOR], [1 + _FACTOR]
    for _ in range(count):
        powers.append(powers[-1] * _FACTOR % 2**128)
        sums.append((sums[-1] + powers[-1]) % 2**128)
    return _wide([powers[1:], [2 * total % 2**128 for total in sums[1:]]]), _wide(sums[1:])


def _wide(numbers: Any) -> _Wide:
    """A column of these, or several."""
    each = np.array(numbers, object)[..., None]
    return (each >> 64).astype(np.uint64), (each % 2**64).astype(np.uint64)


def _sum(x: _Wide, y: _Wide) -> _Wide:
    low = x[1] + y[1]
    return x[0] + y[0] + (low < x[1]), low


def _product(x: _Wide, y: _Wide) -> _Wide:
    x_high, x_low, y_high, y_low = x[1] >> _HALF, x[1] & _LOW, y[1] >> _HALF, y[1] & _LOW
    one = x_high * y_low + (x_low * y_low >> _HALF)
    other = x_low * y_high + (one & _LOW)
    carried = x_high * y_high + (one >> _HALF) + (other >> _HALF)
    return x[0] * y[1] + x[1] * y[0] + carried, x[1] * y[1]
