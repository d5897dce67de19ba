"""Answers by llama.cpp: the whole model on the GGUF's own blocks, with the fleet's adapter on top.

It rounds activations to 8 bits on the way: decisions agree with the training engine's in 99 of 100.
"""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.adapter.bench import AdapterBench, Site
from edge_client.adapter.engine import engine_of
from edge_client.adapter.prompts import lists
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from edge_client.model import Features, Labels, Model, Parts
from proto.adapter import Adapter
from proto.errors import LocalError
from quantization.adapters.lora import Adapter as Lora
from quantization.arrays import Array, Arrays
from quantization.runtime.scoring import Scorer, open_scorer


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts as token lists."""

    tokens: list[list[int]]

    @property
    def rows(self) -> int:
        return len(self.tokens)

    def take(self, index: NDArray[np.intp]) -> "Prompts":
        return Prompts([self.tokens[row] for row in index.tolist()])


class LlamaBench:
    """A bench (see `edge_client/kinds.py`) that only answers. Raises ConfigError without it."""

    rank = shots = probe = personal = 0
    teacher_loss = None

    def __init__(self, adapter: Adapter, frozen: bytes, limits: Limits) -> None:
        self._adapter = adapter
        self._inner = AdapterBench(adapter, frozen, Site(limits, None))
        self._base = engine_of(adapter, limits).model
        labels = [self._base.tokens.single(answer) for answer in adapter.answers]
        self._files = ExitStack()
        self._scorer: Scorer = self._files.enter_context(open_scorer(self._base, labels, "llama"))
        self._loaded = b""

    @property
    def model(self) -> Model[Prompts]:
        return Model(_no_training, lambda ids: Prompts(lists(ids)), _no_gradient, self._predict)

    def cut(self, arrays: Arrays) -> Arrays:
        return arrays

    def rows(self, table: Table, parts: Parts | None = None) -> Features:
        return self._inner.rows(table, parts)

    def close(self) -> None:
        self._files.close()

    def _predict(self, arrays: Arrays, rows: Prompts) -> NDArray[np.float64]:
        self._adapt(arrays)
        logits = self._scorer.logits([], rows.tokens).astype(np.float64)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def _adapt(self, arrays: Arrays) -> None:
        """Load the adapter, unless it is the one in use."""
        spec, known = self._adapter, hashlib.sha256()
        for name in sorted(arrays):
            known.update(arrays[name].tobytes())
        if known.digest() != self._loaded:
            first = self._base.facts.blocks - spec.blocks
            lora = Lora(self._inner.lora(arrays), first, spec.alpha, spec.base.hex())
            self._scorer.adapt(lora)
            self._loaded = known.digest()


def _no_training(_rng: Any) -> dict[str, Array]:
    raise LocalError("llama.cpp answers; it does not train")


def _no_gradient(_arrays: Arrays, _rows: Prompts, _labels: Labels) -> Any:
    raise LocalError("llama.cpp answers; it does not train")
