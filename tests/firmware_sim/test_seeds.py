"""Seeds worked out together are NumPy's own."""

import numpy as np
import pytest
from numpy.random import PCG64, Generator, SeedSequence

from firmware_sim.seeds import generators

LAST = (0, 1, 12_345, 2**32 - 1)


@pytest.mark.parametrize("words", [(0,), (5, 7), (2**32 - 1, 0), (1, 2, 3), (1, 2, 3, 4, 5)])
def test_a_cohorts_generators_draw_what_each_ones_own_would(words):
    for number, drawn in zip(LAST, generators(words, LAST), strict=True):
        own = Generator(PCG64(SeedSequence(np.array([*words, number], np.uint32))))
        assert (drawn.random(70) == own.random(70)).all()
