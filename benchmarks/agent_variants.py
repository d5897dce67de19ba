"""Students that stand in the agent's table alone: other ways to read the same words.

    python benchmarks/agent_variants.py DECISIONS...

`linear-words` adds TF-IDF of words, pairs and pieces of words to the linear student's numbers;
`linear-trunk` and `gbm-trunk` add what the language model's first blocks make of the text: the mean
of its states, along the axes on which the training texts differ most. All learn the same targets
from the same decisions as `coordinator distill`'s; what was learned lies beside the suites.
"""

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.boost import boosted, terms_of
from coordinator.decisionsfile import read_all
from coordinator.distill import CLOSE, Examples, Floats, newton, split
from coordinator.jobstate import JobState
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.features import BESIDE, Features, beside, features
from coordinator.selection.forest import Tree
from coordinator.selection.linear import chance
from coordinator.selection.plan import field_of
from coordinator.selection.request import Request
from coordinator.selection.terms import Terms, text_of, values
from quantization.runtime.model import open_model
from quantization.runtime.sessions import open_trunk

SUITES = Path(__file__).parent / "suites"
VARIANTS = ("linear-words", "linear-trunk", "gbm-trunk")
BASE, BLOCKS, TOKENS = "smollm2-135m", 12, 64
"""The model, how many of its blocks read, and how much of a text they are given."""
AXES = 16
FIGURES = re.compile(r"\d+(?:[.,]\d+)*")
RIDGE = 3.0
MOST = 6.0


class Axes(Struct, frozen=True):
    """Where texts differ: states less `mean`, along rows of `rows`, each of variance 1."""

    mean: list[float]
    rows: list[list[float]]


class Learned(Struct, frozen=True):
    """A variant: a linear one has weights, the other trees."""

    terms: Terms | None = None
    axes: Axes | None = None
    mean: list[float] = []
    scale: list[float] = []
    weights: list[float] = []
    trees: list[Tree] = []
    bias: float = 0.0


class Variant:
    """Scores boxes as a policy's advisor."""

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        self._read: dict[str, list[float]] = {}

    def thinking(self, _state: JobState, _now: float) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open for one fleet alone."""

    def advise(
        self, _state: JobState, candidates: Sequence[Candidate], request: Request, _now: float
    ) -> Advice:
        covered = field_of(candidates, request).covered
        told = beside([features(c, request) for c in covered])
        texts = [text_of(c.resources.note, c.resources.journal) for c in covered]
        return Advice(
            scores={
                c.box: chance(self._odds(numbers, text))
                for c, numbers, text in zip(covered, told, texts, strict=True)
            }
        )

    def _odds(self, told: Features, text: str) -> float:
        known = self._learned
        if text not in self._read:
            self._read[text] = reading(known.terms, known.axes)([text])[0].tolist()
        row = [told.get(name) for name in BESIDE] + self._read[text]
        if known.trees:
            return known.bias + sum(tree.of(row) for tree in known.trees)
        numbers = np.array([np.nan if x is None else x for x in row])
        return (
            float(standard(numbers, known.mean, known.scale) @ np.array(known.weights)) + known.bias
        )


def reading(terms: Terms | None, axes: Axes | None) -> Callable[[Sequence[str]], Floats]:
    """What makes columns of texts (texts, columns)."""
    if terms is not None:
        return lambda texts: np.array([values(terms, text) for text in texts])
    assert axes is not None
    middle, rows = np.array(axes.mean), np.array(axes.rows)
    return lambda texts: np.array([_along(state(text), middle, rows) for text in texts])


def _along(found: Floats, middle: Floats, rows: Floats) -> Floats:
    """Zeros for a text without words, which has no state."""
    return np.asarray((found - middle) @ rows.T if found.size > 1 else np.zeros(len(rows)))


@cache
def trunk() -> Any:
    held = ExitStack()
    model = held.enter_context(open_model(BASE))
    return held, open_trunk(model, model.facts.blocks - BLOCKS)


def state(text: str) -> Floats:
    """The mean of a text's lines (width,), each with 0 for its figures: so many lines are alike."""
    lines = [line for line in FIGURES.sub("0", text).split(" ; ") if line.strip()]
    return np.mean([line_state(line) for line in lines], axis=0) if lines else np.zeros(1)


@cache
def line_state(line: str) -> Floats:
    """The mean of its tokens' hidden states (width,)."""
    _, read = trunk()
    ids = read.model.tokens.encode(line, begin=True)[:TOKENS]
    return np.asarray(read.run(np.array([ids], np.int64))[0, 1:].mean(axis=0), np.float64)


def axes_of(texts: Sequence[str]) -> Axes:
    """Principal axes of the texts that say something."""
    told = [text for text in texts if text.strip(" ;")]
    known = {text: state(text) for text in sorted(set(told))}
    table = np.array([known[text] for text in told])
    middle = table.mean(axis=0)
    _, size, rows = np.linalg.svd(table - middle, full_matrices=False)
    rows = rows[:AXES] / (size[:AXES, None] / np.sqrt(len(told)))
    return Axes(np.round(middle, 4).tolist(), np.round(rows, 6).tolist())


def standard(rows: Floats, mean: Sequence[float], scale: Sequence[float]) -> Floats:
    return np.clip(np.nan_to_num((rows - np.array(mean)) / np.array(scale)), -MOST, MOST)


def learn(name: str, examples: Examples) -> Learned:
    """A variant by its name."""
    terms = terms_of(examples) if name.endswith("words") else None
    axes = None if terms else axes_of(examples.texts)
    read = reading(terms, axes)
    columns = {text: read([text])[0] for text in set(examples.texts)}
    rows = np.hstack([examples.values, np.array([columns[text] for text in examples.texts])])
    if name.startswith("gbm"):
        bias, trees = boosted(rows, examples.wanted)
        return Learned(terms, axes, trees=trees, bias=bias)
    known = ~np.isnan(rows)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0.0).sum(axis=0) / counts
    spread = np.sqrt((np.where(known, rows - mean, 0.0) ** 2).sum(axis=0) / counts)
    scale = np.where(spread > CLOSE, spread, 1.0)
    X = standard(rows, mean.tolist(), scale.tolist())
    found = newton(X, examples.wanted, np.full(X.shape[1], RIDGE))
    figures = [np.round(part, 6).tolist() for part in (mean, scale, found[:-1])]
    return Learned(terms, axes, *figures, bias=float(found[-1]))


def variant_of(file: Path, _emulation: object = None) -> Variant:
    """An advisor of one fleet."""
    return Variant(msgspec.json.decode(file.read_bytes(), type=Learned))


def main() -> None:
    _, decisions = read_all([*map(Path, sys.argv[1:])])
    train, _ = split(decisions)
    for name in VARIANTS:
        (SUITES / f"{name}.json").write_bytes(msgspec.json.encode(learn(name, train)) + b"\n")
        print(name)


if __name__ == "__main__":
    main()
