"""Prediction on the box with the fleet's newest model: rows in, class names and chances out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client import newest
from edge_client.columns import load_features
from edge_client.dataset import Table
from edge_client.kinds import predictor_of
from proto.codec import decode_signed
from proto.messages import Task
from proto.models import model_layout
from quantization.pack import unpack
from quantization.scheme import EXACT


@dataclass(frozen=True, slots=True)
class Predictor:
    """One job's newest model, ready."""

    job: str
    round: int
    task: Task
    held: newest.Newest

    def probabilities(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows (rows, columns) in the task's columns to (rows, classes)."""
        data, bench = self.task.data, predictor_of(self.task, self.held.features)
        arrays = unpack(self.held.model, model_layout(self.task.model), EXACT)
        table = Table(X, np.zeros(len(X), np.int64), data.columns, data.classes)
        return bench.model.predict(arrays, bench.model.prepare(bench.rows(table)))


def predictor(home: Path, job: str) -> Predictor:
    """The newest model of a job. Raises ConfigError where none has arrived."""
    name, held = newest.load(home, job)
    return Predictor(name, held.round, decode_signed(held.task, Task), held)


def predict_file(found: Predictor, source: str) -> list[tuple[str, float]]:
    """Class name and its probability for each row of a .csv or .npz file."""
    table = load_features(source, found.task.data.columns)
    chances = found.probabilities(table)
    best = chances.argmax(axis=1)
    classes = found.task.data.classes
    return [(classes[k], float(row[k])) for k, row in zip(best, chances, strict=True)]
