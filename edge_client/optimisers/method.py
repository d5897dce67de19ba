"""What an optimiser may ask of a model, and what it gives back after each step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from edge_client.model import Probe
from quantization.arrays import Array, Arrays

DIFFERENCE = 0.2
"""How far SPSA and QN-SPSA look in radians: at few shots a shorter look drowns in noise."""


class Objective(Protocol):
    """The loss on one step's rows. Whoever makes it counts what is asked."""

    @property
    def exact(self) -> tuple[str, ...]:
        """Arrays whose exact gradient comes with each probe."""

    def gradient(self, arrays: Arrays) -> tuple[float, dict[str, Array]]:
        """Loss in nats and its gradient by each array."""

    def probe(self, points: Sequence[Arrays]) -> list[Probe]:
        """The loss at several points, worked out together: on a machine, in one job."""

    def overlap(self, one: Arrays, other: Arrays) -> float:
        """Mean fidelity of the circuit's states, 1 where they are the same."""


class Step(NamedTuple):
    """The arrays after a step, and the loss it met on its way."""

    arrays: dict[str, Array]
    loss: float


Method = Callable[[Arrays, Iterator[Objective]], Iterator[Step]]
"""From the first arrays and an objective for each step to the steps. State lives in the iterator:
what was measured is kept in a journal, so that an interrupted run is replayed from there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every optimiser is told. `rate` is its learning rate, or how far its first step goes."""

    rate: float
    steps: int
    seed: int = 0
    warmup: int = 0
    weight_decay: float = 0.0
