"""What a language model with an adapter says of a box's rows: the fleet's, or the box's own.

The own one is cross-fitted: what it says of a training row comes from an adapter that never saw
that row, or the circuit would be taught how well its teacher remembers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.adapter.hidden import HiddenRows
from edge_client.circuit.aims import LOWEST
from edge_client.model import Labels, Model
from edge_client.train import Hyper, Rows, local_update
from proto.adapter import Adapter, adapter_layout, frozen_layout
from quantization.arrays import Array, Arrays
from quantization.pack import pack
from quantization.scheme import EXACT

FOLDS = 2
RATE, BATCH, WARMUP = 2e-3, 8, 0.1
"""AdamW's rate, rows a step, and the share of the steps in which the rate rises."""

Float64s = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False, slots=True)
class Lesson:
    """A box's rows, read: all of them, and which an adapter may be trained on."""

    rows: HiddenRows
    y: Labels
    train: Index


def fleets(model: Model[Any], adapter: Adapter, arrays: Arrays, rows: HiddenRows) -> Float64s:
    """Logits (rows, classes) of an adapter that is given."""
    trained = {name: arrays[name] for name, _ in adapter_layout(adapter)}
    return _logits(model, trained, rows)


def own(model: Model[Any], lesson: Lesson, steps: int, rate: float = RATE) -> Float64s:
    """Logits (rows, classes) of adapters trained here, `steps` for each fold.

    A training row's come from the adapter of the other folds, another's are the mean of all. The
    same rows give the same logits.
    """
    y, rows = lesson.y, lesson.rows
    read = replace(model, prepare=lambda ready: ready)
    others = np.setdiff1d(np.arange(len(y)), lesson.train)
    said = []
    for fold, (kept, left) in enumerate(folds(lesson.train)):
        warm = max(1, round(WARMUP * steps))
        hyper = Hyper(steps, rate, BATCH, fold, "adamw", warmup=warm, probe=1)
        arrays = model.init(np.random.default_rng(fold))
        known: Any = rows.take(kept)
        trained = local_update(read, arrays, Rows(known, y[kept], known, y[:0]), hyper).arrays
        spoken = np.concatenate([left, others])
        said.append((left, _logits(model, trained, rows.take(spoken))))
    logits = np.zeros((len(y), said[0][1].shape[1]))
    for left, each in said:
        logits[left] = each[: len(left)]
        logits[others] += each[len(left) :] / len(said)
    return logits


def folds(train: Index) -> Iterator[tuple[Index, Index]]:
    """(trained on, spoken about) for each fold; every training row is spoken about once."""
    order = np.random.default_rng(0).permutation(train)
    parts = np.array_split(order, FOLDS)
    for number, part in enumerate(parts):
        yield np.concatenate([p for k, p in enumerate(parts) if k != number]), part


def frozen_of(adapter: Adapter, arrays: Arrays) -> bytes:
    """The frozen half of an adapter, as its bench takes it."""
    layout = frozen_layout(adapter)
    half = {name: arrays[name] for name, _ in layout}
    return pack(half, layout, EXACT, np.random.default_rng(0)) if layout else b""


def drawn(adapter: Adapter) -> dict[str, Array]:
    """A fresh frozen half: normal with the variance of one over its inputs."""
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(0.0, shape[1] ** -0.5, shape).astype(np.float32)
        for name, shape in frozen_layout(adapter)
    }


def _logits(model: Model[Any], arrays: Arrays, rows: HiddenRows) -> Float64s:
    return np.log(np.maximum(model.predict(arrays, rows), np.exp(LOWEST)))
