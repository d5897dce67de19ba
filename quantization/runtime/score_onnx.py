"""Scoring by onnxruntime, block by block, on the GGUF's own 4-bit blocks, exactly."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.adapters.lora import Adapter, check
from quantization.arrays import Array
from quantization.graphs.spec import Spec
from quantization.runtime.model import Model
from quantization.runtime.scoring import TOGETHER
from quantization.runtime.sessions import open_block, open_session, padded


@dataclass(slots=True)
class OnnxScorer:
    """The whole model, a session for each block."""

    model: Model
    sessions: list[Any]
    head: Array
    adapter: Adapter | None = None
    together: int = TOGETHER

    def adapt(self, adapter: Adapter | None) -> None:
        """Feed another adapter's arrays from now on, or none."""
        if adapter is not None:
            check(adapter, self.model.facts.shape, self.model.facts.blocks)
        self.adapter = adapter

    def logits(self, prefix: list[int], texts: Sequence[list[int]]) -> Array:
        """Log-probabilities, normalised over the labels: (texts, labels)."""
        past = self._prefix(prefix) if prefix else None
        found = [np.zeros((0, len(self.head)), np.float32)]
        for start in range(0, len(texts), self.together):
            ids, last = padded(list(texts[start : start + self.together]))
            hidden = self.model.embed(ids)
            for number, session in enumerate(self.sessions[:-1]):
                hidden = self._run(session, "out", self._feed(number, hidden, past))
            feed = self._feed(len(self.sessions) - 1, hidden, past)
            feed |= {"last": last, "head": self.head}
            found.append(self._run(self.sessions[-1], "logp", feed))
        return np.concatenate(found)

    def _prefix(self, prefix: list[int]) -> list[Array]:
        """Keys and values of the prefix, block by block."""
        ids, last = padded([prefix])
        hidden, past = self.model.embed(ids), []
        for number, session in enumerate(self.sessions[:-1]):
            feed = self._feed(number, hidden, None)
            hidden, present = session.run(["out", "present"], feed)
            past.append(present)
        feed = self._feed(len(self.sessions) - 1, hidden, None) | {"last": last, "head": self.head}
        return [*past, self._run(self.sessions[-1], "present", feed)]

    def _feed(self, number: int, hidden: Array, past: list[Array] | None) -> dict[str, Any]:
        feed: dict[str, Any] = {"hidden": hidden}
        if past is not None:
            feed["past"] = past[number]
        if self.adapter is not None and number >= self.adapter.first:
            place = number - self.adapter.first
            if place < self.adapter.blocks:
                feed |= {name: a[place : place + 1] for name, a in self.adapter.arrays.items()}
                feed["scale"] = np.array([self.adapter.scale], np.float32)
        return feed

    @staticmethod
    def _run(session: Any, output: str, feed: dict[str, Any]) -> Array:
        found: Array = session.run([output], feed)[0]
        return found


@contextmanager
def open_onnx(model: Model, labels: list[int], together: int = TOGETHER) -> Iterator[OnnxScorer]:
    """All blocks. Raises ConfigError where a graph is missing."""
    lower = [open_block(model, number) for number in range(model.facts.blocks - 1)]
    last = open_session(model, Spec("last", 1, model.facts.shape), model.facts.blocks - 1)
    yield OnnxScorer(model, [*lower, last], model.head(labels), together=together)
