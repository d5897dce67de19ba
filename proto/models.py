"""What a task may train, and the few questions that have an answer for each kind.

A kind is a tagged struct: to add one, write it into `Model` and answer below, in
`edge_client/kinds.py` and in `coordinator/kinds.py`.
"""

from typing import Literal

from proto.adapter import Adapter, adapter_layout, check_adapter, frozen_layout
from proto.circuit import Classifier, check_classifier, classifier_layout
from proto.errors import RemoteError
from proto.hybrid import Hybrid, check_hybrid

Model = Classifier | Adapter | Hybrid
Kind = Literal["circuit", "adapter", "hybrid"]
Layout = tuple[tuple[str, tuple[int, ...]], ...]


def kind_of(model: Model) -> Kind:
    """How policies, task files and people call it."""
    if isinstance(model, Hybrid):
        return "hybrid"
    return "circuit" if isinstance(model, Classifier) else "adapter"


def circuit_in(model: Model) -> Classifier | None:
    """The circuit that is trained, if any."""
    if isinstance(model, Hybrid):
        return model.circuit
    return model if isinstance(model, Classifier) else None


def summed_columns(model: Model, columns: int) -> int:
    """How many numbers a row of so many columns has where a feature map is fitted."""
    if not isinstance(model, Hybrid):
        return columns
    return label_columns(model) + model.sketch + columns


def label_columns(model: Model) -> int:
    """How many of them, the first ones, say the row's class where a map is fitted, else are 0."""
    return model.circuit.classes if isinstance(model, Hybrid) and model.labelled else 0


def model_layout(model: Model, rank: int = 0) -> Layout:
    """Names and shapes of what is trained and sent; of an adapter, at a box's own rank.

    Raises RemoteError for a rank the model does not allow.
    """
    if isinstance(model, (Classifier, Hybrid)):
        if rank:
            raise RemoteError("a rank, where the model has none")
        return classifier_layout(model if isinstance(model, Classifier) else model.circuit)
    least = model.least_rank or model.rank
    if rank and not least <= rank <= model.rank:
        raise RemoteError(f"rank {rank}; {least} to {model.rank} is accepted")
    return adapter_layout(model, rank)


def sent_layout(model: Model, rank: int = 0, *, personal_head: bool = False) -> Layout:
    """What of `model_layout` an update holds: all, or with personal heads the circuit's angles."""
    layout = model_layout(model, rank)
    return tuple(part for part in layout if part[0] == "angles") if personal_head else layout


def shared_layout(model: Model) -> Layout:
    """Names and shapes of what all boxes hold from the start; it travels as the features blob."""
    return frozen_layout(model) if isinstance(model, Adapter) else ()


def classes_of(model: Model) -> int:
    if isinstance(model, Adapter):
        return len(model.answers)
    return model.circuit.classes if isinstance(model, Hybrid) else model.classes


def check_model(model: Model) -> None:
    """Raises RemoteError, with text that names the faulty part, unless all of it makes sense."""
    if isinstance(model, Adapter):
        check_adapter(model)
    elif isinstance(model, Hybrid):
        check_hybrid(model)
    else:
        check_classifier(model)
