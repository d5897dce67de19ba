"""A cohort's changes packed in one go: `quantization.pack.pack`, each by its own box's draws."""

import math
from collections.abc import Sequence

from firmware_sim.draws import draws
from quantization.arrays import Array
from quantization.pack import PLAIN, pack_all
from quantization.scheme import Scheme
from quantization.uniform import blocks


def rounded(
    vectors: Array, scheme: Scheme, words: Sequence[int], last: Sequence[int]
) -> list[bytes]:
    """What is sent of vectors (v, n), each by the seed of these words and its own; none sparse.

    Raises BadArrays for numbers too large to be quantised.
    """
    if scheme.bits == PLAIN:
        return pack_all(vectors, scheme)
    many, length = vectors.shape
    # What would fill the only block up is zero: nothing need be drawn for it.
    scheme = Scheme(scheme.bits, min(scheme.block, length))
    shape = blocks(length, scheme.block), scheme.block
    own = draws(words, last, math.prod(shape))
    return pack_all(vectors, scheme, own.reshape(many, *shape))
