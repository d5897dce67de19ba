"""What a box does differently for each kind of model: the one place that chooses by kind.

A bench is a model ready to train on this box. All else (rows, rounds, packing) is the same for all.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.backends.chosen import Workbench, circuit_of, workbench
from edge_client.circuit.backends.machine import check_installed
from edge_client.circuit.classifier import classifier_model
from edge_client.dataset import Table
from edge_client.model import Features, Model
from edge_client.requests import Assignment
from proto.errors import LocalError
from proto.messages import Task
from proto.models import kind_of
from quantization import moments
from quantization.arrays import Array, Arrays
from quantization.pack import unpack
from quantization.scheme import EXACT


class Start(NamedTuple):
    """What one piece of work starts from: a hash that names it, and a seed for its draws."""

    turn: bytes
    seed: int


class Bench(Protocol):
    """A model on this box."""

    @property
    def model(self) -> Model[Any]: ...

    @property
    def rank(self) -> int:
        """The rank this box trains where that is not the task's, else 0."""

    @property
    def shots(self) -> int:
        """Measurements made so far."""

    def cut(self, arrays: Arrays) -> Arrays:
        """The received arrays, cut to this box's rank."""

    def rows(self, table: Table) -> Features:
        """What `model.prepare` takes: one entry for each row of a table in the task's columns."""

    def close(self) -> None: ...


def check_ready(task: Task) -> None:
    """Raises QfleetError where this box lacks what the task's kind needs."""
    if kind_of(task.model) == "circuit":
        check_installed(task.execution.backend)
    else:
        raise LocalError("this release trains no adapters yet")


def bench_of(request: Assignment, task: Task, start: Start) -> Bench:
    """The bench for one piece of work. Raises QfleetError where this box cannot do it."""
    if kind_of(task.model) == "circuit":
        found = workbench(task, request.quantum, request.home, start.turn, start.seed)
        return CircuitBench(task, request.features, found)
    raise LocalError("this release trains no adapters yet")


def predictor_of(task: Task, features: bytes) -> Bench:
    """A bench that only predicts."""
    if kind_of(task.model) == "circuit":
        return CircuitBench(
            task, features, Workbench(classifier_model(circuit_of(task)), None, None)
        )
    raise LocalError("this release trains no adapters yet")


@dataclass(frozen=True, slots=True)
class CircuitBench:
    """A circuit, and the fleet's feature map before it."""

    task: Task
    features: bytes
    bench: Workbench
    rank: int = 0

    @property
    def model(self) -> Model[Any]:
        return self.bench.model

    @property
    def shots(self) -> int:
        return self.bench.shots

    def cut(self, arrays: Arrays) -> Arrays:
        return arrays

    def rows(self, table: Table) -> Features:
        return features_of(self.task, table.X, self.features)

    def close(self) -> None:
        self.bench.close()


def features_of(task: Task, X: NDArray[np.float64], packed: bytes) -> Array:
    """Rows in columns to rows in features, by the fleet's feature map when the task has one."""
    if not task.data.components:
        return X.astype(np.float32)
    layout = moments.feature_layout(len(task.data.columns), task.data.components)
    return moments.feature_map(unpack(packed, layout, EXACT)).apply(X)
