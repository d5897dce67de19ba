"""What a task may train, and the few questions that have an answer for each kind.

A kind is a tagged struct: to add one, write it into `Model` and answer below, in
`edge_client/kinds.py` and in `coordinator/kinds.py`.
"""

from typing import Literal

from proto.adapter import Adapter, adapter_layout, check_adapter, frozen_layout
from proto.circuit import Classifier, check_classifier, classifier_layout
from proto.errors import RemoteError

Model = Classifier | Adapter
Kind = Literal["circuit", "adapter"]
Layout = tuple[tuple[str, tuple[int, ...]], ...]


def kind_of(model: Model) -> Kind:
    """How policies, task files and people call it."""
    return "circuit" if isinstance(model, Classifier) else "adapter"


def model_layout(model: Model, rank: int = 0) -> Layout:
    """Names and shapes of what is trained and sent; of an adapter, at a box's own rank.

    Raises RemoteError for a rank the model does not allow.
    """
    if isinstance(model, Adapter):
        least = model.least_rank or model.rank
        if rank and not least <= rank <= model.rank:
            raise RemoteError(f"rank {rank}; {least} to {model.rank} is accepted")
        return adapter_layout(model, rank)
    if rank:
        raise RemoteError("a rank, where the model has none")
    return classifier_layout(model)


def shared_layout(model: Model) -> Layout:
    """Names and shapes of what all boxes hold and none trains; it travels as the features blob."""
    return frozen_layout(model) if isinstance(model, Adapter) else ()


def classes_of(model: Model) -> int:
    return len(model.answers) if isinstance(model, Adapter) else model.classes


def check_model(model: Model) -> None:
    """Raises RemoteError, with text that names the faulty part, unless all of it makes sense."""
    if isinstance(model, Adapter):
        check_adapter(model)
    else:
        check_classifier(model)
