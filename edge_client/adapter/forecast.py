"""What training an adapter will take, told before it starts; and whether this box has it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_client.config import Adapter as Limits
from proto.adapter import Adapter
from proto.errors import LocalError

FIXED_MIB = 150.0
"""Python, onnxruntime, the tokenizer and the last blocks' weights: measured at 6 blocks."""
TOKEN_KIB = 21.0
"""For each token of a batch and a width of 576: what a gradient keeps. Measured, see docs."""
STEP_SHARE = 2.2
"""Cost of a token in a training step of one block, in those of a forward pass through one."""
SIZES = (32, 16, 8, 4, 2, 1)
"""What a batch may be cut into."""


def memory_mib(adapter: Adapter, batch: int, tokens: int) -> float:
    """Peak of the training process."""
    width = max(target.inputs for target in adapter.targets)
    return FIXED_MIB + TOKEN_KIB * width / 576 * batch * tokens / 1024


def part_of(adapter: Adapter, batch: int, limits: Limits, free_mib: int) -> int:
    """How many rows of a batch are worked on at once; the gradient of all is the same.

    Raises LocalError where a single row does not fit.
    """
    allowed = min(limits.memory_mib or free_mib, free_mib)
    for part in (batch, *(size for size in SIZES if size < batch)):
        if memory_mib(adapter, part, adapter.tokens) <= allowed:
            return part
    needed = memory_mib(adapter, 1, adapter.tokens)
    raise LocalError(
        f"training this adapter takes {needed:.0f} MiB of memory; this box has {allowed} for it"
    )


@dataclass(slots=True)
class Watch:
    """A round's time: measured on the first piece of each kind of work, held against the whole."""

    allowed: float
    """Seconds until the round is over."""
    clock: Callable[[], float]
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def check(self, done: float, all_of_it: float, since: float, more: float = 0.0) -> None:
        """A share of the work was done since then: raise LocalError if all of it will not be.

        more: what follows it, in the same units.
        """
        now = self.clock()
        left = (now - since) * (all_of_it - done + more) / done
        if now - self._began + left > self.allowed:
            total = now - self._began + left
            raise LocalError(
                f"it would take {total:.0f} s here; the round gives {self.allowed:.0f}"
            )
