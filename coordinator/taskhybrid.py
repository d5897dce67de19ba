"""The `[model]` table of a task file for hybrids: a circuit, how it reads text, who teaches it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from coordinator.taskadapter import AdapterModel, adapter_of
from coordinator.taskmodel import Model as CircuitModel
from coordinator.taskmodel import classifier_of
from proto.adapter import Adapter
from proto.errors import ConfigError
from proto.hybrid import MAX_SKETCH, Hybrid
from proto.messages import ID_PATTERN


class HybridModel(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="hybrid"
):
    circuit: CircuitModel = CircuitModel()
    reader: AdapterModel | None = None
    """Left out with a teacher of the fleet's: it reads as its teacher does."""
    teacher: Literal["none", "fleet", "own"] = "none"
    teacher_job: Annotated[str, Meta(pattern=ID_PATTERN)] | None = None
    teacher_steps: Annotated[int, Meta(ge=1, le=10_000)] = 40
    """Of each of the two adapters a box trains as its own teacher."""
    share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    warmth: Annotated[float, Meta(gt=0.0, le=64.0)] = 2.0
    sketch: Annotated[int, Meta(ge=1, le=MAX_SKETCH)] = 64
    labelled: bool = False
    """Whether the feature map is fitted to tell classes apart, not on how rows vary alone."""


def hybrid_of(
    model: HybridModel, features: int, classes: int, fleets: Adapter | None = None
) -> Hybrid:
    """The hybrid for so many features and classes; `fleets` is the adapter of the teacher's job.

    Raises ConfigError.
    """
    if (model.teacher == "fleet") != (model.teacher_job is not None):
        raise ConfigError(
            'model.teacher_job names the job whose adapter teaches: teacher = "fleet"'
        )
    if model.teacher == "fleet" and model.reader is not None:
        raise ConfigError("a hybrid reads as its teacher does: leave model.reader out")
    reader = fleets or adapter_of(model.reader or AdapterModel(), classes)
    return Hybrid(
        circuit=classifier_of(model.circuit, features, classes),
        reader=reader,
        sketch=model.sketch,
        labelled=model.labelled,
        teacher=model.teacher,
        teacher_steps=model.teacher_steps,
        share=0.0 if model.teacher == "none" else model.share,
        warmth=model.warmth,
    )
