"""What a box rounds by."""

import zlib

import msgspec
import numpy as np
import pytest

from edge_client.labour import rounding
from proto.messages import MOMENTS, Offer

OFFER = Offer(
    job="job",
    round=1,
    turn=1,
    kind=MOMENTS,
    task=bytes(16),
    key=bytes(32),
    model=None,
    features=None,
    inline=b"",
    steps=0,
    seconds=60,
    seed=7,
)


@pytest.mark.parametrize("turn", [0, 3, 2**32 - 1, 2**32, 2**40])
def test_a_box_rounds_by_draws_of_its_own_from_seed_turn_and_name(turn):
    offer = msgspec.structs.replace(OFFER, turn=turn)
    expected = np.random.default_rng([7, turn, zlib.crc32(b"pi-1")])
    assert rounding(offer, "pi-1").random(3).tolist() == expected.random(3).tolist()
    assert rounding(offer, "pi-2").random() != rounding(offer, "pi-1").random()
