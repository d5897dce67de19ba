"""How an update is made small. Part of the signed task, so that both ends hold the same one."""

import math
from dataclasses import dataclass

WIDTHS = (32, 8, 4, 2)
"""Bits a number may take on the wire; 32 is float32 as it is."""

MAX_BLOCK = 4096
"""Numbers sharing one scale. Larger blocks save nothing more and lose accuracy."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Bits a number, how many numbers share one scale, and which share of them travels at all.

    Raises ValueError for other values.
    """

    bits: int = 8
    block: int = 64
    keep: float = 1.0
    """The largest numbers of an update travel, this share of them; 1 sends all."""

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            raise ValueError(f"bits is {self.bits}; one of {WIDTHS} is accepted")
        if not 1 <= self.block <= MAX_BLOCK:
            raise ValueError(f"block is {self.block}; 1 to {MAX_BLOCK} is accepted")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is {self.keep}; above 0, at most 1 is accepted")

    @property
    def sparse(self) -> bool:
        return self.keep < 1

    def kept(self, length: int) -> int:
        """How many of so many numbers travel."""
        return math.ceil(self.keep * length)


EXACT = Scheme(bits=32)
"""Models and feature maps travel as they are."""
