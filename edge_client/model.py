"""What a box can train: a frozen set of functions over named float32 arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from quantization.arrays import Array, Arrays

Labels = NDArray[np.int64]
"""(rows,): class numbers."""

Features = NDArray[Any]
"""(rows, ...): what a model prepares, one entry a row: numbers of a circuit, tokens of a text."""


class Parts(NamedTuple):
    """Numbers of a box's rows by their use."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]


class Prepared(Protocol):
    """Features as a model likes them, all that does not depend on its arrays already worked out."""

    @property
    def rows(self) -> int:
        """How many samples."""

    def take(self, index: NDArray[np.intp]) -> Self:
        """Some of the samples."""


P = TypeVar("P", bound=Prepared)


class Probe(NamedTuple):
    """The loss at one point, and the gradient of those arrays whose gradient came for free."""

    loss: float
    own: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Probing(Generic[P]):
    """What optimisers without gradients need of a model."""

    exact: tuple[str, ...]
    """Arrays whose gradient comes with a probe: those trained classically."""
    probe: Callable[[Sequence[Arrays], P, Labels], list[Probe]]
    """The loss at several points, measured together."""
    overlap: Callable[[Arrays, Arrays, P], float]
    """Mean fidelity over the rows of the states that two points prepare."""


@dataclass(frozen=True, slots=True)
class Model(Generic[P]):
    """The functions. The loss is the mean cross-entropy in nats."""

    init: Callable[[Generator], dict[str, Array]]
    """Fresh arrays."""
    prepare: Callable[[Features], P]
    """Features z (rows, ...); done once for rows that are used many times."""
    loss_and_grad: Callable[[Arrays, P, Labels], tuple[float, dict[str, Array]]]
    """The loss on rows and their labels, and its gradient by each array."""
    predict: Callable[[Arrays, P], NDArray[np.float64]]
    """Class probabilities (rows, classes)."""
    probing: Probing[P] | None = None
    """None: this model is trained by its gradient alone."""
