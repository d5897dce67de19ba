"""What a graph is: its kind, how many blocks it spans, for what widths; and the weights it needs.

A weight is named `BLOCK.MATRIX:PART`, blocks counted from the graph's first, so that one graph
serves every model of its shape. The numbers come from a GGUF file when the graph is opened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantization.gguf.blocks import LENGTH, FourBit
from quantization.gguf.llama import LAST_NORM, MATRICES, NORMS, Facts, Shape, Weights

Kind = Literal["block", "last", "forward", "step"]
"""block: any one block, hidden states to hidden states. last: the last block, to log-probabilities
of labels. forward: the last blocks in one. step: the same, and the loss's gradients by LoRA."""

Part = NDArray[np.uint8] | NDArray[np.float16] | NDArray[np.float32]

FLOAT, INT8, FLOAT16, INT4 = 1, 3, 10, 22
"""ONNX's numbers for the element types of weights."""

MIDDLE = 8
"""Of the 4-bit codes 0 to 15, which a graph holds from -8 to 7."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One graph."""

    kind: Kind
    blocks: int
    shape: Shape

    @property
    def file(self) -> str:
        """The graph's file name, which says all that the graph depends on."""
        s = self.shape
        return f"{self.kind}-{self.blocks}-w{s.width}-f{s.inner}-h{s.heads}-k{s.kv_heads}.onnx"

    @property
    def ends(self) -> bool:
        """Whether the graph reaches the model's last block, and so its output."""
        return self.kind != "block"

    @property
    def follows(self) -> bool:
        """Whether its tokens may follow a prefix whose keys and values are fed."""
        return self.kind in ("block", "last")

    @property
    def codes(self) -> int:
        """The type 4-bit codes are held in: a byte each where speed counts, else packed."""
        return INT8 if self.kind == "step" else INT4


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight of a graph: its name there, its ONNX element type and shape."""

    name: str
    element: int
    shape: tuple[int, ...]


def weights_of(spec: Spec) -> list[Weight]:
    """All weights of a graph, in a fixed order."""
    found = [
        Weight("rope:f32", FLOAT, (spec.shape.head_width // 2,)),
        Weight("epsilon:f32", FLOAT, (1,)),
    ]
    for block in range(spec.blocks):
        found += [Weight(f"{block}.{name}:f32", FLOAT, (spec.shape.width,)) for name in NORMS]
        for name in MATRICES:
            rows, columns = spec.shape.matrix(name)
            steps = rows * columns // LENGTH
            found += [
                Weight(f"{block}.{name}:q", spec.codes, (steps, LENGTH)),
                Weight(f"{block}.{name}:d", FLOAT16, (steps,)),
                Weight(f"{block}.{name}:m", FLOAT16, (steps,)),
            ]
    if spec.ends:
        found.append(Weight("norm:f32", FLOAT, (spec.shape.width,)))
    return found


def frequencies(facts: Facts) -> NDArray[np.float32]:
    """The rotary embedding's angles per position (head width / 2,)."""
    half = facts.shape.head_width // 2
    return (facts.rope_base ** (-np.arange(half) / half)).astype(np.float32)


def fill(spec: Spec, weights: Weights, first: int, take: Callable[[Weight, Part], None]) -> None:
    """Hand over each weight's numbers, the graph's block 0 being the model's block `first`.

    INT4 codes come packed, two a byte, the first in the low half. Raises BadModel.
    """
    parts: FourBit | None = None
    for weight in weights_of(spec):
        label, _, part = weight.name.partition(":")
        block, _, name = label.rpartition(".")
        path = f"blk.{first + int(block)}.{name}.weight" if block else LAST_NORM
        if part == "q":
            parts = weights.four_bit(path)
            codes = parts.codes - np.uint8(MIDDLE)
            take(weight, _pack(codes) if weight.element == INT4 else codes)
        elif parts is not None and part == "d":
            take(weight, parts.steps)
        elif parts is not None and part == "m":
            take(weight, parts.minima)
        elif label == "rope":
            take(weight, frequencies(weights.facts))
        elif label == "epsilon":
            take(weight, np.array([weights.facts.epsilon], np.float32))
        else:
            take(weight, weights.vector(path))


def _pack(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    high: NDArray[np.uint8] = np.left_shift(codes[..., 1::2], np.uint8(4))
    low: NDArray[np.uint8] = np.bitwise_and(codes[..., 0::2], np.uint8(15))
    packed: NDArray[np.uint8] = np.bitwise_or(low, high)
    return packed
