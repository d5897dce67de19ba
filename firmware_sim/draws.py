"""First draws of many of NumPy's generators at once: the same numbers, a cohort's in one go.

PCG64 (M. E. O'Neill, 2014; XSL-RR of 128 bits) multiplies its state by a constant and adds another
at each step, so that all of a generator's first states follow at once from where it starts.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_sim.seeds import generators, states

MOST = 64
"""Draws of each above which NumPy's own generators are quicker."""

_Words = NDArray[np.uint64]
_Wide = tuple[_Words, _Words]
"""Numbers of 128 bits: their high and their low words. Sums and products are modulo 2^128."""

_FACTOR = 0x2360ED051FC65DA44385DF649FCCF645
_LOW = np.uint64(2**32 - 1)
_HALF, _ALL, _TOP = np.uint64(32), np.uint64(63), np.uint64(58)
_UNUSED = np.uint64(11)


def draws(words: Sequence[int], last: Sequence[int], count: int) -> NDArray[np.float64]:
    """For each n of `last`, Generator(PCG64(SeedSequence([*words, n]))).random(count), a row."""
    if count > MOST:
        return np.stack([own.random(count) for own in generators(words, last)])
    start = states(words, last)
    high, low = _states(start[:, :2], start[:, 2:], count)
    mixed, turn = high ^ low, high >> _TOP
    rotated = mixed >> turn | mixed << (-turn & _ALL)
    return np.asarray((rotated >> _UNUSED) * 2.0**-53, np.float64)


def _states(start: _Words, stream: _Words, count: int) -> _Wide:
    """(generators, count): each one's states, from its seed's words (generators, 2) of both."""
    wide = [(part[:, :1], part[:, 1:]) for part in (start, stream)]
    double = _sum(wide[1], wide[1])
    step = double[0], double[1] | np.uint64(1)
    powers, sums = _constants(count)
    return _sum(_product(_sum(wide[0], step), powers), _product(step, sums))


@lru_cache(maxsize=MOST)
def _constants(count: int) -> tuple[_Wide, _Wide]:
    """What start and step are multiplied by for each state, the seeding's two steps behind them."""
    powers, sums = [_FACTOR], [1]
    for _ in range(count):
        sums.append((sums[-1] + powers[-1]) % 2**128)
        powers.append(powers[-1] * _FACTOR % 2**128)
    return _wide(powers[1:]), _wide(sums[1:])


def _wide(numbers: list[int]) -> _Wide:
    return (
        np.array([number >> 64 for number in numbers], np.uint64),
        np.array([number % 2**64 for number in numbers], np.uint64),
    )


def _sum(x: _Wide, y: _Wide) -> _Wide:
    low = x[1] + y[1]
    return x[0] + y[0] + (low < x[1]), low


def _product(x: _Wide, y: _Wide) -> _Wide:
    high = x[0] * y[1] + x[1] * y[0]
    x_high, x_low, y_high, y_low = x[1] >> _HALF, x[1] & _LOW, y[1] >> _HALF, y[1] & _LOW
    one, other = x_high * y_low, x_low * y_high
    carried = (x_low * y_low >> _HALF) + (one & _LOW) + (other & _LOW) >> _HALF
    return high + x_high * y_high + (one >> _HALF) + (other >> _HALF) + carried, x[1] * y[1]
