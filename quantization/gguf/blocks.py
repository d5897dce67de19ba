"""GGML's blocks as numbers: F32, F16, BF16, Q8_0, and the 4-bit Q4_0 and Q4_1.

A 4-bit block holds 32 numbers: a float16 step d, for Q4_1 a float16 minimum m, then 16 bytes whose
low halves are the numbers 0 to 15 and whose high halves are 16 to 31. A number is q*d + m; in Q4_0
it is (q - 8)*d, which is the same with m = -8*d, without rounding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array

Bytes = NDArray[np.uint8]
Halves = NDArray[np.float16]

F32, F16, Q4_0, Q4_1, Q8_0, BF16 = 0, 1, 2, 3, 8, 30
"""GGML's numbers for the types that are read."""

LENGTH = 32
"""Numbers in a quantised block."""


@dataclass(frozen=True, slots=True)
class Block:
    """How many numbers a block of a type holds, and in how many bytes."""

    name: str
    elements: int
    size: int


BLOCKS = {
    F32: Block("F32", 1, 4),
    F16: Block("F16", 1, 2),
    Q4_0: Block("Q4_0", LENGTH, 18),
    Q4_1: Block("Q4_1", LENGTH, 20),
    Q8_0: Block("Q8_0", LENGTH, 34),
    BF16: Block("BF16", 1, 2),
}


@dataclass(frozen=True, slots=True)
class FourBit:
    """A 4-bit matrix in parts: codes (rows, blocks, 32), steps and minima (rows, blocks)."""

    codes: Bytes
    steps: Halves
    minima: Halves


def row_size(kind: int, columns: int) -> int:
    """Bytes of one row of a matrix."""
    block = BLOCKS[kind]
    return columns // block.elements * block.size


def four_bit(data: Bytes, kind: int, rows: int) -> FourBit:
    """The parts of a Q4_1 or Q4_0 matrix; Q4_0's minima are made up, exactly."""
    parts = data.reshape(rows, -1, BLOCKS[kind].size)
    steps = _halves(parts[:, :, 0:2])
    if kind == Q4_1:
        minima, packed = _halves(parts[:, :, 2:4]), parts[:, :, 4:]
    else:
        minima, packed = (steps * np.float16(-8)).astype(np.float16), parts[:, :, 2:]
    return FourBit(np.concatenate([packed & 15, packed >> 4], axis=-1), steps, minima)


def eight_bit(data: Bytes, rows: int) -> tuple[NDArray[np.int8], Halves]:
    """The codes (rows, blocks, 32) and steps (rows, blocks) of a Q8_0 matrix."""
    parts = data.reshape(rows, -1, BLOCKS[Q8_0].size)
    return parts[:, :, 2:].copy().view(np.int8), _halves(parts[:, :, 0:2])


def dequantise(data: Bytes, kind: int, rows: int) -> Array:
    """The float32 matrix (rows, columns) that blocks stand for."""
    if kind == F32:
        return data.view("<f4").astype(np.float32).reshape(rows, -1)
    if kind == F16:
        return data.view("<f2").astype(np.float32).reshape(rows, -1)
    if kind == BF16:
        wide = data.view("<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(rows, -1)
    if kind == Q8_0:
        codes, steps = eight_bit(data, rows)
        return (codes * steps.astype(np.float32)[..., None]).reshape(rows, -1)
    parts = four_bit(data, kind, rows)
    steps, minima = parts.steps.astype(np.float32), parts.minima.astype(np.float32)
    return (parts.codes * steps[..., None] + minima[..., None]).reshape(rows, -1)


def _halves(data: Bytes) -> Halves:
    return data.copy().view("<f2")[..., 0].astype(np.float16)
