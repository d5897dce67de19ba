"""What the coordinator does differently for each kind of model: the one place that chooses."""

import numpy as np

from coordinator.taskadapter import AdapterModel, adapter_of
from coordinator.taskhybrid import HybridModel, hybrid_of
from coordinator.taskmodel import Model as CircuitModel
from coordinator.taskmodel import classifier_of
from proto.adapter import Adapter
from proto.errors import ConfigError
from proto.messages import DataSpec, Execution, Task
from proto.models import Model, check_model, classes_of, kind_of, model_layout, shared_layout
from quantization.arrays import Array, Layout, draw, size, unflatten
from quantization.pack import pack
from quantization.scheme import EXACT

SPREAD = 0.3
"""A first circuit's numbers are uniform in ±SPREAD."""

ModelTable = CircuitModel | AdapterModel | HybridModel
"""The `[model]` table, by its key `kind`."""


def model_of(table: ModelTable, data: DataSpec, taught: Adapter | None = None) -> Model:
    """The model a task file names; `taught` is its teacher's adapter. Raises ConfigError."""
    if not isinstance(table, CircuitModel) and not data.text:
        raise ConfigError("adapters and hybrids read text: name its column in data.text")
    if isinstance(table, HybridModel):
        return hybrid_of(table, data.components, len(data.classes), taught)
    if isinstance(table, AdapterModel):
        if data.components:
            raise ConfigError("data.components is for circuits: 0 for an adapter")
        return adapter_of(table, len(data.classes))
    if data.text:
        raise ConfigError('data.text is for model.kind = "adapter" or "hybrid"')
    return classifier_of(table, data.components or len(data.columns), len(data.classes))


def execution_of(table: ModelTable) -> Execution:
    """Where a circuit runs; adapters always run on the box."""
    if isinstance(table, AdapterModel):
        return Execution()
    if isinstance(table, HybridModel):
        table = table.circuit
    return Execution(
        backend=table.backend,
        shots=table.shots,
        noise=table.noise,
        shot_budget=table.shot_budget,
        simulated_rounds=table.simulated_rounds,
    )


def check_fits(task: Task) -> None:
    """Raises QfleetError unless the model makes sense and fits the task's classes."""
    check_model(task.model)
    if classes_of(task.model) != len(task.data.classes):
        raise ConfigError(f"a model of {classes_of(task.model)} classes for another number of them")


def warnings_of(task: Task) -> list[str]:
    """What may be meant, but is worth a second thought."""
    model = task.model
    if not isinstance(model, Adapter) or model.share == "b" or model.combine == "stacked":
        return []
    told = (
        'with model.share "ab" the mean of A and the mean of B are not the mean of their products;'
        ' share "b" is exact, combine "stacked" nearly so'
    )
    return [told]


def first_arrays(task: Task, seed: int) -> dict[str, Array]:
    """What every box starts from: small random angles; an adapter that does nothing."""
    rng, layout = np.random.default_rng(seed), model_layout(task.model)
    if kind_of(task.model) != "adapter":
        return draw(layout, SPREAD, rng)
    return _adapter_arrays(layout, rng)


def first_shared(task: Task, seed: int) -> bytes:
    """What all boxes hold and none trains, packed; nothing where the kind has none."""
    layout = shared_layout(task.model)
    if not layout:
        return b""
    rng = np.random.default_rng(seed)
    return pack(_adapter_arrays(layout, rng), layout, EXACT, rng)


def _adapter_arrays(layout: Layout, rng: np.random.Generator) -> dict[str, Array]:
    """A normal with the variance of one over its inputs, B zero (Hu et al. 2021)."""
    arrays = unflatten(np.zeros(size(layout), np.float32), layout)
    for name, shape in layout:
        if name.endswith("_a"):
            spread = shape[1] ** -0.5
            arrays[name] = rng.normal(0.0, spread, shape).astype(np.float32)
    return arrays
