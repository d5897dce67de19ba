"""What a box can train: a frozen set of functions over named float32 arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from quantization.arrays import Array, Arrays

Labels = NDArray[np.int64]
"""(rows,): class numbers."""


class Prepared(Protocol):
    """Features as a model likes them, all that does not depend on its arrays already worked out."""

    @property
    def rows(self) -> int:
        """How many samples."""

    def take(self, index: NDArray[np.intp]) -> Self:
        """Some of the samples."""


P = TypeVar("P", bound=Prepared)


@dataclass(frozen=True, slots=True)
class Model(Generic[P]):
    """The functions. They hold no state; the loss is the mean cross-entropy in nats."""

    init: Callable[[Generator], dict[str, Array]]
    """Fresh arrays."""
    prepare: Callable[[Array], P]
    """Features z (rows, features); done once for rows that are used many times."""
    loss_and_grad: Callable[[Arrays, P, Labels], tuple[float, dict[str, Array]]]
    """The loss on rows and their labels, and its gradient by each array."""
    predict: Callable[[Arrays, P], NDArray[np.float64]]
    """Class probabilities (rows, classes)."""
