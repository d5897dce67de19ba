"""The agent's model, open: the base up to where the adapter ends, the adapter, what runs them.

llama.cpp where it is installed, else onnxruntime: one way to ask for both. Without the base model
there is no agent, and the error says how to get it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coordinator.selection.prompt import JOIN, LABELS
from coordinator.selection.weights import Weights
from coordinator.weightsfile import read_weights
from proto.errors import ConfigError
from quantization.adapters.files import read_adapter
from quantization.arrays import Array
from quantization.runtime.model import Model, open_model, shortened
from quantization.runtime.scoring import (
    TOGETHER,
    Engine,
    Scorer,
    chosen,
    label_log_probabilities,
    open_scorer,
)

BASE = "smollm2-135m"
SHIPPED = Path(__file__).with_name("agent.gguf")


class Answer(NamedTuple):
    """What the logits say."""

    join: float
    """The chance of " yes" against " no"."""
    steps: tuple[float, ...]
    """The chance of each class of steps."""


@dataclass(frozen=True, slots=True)
class Mind:
    """An open agent."""

    model: Model
    scorer: Scorer
    engine: str
    gauge: Weights | None = None
    """The linear student whose verdicts its questions tell."""

    def answer(self, prefix: str, questions: Sequence[str]) -> list[Answer]:
        """One answer for each question. Raises ConfigError, LocalError."""
        return answers_of(label_log_probabilities(self.scorer, self.model, prefix, questions))

    def length(self, question: str) -> int:
        """Tokens of a question."""
        return len(self.model.tokens.encode(question, begin=False))


def gauge_beside(adapter: Path) -> Path:
    """Where the linear student of an adapter's questions lies."""
    return adapter.with_suffix(".linear.json")


def answers_of(logp: Array) -> list[Answer]:
    """From log-probabilities of LABELS (texts, labels): each group of labels by itself."""
    join, steps = logp[:, : len(JOIN)], logp[:, len(JOIN) :]
    yes = 1 / (1 + np.exp(np.clip(join[:, 0] - join[:, 1], -50, 50)))
    parts = np.exp(steps - steps.max(axis=1, keepdims=True))
    parts /= parts.sum(axis=1, keepdims=True)
    return [
        Answer(float(chance), tuple(map(float, row)))
        for chance, row in zip(yes, parts, strict=True)
    ]


@contextmanager
def open_mind(adapter: str = "", engine: Engine = "auto", base: str = BASE) -> Iterator[Mind]:
    """The agent of an adapter's file, or the one that ships with the package.

    Raises ConfigError where extra, base model or adapter are missing or do not fit.
    """
    path = Path(adapter) if adapter else SHIPPED
    with open_model(base) as model:
        held = read_adapter(path, model.facts, model.sha256)
        beside = gauge_beside(path)
        gauge = read_weights(beside) if beside.is_file() else None
        if gauge is not None and not isinstance(gauge, Weights):
            raise ConfigError(f"{beside} is no linear student")
        short = shortened(model, held.first + held.blocks)
        labels = [model.tokens.single(word) for word in LABELS]
        taken = chosen(engine)
        # llama.cpp rounds activations by the batch: one by one, an answer is its question's alone.
        with open_scorer(short, labels, engine, 1 if taken == "llama" else TOGETHER) as scorer:
            scorer.adapt(held)
            yield Mind(short, scorer, taken, gauge)
