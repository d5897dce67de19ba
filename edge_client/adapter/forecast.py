"""What training an adapter will take, told before it starts; and whether this box has it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_client.config import Adapter as Limits
from proto.adapter import Adapter
from proto.errors import LocalError

WIDTH = 576
"""Of the model that all of this was measured on; peaks are within 5 % of what is foretold."""
FIXED_MIB = 90.0
"""Python, onnxruntime, tokenizer."""
BLOCK_MIB = 14.0
"""Of each adapted block: its 4-bit weights in two graphs, one block unpacked at a time."""
TOKEN_KIB = 35.0
"""Of each token of a batch in each adapted block: what a gradient keeps."""
TRUNK_MIB = 150.0
"""While the trunk reads rows, a block at a time."""
SIZES = (16, 8, 4, 2, 1)
"""What a batch may be cut into. No more at once: rows of one length share a part, and are few."""


def memory_mib(adapter: Adapter, batch: int, tokens: int) -> float:
    """Peak of the training process."""
    share = max(target.inputs for target in adapter.targets) / WIDTH
    weights = FIXED_MIB + share**2 * BLOCK_MIB * adapter.blocks
    kept = share * TOKEN_KIB * adapter.blocks * batch * tokens / 1024
    return max(weights + kept, FIXED_MIB + share**2 * (TRUNK_MIB - FIXED_MIB))


def part_of(adapter: Adapter, batch: int, limits: Limits, free_mib: int) -> int:
    """How many rows of a batch (0: all) are worked on at once; the gradient is the same.

    Raises LocalError where a single row does not fit.
    """
    allowed = min(limits.memory_mib or free_mib, free_mib)
    most = min(batch or SIZES[0], SIZES[0])
    for part in (most, *(size for size in SIZES if size < most)):
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
