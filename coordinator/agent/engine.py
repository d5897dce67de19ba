"""The agent's model, open: the base up to where the adapter ends, the adapter, what runs them.

llama.cpp where it is installed, else onnxruntime: one way to ask for both. Without the base model
there is no agent, and the error says how to get it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coordinator.selection.features import COLUMNS
from coordinator.selection.progress import WORDS as PROGRESS
from coordinator.selection.prompt import AIMS, JOIN, LABELS, STEPS
from coordinator.selection.weights import Weights
from coordinator.weightsfile import AGAIN, read_weights
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
SURE = 1e-6
"""A chance counts as at least so far from 0 and 1."""


class Answer(NamedTuple):
    """What the logits say."""

    join: float
    """The chance of " yes" against " no"."""
    steps: tuple[float, ...]
    """The chance of each class of steps."""
    aims: tuple[float, ...] = ()
    """What each of AIMS counts, 1 in all; of use where that was the question."""

    @property
    def odds(self) -> float:
        """Of `join`, in nats."""
        kept = min(1 - SURE, max(SURE, self.join))
        return math.log(kept / (1 - kept))


@dataclass(frozen=True, slots=True)
class Mind:
    """An open agent."""

    model: Model
    scorer: Scorer
    engine: str
    judge: Weights | None = None
    """Who judges the boxes' numbers; the model's log-odds of their words are added to its own."""
    stopper: Weights | None = None
    """Who judges whether a job has learned enough; else the model is asked."""

    def answer(self, prefix: str, questions: Sequence[str]) -> list[Answer]:
        """One answer for each question. Raises ConfigError, LocalError."""
        return answers_of(label_log_probabilities(self.scorer, self.model, prefix, questions))

    def length(self, question: str) -> int:
        """Tokens of a question."""
        return len(self.model.tokens.encode(question, begin=False))


def judge_beside(adapter: Path) -> Path:
    """Where the judge of numbers lies that an adapter was taught to go with."""
    return adapter.with_suffix(".judge.json")


def stop_beside(adapter: Path) -> Path:
    """Where the regression on progress lies that goes with an adapter."""
    return adapter.with_suffix(".stop.json")


def beside(adapter: Path) -> tuple[Weights | None, Weights | None]:
    """Its judge and what says when to stop, each where there is one. Raises ConfigError."""
    stop = _linear(stop_beside(adapter), tuple(PROGRESS))
    return _linear(judge_beside(adapter), COLUMNS), stop


def _linear(path: Path, names: Sequence[str]) -> Weights | None:
    """None where there is no such file. Raises ConfigError."""
    found = read_weights(path, names) if path.is_file() else None
    if found is not None and not isinstance(found, Weights):
        raise ConfigError(f"{path} is no linear student; {AGAIN}")
    return found


def answers_of(logp: Array) -> list[Answer]:
    """From log-probabilities of LABELS (texts, labels): each group of labels by itself."""
    join, steps, aims = np.split(logp, [len(JOIN), len(JOIN) + len(STEPS)], axis=1)
    return [
        Answer(float(row[1]), tuple(map(float, paces)), tuple(map(float, counts)))
        for row, paces, counts in zip(_chances(join), _chances(steps), _chances(aims), strict=True)
    ]


def prices_of(answer: Answer) -> dict[str, float]:
    """What an objective counts, by name, 1 in all."""
    return dict(zip(AIMS, answer.aims, strict=True))


def _chances(logp: Array) -> Array:
    parts = np.exp(logp.astype(np.float64) - logp.max(axis=1, keepdims=True))
    found: Array = parts / parts.sum(axis=1, keepdims=True)
    return found


@contextmanager
def open_mind(adapter: str = "", engine: Engine = "auto", base: str = BASE) -> Iterator[Mind]:
    """The agent of an adapter's file, or the one that ships with the package.

    Raises ConfigError where extra, base model or adapter are missing or do not fit.
    """
    path = Path(adapter) if adapter else SHIPPED
    with open_model(base) as model:
        held = read_adapter(path, model.facts, model.sha256)
        judge, stopper = beside(path)
        short = shortened(model, held.first + held.blocks)
        labels = [model.tokens.single(word) for word in LABELS]
        taken = chosen(engine)
        # llama.cpp rounds activations by the batch: one by one, an answer is its question's alone.
        with open_scorer(short, labels, engine, 1 if taken == "llama" else TOGETHER) as scorer:
            scorer.adapt(held)
            yield Mind(short, scorer, taken, judge, stopper)
