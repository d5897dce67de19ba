"""Chance as a pure function: the same seed and words give the same draw, in any order, for ever.

So nothing of an emulated fleet has a state that only exists to be random: what a link or a person
does at noon can be asked without asking about the morning. No secret comes from here.
"""

import math
from hashlib import blake2b

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def seed_of(*words: int | str) -> int:
    """A 64-bit seed of its own for what these words name. Slow: once per client, not per event."""
    text = "/".join(map(str, words)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def uniform(seed: int, *words: int) -> float:
    """A draw from [0, 1) by splitmix64 (Steele et al. 2014)."""
    z = seed
    for word in words:
        z = (z ^ (word * _GOLDEN)) + _GOLDEN & _MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        z ^= z >> 31
    return (z >> 11) / 2**53


def normal(seed: int, *words: int) -> float:
    """A draw from N(0, 1), by Box and Muller."""
    radius = math.sqrt(-2 * math.log(1 - uniform(seed, *words, 1)))
    return radius * math.cos(2 * math.pi * uniform(seed, *words, 2))


def exponential(seed: int, mean: float, *words: int) -> float:
    """A draw from the exponential distribution of this mean."""
    return -mean * math.log(1 - uniform(seed, *words))
