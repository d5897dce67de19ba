"""A cohort's changes packed in one go: `quantization.pack.pack`, each by its own box's draws."""

import math
from collections.abc import Sequence

import numpy as np

from firmware_sim.draws import draws
from firmware_sim.seeds import generators
from quantization.arrays import Array
from quantization.pack import PLAIN, pack_all
from quantization.scheme import Scheme
from quantization.uniform import blocks, quantise_all

BYTE = 8


def rounded(
    vectors: Array, scheme: Scheme, words: Sequence[int], last: Sequence[int]
) -> list[bytes]:
    """What is sent of vectors (v, n), each by the seed of these words and its own; none sparse.

    Raises BadArrays for numbers too large to be quantised.
    """
    many, length = vectors.shape
    # What would fill the only block up is zero: nothing need be drawn for it.
    scheme = Scheme(scheme.bits, min(scheme.block, length))
    if scheme.bits == PLAIN:
        return pack_all(vectors, scheme, [])
    if scheme.bits != BYTE:
        return pack_all(vectors, scheme, generators(words, last))
    shape = blocks(length, scheme.block), scheme.block
    own = draws(words, last, math.prod(shape)).reshape(many, *shape)
    scales, codes = quantise_all(vectors, own, scheme.bits)
    tags = np.full((many, 1), scheme.bits, np.uint8)
    parts = tags, scales.astype("<f4").view(np.uint8), codes.view(np.uint8)
    table = np.concatenate(parts, axis=1)
    data, size = table.tobytes(), table.shape[1]
    return [data[at : at + size] for at in range(0, len(data), size)]
