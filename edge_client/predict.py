"""Prediction on the box with the fleet's newest model: rows in, class names and chances out.

A model that arrives meanwhile is taken up before the next answer.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client import newest, ownhead, personal, texts
from edge_client.columns import load_features
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from edge_client.kinds import Bench, predictor_of
from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.messages import Task
from proto.models import model_layout
from quantization.arrays import Arrays
from quantization.pack import unpack
from quantization.scheme import EXACT

Answer = tuple[str, float]
"""A class and its probability."""


class Predictor:
    """One job's newest model, ready."""

    def __init__(
        self, home: Path, job: str, limits: Limits | None = None, engine: str = "onnx"
    ) -> None:
        """Raises ConfigError where no model has arrived."""
        self._home, self._limits, self._engine = home, limits or Limits(), engine
        self.job, self.held = newest.load(home, job)
        self._mark = newest.mark(home, self.job)
        self._take_up()

    @property
    def round(self) -> int:
        return self.held.round

    def refresh(self) -> bool:
        """Take up what has arrived since; whether there was anything."""
        mark = newest.mark(self._home, self.job)
        if mark == self._mark:
            return False
        self._mark = mark
        _, held = newest.load(self._home, self.job)
        same = (held.task, held.features) == (self.held.task, self.held.features)
        self.held = held
        self._take_up(self._bench if same else None)
        return True

    def probabilities(
        self, X: NDArray[np.float64], rows: tuple[str, ...] = ()
    ) -> NDArray[np.float64]:
        """Rows (rows, columns) in the task's columns, and their texts, to (rows, classes)."""
        data, model = self.task.data, self._bench.model
        table = Table(X, np.zeros(len(X), np.int64), data.columns, data.classes, rows)
        return model.predict(self._arrays, model.prepare(self._bench.rows(table)))

    def answers(self, X: NDArray[np.float64], rows: tuple[str, ...] = ()) -> list[Answer]:
        """The likeliest class of each row."""
        chances = self.probabilities(X, rows)
        best = chances.argmax(axis=1)
        classes = self.task.data.classes
        return [(classes[k], float(row[k])) for k, row in zip(best, chances, strict=True)]

    def _open(self) -> Bench:
        return predictor_of(self.task, self.held.features, self._limits, self._engine)

    def _take_up(self, bench: Bench | None = None) -> None:
        """The held model's arrays; the engine goes on where only they are new."""
        self.task = decode_signed(self.held.task, Task)
        if not ownhead.is_trained(str(self._home), self.task):
            text = "gives each box a head of its own, and this box gets its in its first round"
            raise ConfigError(f"{self.job} {text}")
        self._bench = bench or self._open()
        model = personal.better(self._home, self.job, self.held.model)
        arrays = unpack(model, model_layout(self.task.model), EXACT)
        self._arrays: Arrays = ownhead.with_head(str(self._home), self.task, arrays)


def predictor(
    home: Path, job: str, limits: Limits | None = None, engine: str = "onnx"
) -> Predictor:
    """The newest model of a job. Raises ConfigError where none has arrived."""
    return Predictor(home, job, limits, engine)


def predict_file(found: Predictor, source: str) -> list[Answer]:
    """An answer for each row of a .csv or .npz file, or of a text table, labelled or not."""
    spec = found.task.data
    if not spec.text:
        return found.answers(load_features(source, spec.columns))
    rows, numbers = [], []
    for number, cells in texts.read(source, spec.text):
        where = f"{source} line {number}"
        rows.append(texts.text_of(where, cells, spec.text))
        numbers.append(texts.numbers_of(where, cells, spec.columns))
    if not rows:
        raise ConfigError(f"{source}: there are no rows")
    X = np.array(numbers, np.float64).reshape(len(rows), len(spec.columns))
    return found.answers(X, tuple(rows))


def predict_stream(found: Predictor, lines: Iterable[str]) -> Iterator[tuple[str, Answer]]:
    """An answer for each line as it comes; empty lines have none.

    Raises ConfigError for a task that reads no text or more than the text, and for a long line.
    """
    check_text_alone(found)
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if len(text) > texts.MAX_TEXT:
            raise ConfigError(f"a line of {len(text)} characters; {texts.MAX_TEXT} are accepted")
        found.refresh()
        yield text, found.answers(np.empty((1, 0)), (text,))[0]


def check_text_alone(found: Predictor) -> None:
    """Raises ConfigError unless a text is all that the task's model reads."""
    spec = found.task.data
    if not spec.text or spec.columns:
        columns = ", ".join((*spec.columns, spec.text) if spec.text else spec.columns)
        raise ConfigError(f"{found.job} reads {columns}: give a file with these columns")
