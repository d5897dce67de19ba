"""A circuit that reads text through a language model's trunk, and may learn from its adapter.

This is the method of LLM-QFL (Gurung and Pokhrel 2025, arXiv 2505.18656) as a task: the circuit is
what is trained and sent; base, trunk and teacher stay as they are.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from proto.adapter import Adapter, adapter_layout, check_adapter, frozen_layout
from proto.circuit import Classifier, check_classifier
from proto.errors import RemoteError

MAX_SKETCH = 128
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Hybrid(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True, tag=3):
    """What is trained, how text is read, and who teaches."""

    circuit: Classifier
    reader: Adapter
    """Prompt, answers and base; of its blocks only those below the adapted ones read."""
    sketch: Annotated[int, Meta(ge=1, le=MAX_SKETCH)]
    """Numbers that a text becomes before the fleet's feature map; the task's columns follow."""
    teacher: Literal["none", "fleet", "own"]
    """fleet: an adapter the fleet trained before, in the features blob; own: one that each box
    trains for itself on other rows than it speaks about."""
    share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """The teacher's share of the loss; with 0 it only steers steps and stopping."""
    teacher_steps: Annotated[int, Meta(ge=1, le=10_000)] = 40
    """Steps of each adapter that a box trains as its own teacher."""
    warmth: Annotated[float, Meta(gt=0.0, le=64.0)] = 1.0
    """The temperature at which circuit and teacher are compared."""
    labelled: bool = False
    """Whether the feature map's first components tell classes apart: see `moments.finish`."""


def teacher_layout(hybrid: Hybrid) -> Shapes:
    """Names and shapes of the fleet's teacher in the features blob; nothing where there is none."""
    if hybrid.teacher != "fleet":
        return ()
    whole = dict((*adapter_layout(hybrid.reader), *frozen_layout(hybrid.reader)))
    return tuple((f"teacher_{name}", shape) for name, shape in sorted(whole.items()))


def check_hybrid(hybrid: Hybrid) -> None:
    """Raises RemoteError, naming the faulty field, unless all of it makes sense."""
    check_classifier(hybrid.circuit)
    check_adapter(hybrid.reader)
    if hybrid.circuit.classes != len(hybrid.reader.answers):
        answers = len(hybrid.reader.answers)
        raise RemoteError(f"hybrid: {answers} answers for {hybrid.circuit.classes} classes")
    if hybrid.share and hybrid.teacher == "none":
        raise RemoteError(f"hybrid: a share of {hybrid.share} for no teacher")
