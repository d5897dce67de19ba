"""Changes packed together are what each box packs alone, to the bit."""

import numpy as np
import pytest
from numpy.random import PCG64, Generator, SeedSequence

from firmware_sim.rounding import rounded
from quantization.arrays import BadArrays
from quantization.pack import pack
from quantization.scheme import Scheme

NAMES = [3, 2**32 - 1, 12_345]


@pytest.mark.parametrize("bits", [2, 4, 8, 32])
@pytest.mark.parametrize(("length", "block"), [(7, 64), (64, 64), (21, 8), (150, 64), (1, 1)])
def test_each_is_packed_as_if_alone(bits, length, block):
    vectors = np.random.default_rng(length).normal(size=(3, length)).astype(np.float32)
    vectors[1] = 0
    scheme = Scheme(bits, block)
    together = rounded(vectors, scheme, [5, 9], NAMES)
    for vector, name, packed in zip(vectors, NAMES, together, strict=True):
        rng = Generator(PCG64(SeedSequence(np.array([5, 9, name], np.uint32))))
        assert packed == pack({"all": vector}, (("all", (length,)),), scheme, rng)


def test_numbers_too_large_to_be_quantised_are_refused():
    with pytest.raises(BadArrays, match="too large"):
        rounded(np.full((2, 5), 3e38, np.float32), Scheme(), [1], [2, 3])
