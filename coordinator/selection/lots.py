"""Chance that depends only on seed, turn and box, so that any plan can be made again."""

import hashlib
import math
from collections.abc import Iterable
from struct import Struct

_NUMBER = Struct(">Q").unpack_from


def lot(seed: int, turn: int, box: str) -> float:
    """A fair draw in [0, 1) that depends only on seed, turn and box."""
    return lots(seed, turn, (box,))[box]


def lots(seed: int, turn: int, boxes: Iterable[str]) -> dict[str, float]:
    """The draw of each box."""
    begin, hashed = f"{seed}/{turn}/", hashlib.sha256
    return {
        box: (_NUMBER(hashed((begin + box).encode()).digest())[0] >> 16) * 2.0**-48 for box in boxes
    }


def weighted(draw: float, weight: float) -> float:
    """A key in (-inf, 0]: the largest k keys are k draws by weight without replacement.

    Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir", in logarithms.
    """
    return math.log(max(draw, 2**-48)) / weight if weight > 0 else -math.inf
