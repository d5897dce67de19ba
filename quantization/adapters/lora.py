"""A LoRA adapter of the last blocks' query and value matrices, as four named arrays.

A is (blocks, in, rank), B (blocks, rank, out); block i's matrix gains scale * A[i] B[i], with
scale = alpha / rank (Hu et al. 2021). The arrays are stacked over blocks: four names on the wire.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from proto.errors import ConfigError
from quantization.arrays import Array, Arrays, Layout
from quantization.gguf.llama import Shape

Q_A, Q_B, V_A, V_B = LORA = ("lora_q_a", "lora_q_b", "lora_v_a", "lora_v_b")
FROZEN = (Q_A, V_A)
"""What FFA-LoRA (Sun et al. 2024) keeps as it was drawn."""

MAX_RANK = 64


class BadAdapter(ConfigError):
    """An adapter is damaged, or made for another model, rank or number of blocks."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter with all that is needed to use it: `first` is its lowest block in the model."""

    arrays: Arrays
    first: int
    alpha: float
    sha256: str = ""
    """Of the base model's file, where the adapter's own file says it."""

    @property
    def blocks(self) -> int:
        return int(self.arrays[Q_A].shape[0])

    @property
    def rank(self) -> int:
        return int(self.arrays[Q_A].shape[2])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def layout(shape: Shape, blocks: int, rank: int) -> Layout:
    """Names and shapes of an adapter's arrays. Raises BadAdapter for a rank that makes no sense."""
    if not 1 <= rank <= MAX_RANK:
        raise BadAdapter(f"rank {rank}; 1 to {MAX_RANK} is accepted")
    return (
        (Q_A, (blocks, shape.width, rank)),
        (Q_B, (blocks, rank, shape.width)),
        (V_A, (blocks, shape.width, rank)),
        (V_B, (blocks, rank, shape.kv_width)),
    )


def fresh(shape: Shape, blocks: int, rank: int, rng: Generator) -> dict[str, Array]:
    """A new adapter: A normal with variance 1 / width, B zero, so that it changes nothing yet."""
    arrays = {}
    for name, dims in layout(shape, blocks, rank):
        drawn = rng.standard_normal(dims) / shape.width**0.5 if name in FROZEN else np.zeros(dims)
        arrays[name] = drawn.astype(np.float32)
    return arrays


def filled(arrays: Arrays, shape: Shape, blocks: int, rank: int) -> dict[str, Array]:
    """All four arrays, zeros where nothing is adapted."""
    return {
        name: arrays[name] if name in arrays else np.zeros(dims, np.float32)
        for name, dims in layout(shape, blocks, rank)
    }


def check(adapter: Adapter, shape: Shape, blocks: int) -> None:
    """Raises BadAdapter unless the adapter fits a model of that shape and number of blocks."""
    if set(adapter.arrays) != set(LORA):
        raise BadAdapter(f"it has the arrays {sorted(adapter.arrays)}; {list(LORA)} are used")
    if any(array.ndim != 3 for array in adapter.arrays.values()):  # noqa: PLR2004 - block, in, out
        raise BadAdapter("an array of it has not three dimensions")
    for name, dims in layout(shape, adapter.blocks, adapter.rank):
        found = adapter.arrays[name]
        if found.shape != dims:
            raise BadAdapter(f"{name} is {found.shape}; {dims} fits this base model and rank")
        if found.dtype != np.float32 or not np.isfinite(found).all():
            raise BadAdapter(f"{name} holds {found.dtype} with NaN or infinity, or not float32")
    if not 0 <= adapter.first <= blocks - adapter.blocks:
        last = adapter.first + adapter.blocks - 1
        raise BadAdapter(f"it is for blocks {adapter.first} to {last}; the model has {blocks}")
    if not 0 < adapter.alpha <= 1e6:  # noqa: PLR2004 - far beyond any use
        raise BadAdapter(f"alpha is {adapter.alpha}; a positive number is accepted")


def stacked(pairs: dict[tuple[str, int], Array], alpha: float, sha256: str) -> Adapter:
    """An adapter from its arrays block by block, keyed by name and block number.

    Raises BadAdapter unless every array is there for the same unbroken run of blocks.
    """
    blocks = sorted({block for _, block in pairs})
    if not blocks or blocks != list(range(blocks[0], blocks[0] + len(blocks))):
        raise BadAdapter("the blocks it adapts are no unbroken run")
    arrays = {}
    for name in LORA:
        if any((name, block) not in pairs for block in blocks):
            raise BadAdapter(f"{name} is missing for one of its blocks")
        group = [pairs[name, block] for block in blocks]
        if any(array.shape != group[0].shape for array in group):
            raise BadAdapter(f"{name} has another rank in one block than in another")
        arrays[name] = np.stack(group).astype(np.float32)
    return Adapter(arrays, blocks[0], alpha, sha256)
