"""Seeds worked out together are NumPy's own."""

import numpy as np
import pytest
from numpy.random import PCG64, Generator, SeedSequence

from firmware_sim.draws import MOST, draws
from firmware_sim.seeds import generators

LAST = (0, 1, 12_345, 2**32 - 1)


@pytest.mark.parametrize("words", [(0,), (5, 7), (2**32 - 1, 0), (1, 2, 3), (1, 2, 3, 4, 5)])
def test_a_cohorts_generators_draw_what_each_ones_own_would(words):
    for number, drawn in zip(LAST, generators(words, LAST), strict=True):
        own = Generator(PCG64(SeedSequence(np.array([*words, number], np.uint32))))
        assert (drawn.random(70) == own.random(70)).all()


@pytest.mark.parametrize("count", [1, 7, MOST, MOST + 1])
@pytest.mark.parametrize("words", [(5, 7), (2**32 - 1, 0), (1, 2, 3, 4, 5)])
def test_draws_made_at_once_are_the_first_of_each_ones_own(words, count):
    names = [*LAST, *np.random.default_rng(0).integers(2**32, size=40).tolist()]
    for number, drawn in zip(names, draws(words, names, count), strict=True):
        own = Generator(PCG64(SeedSequence(np.array([*words, number], np.uint32))))
        assert (drawn == own.random(count)).all()
