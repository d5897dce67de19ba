"""What a box does differently for each kind of model: the one place that chooses by kind.

A bench is a model ready to train on this box. All else (rows, rounds, packing) is the same for all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.backends.chosen import Workbench, circuit_of, workbench
from edge_client.circuit.backends.machine import check_installed
from edge_client.circuit.classifier import classifier_model
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from edge_client.model import Features, Model, Parts
from edge_client.requests import Assignment
from proto.adapter import Adapter
from proto.hybrid import Hybrid
from proto.messages import Task
from quantization import moments
from quantization.arrays import Array, Arrays
from quantization.pack import unpack
from quantization.scheme import EXACT

if TYPE_CHECKING:
    from edge_client.hybrid.bench import HybridBench


class Start(NamedTuple):
    """What one piece of work starts from: a hash that names it, and a seed for its draws."""

    turn: bytes
    seed: int
    steps: int = 0
    seconds: float = float("inf")


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

    @property
    def personal(self) -> int:
        """Steps for an adapter of this box's own, after the last round; 0 makes none."""

    @property
    def probe(self) -> int:
        """Training rows on which losses are told, 0 for all: where a forward pass costs much."""

    def cut(self, arrays: Arrays) -> Arrays:
        """The received arrays, cut to this box's rank."""

    @property
    def teacher_loss(self) -> float | None:
        """Of the task's teacher on the validation rows, in nats; None where there is none."""

    def rows(self, table: Table, parts: Parts | None = None) -> Features:
        """What `model.prepare` takes: one entry for each row of a table in the task's columns.

        parts: which rows serve for what, where a teacher is asked.
        """

    def close(self) -> None: ...


def check_ready(task: Task, limits: Limits) -> None:
    """Raises QfleetError where this box lacks what the task's kind needs."""
    if not isinstance(task.model, Adapter):
        check_installed(task.execution.backend)
        if isinstance(task.model, Hybrid):
            from edge_client.hybrid.bench import check_hybrid_ready  # noqa: PLC0415 - heavy

            check_hybrid_ready(task.model, limits)
        return
    from edge_client.adapter.bench import check_adapter_ready  # noqa: PLC0415 - heavy

    check_adapter_ready(task.model, limits, task.training.batch)


def bench_of(request: Assignment, task: Task, start: Start) -> Bench:
    """The bench for one piece of work. Raises QfleetError where this box cannot do it."""
    if not isinstance(task.model, Adapter):
        found = workbench(task, request.quantum, request.home, start.turn, start.seed)
        if isinstance(task.model, Hybrid):
            return _hybrid(task, request.features, found, _site(request, start))
        return CircuitBench(task, request.features, found)
    from edge_client.adapter.bench import AdapterBench, Site  # noqa: PLC0415 - heavy

    home, limits, _ = _site(request, start)
    steps = start.steps or task.model.personal
    whole, batch = not start.steps, task.training.batch
    site = Site(limits, home, steps, batch, start.seconds, whole)
    return AdapterBench(task.model, request.features, site)


def columns_of(request: Assignment, task: Task, start: Start, table: Table) -> NDArray[np.float64]:
    """What the fleet's feature map is fitted on, (rows, columns). Raises QfleetError."""
    if not isinstance(task.model, Hybrid):
        return table.X
    return _hybrid(task, b"", _circuit(task), _site(request, start)).columns(table)


def predictor_of(
    task: Task,
    features: bytes,
    limits: Limits | None = None,
    engine: str = "onnx",
    home: Path | None = None,
) -> Bench:
    """A bench that only predicts; an adapter by onnxruntime or by llama.cpp ("llama").

    home: where what a base model has read is kept, if it shall be.
    """
    if not isinstance(task.model, Adapter):
        if isinstance(task.model, Hybrid):
            where = home, limits or Limits(), float("inf")
            return _hybrid(task, features, _circuit(task), where)
        return CircuitBench(task, features, _circuit(task))
    from edge_client.adapter.bench import AdapterBench, Site  # noqa: PLC0415

    if engine == "llama":
        from edge_client.adapter.llama import LlamaBench  # noqa: PLC0415

        return LlamaBench(task.model, features, limits or Limits())
    return AdapterBench(task.model, features, Site(limits or Limits(), home))


def _circuit(task: Task) -> Workbench:
    """The circuit on this box's own engine, without a teacher."""
    return Workbench(classifier_model(circuit_of(task)), None, None)


def _site(request: Assignment, start: Start) -> tuple[Path | None, Limits, float]:
    """The box's folder, what its owner allows, and the seconds there are."""
    return (Path(request.home) if request.home else None), request.adapter, start.seconds


def _hybrid(
    task: Task, features: bytes, found: Workbench, site: tuple[Path | None, Limits, float]
) -> "HybridBench":
    from edge_client.adapter.bench import Site  # noqa: PLC0415 - heavy
    from edge_client.hybrid.bench import HybridBench  # noqa: PLC0415

    home, limits, seconds = site
    return HybridBench(task, features, found, Site(limits, home, seconds=seconds))


@dataclass(frozen=True, slots=True)
class CircuitBench:
    """A circuit, and the fleet's feature map before it."""

    task: Task
    features: bytes
    bench: Workbench
    rank: int = 0
    probe: int = 0
    personal: int = 0
    teacher_loss: float | None = None

    @property
    def model(self) -> Model[Any]:
        return self.bench.model

    @property
    def shots(self) -> int:
        return self.bench.shots

    def cut(self, arrays: Arrays) -> Arrays:
        return arrays

    def rows(self, table: Table, parts: Parts | None = None) -> Features:  # noqa: ARG002
        return features_of(self.task, table.X, self.features)

    def close(self) -> None:
        self.bench.close()


def features_of(task: Task, X: NDArray[np.float64], packed: bytes) -> Array:
    """Rows in columns to rows in features, by the fleet's feature map when the task has one."""
    if not task.data.components:
        return X.astype(np.float32)
    layout = moments.feature_layout(len(task.data.columns), task.data.components)
    return moments.feature_map(unpack(packed, layout, EXACT)).apply(X)
