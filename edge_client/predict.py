"""Prediction on the box with the fleet's newest model: rows in, class names and chances out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client import newest
from edge_client.circuit.classifier import classifier_model
from edge_client.columns import load_features
from edge_client.labour import features_of
from edge_client.personal import is_trained, with_head
from proto.circuit import classifier_layout
from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.messages import Task
from quantization.pack import unpack
from quantization.scheme import EXACT


@dataclass(frozen=True, slots=True)
class Predictor:
    """One job's newest model, ready."""

    job: str
    round: int
    task: Task
    held: newest.Newest
    home: Path

    def probabilities(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows (rows, columns) in the task's columns to (rows, classes)."""
        model = classifier_model(self.task.model)
        received = unpack(self.held.model, classifier_layout(self.task.model), EXACT)
        arrays = with_head(str(self.home), self.task, received)
        prepared = model.prepare(features_of(self.task, X, self.held.features))
        return model.predict(arrays, prepared)


def predictor(home: Path, job: str) -> Predictor:
    """The newest model of a job. Raises ConfigError where none has arrived."""
    name, held = newest.load(home, job)
    task = decode_signed(held.task, Task)
    if not is_trained(str(home), task):
        text = f"{name} gives each box a head of its own; this box gets its in its first round"
        raise ConfigError(text)
    return Predictor(name, held.round, task, held, home)


def predict_file(found: Predictor, source: str) -> list[tuple[str, float]]:
    """Class name and its probability for each row of a .csv or .npz file."""
    table = load_features(source, found.task.data.columns)
    chances = found.probabilities(table)
    best = chances.argmax(axis=1)
    classes = found.task.data.classes
    return [(classes[k], float(row[k])) for k, row in zip(best, chances, strict=True)]
