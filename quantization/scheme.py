"""How an update is made small. Part of the signed task, so that both ends hold the same one."""

from dataclasses import dataclass

WIDTHS = (32, 8)
"""Bits a number may take on the wire; 32 is float32 as it is."""

MAX_BLOCK = 4096
"""Numbers sharing one scale. Larger blocks save nothing more and lose accuracy."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Bits a number, and how many numbers share one scale. Raises ValueError for other values."""

    bits: int = 8
    block: int = 64

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            raise ValueError(f"bits is {self.bits}; {' or '.join(map(str, WIDTHS))} is accepted")
        if not 1 <= self.block <= MAX_BLOCK:
            raise ValueError(f"block is {self.block}; 1 to {MAX_BLOCK} is accepted")


EXACT = Scheme(bits=32)
"""Models and feature maps travel as they are."""
