"""Hidden states of many texts after the frozen blocks, kept on disk: each text is run once.

float16 holds SmolLM2's states, which reach 2e4. A run that was broken off goes on where it was.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proto.errors import StorageError
from proto.files import write_whole
from quantization.arrays import Array
from quantization.runtime.model import Model
from quantization.runtime.sessions import Ids, hidden_states, padded

TOGETHER = 16
"""Texts in one pass."""
AT_ONCE = 16
"""Passes between notes of how far it is."""

Progress = Callable[[str, int, int], None]
"""What is going on, done, and in all."""


@dataclass(frozen=True, slots=True)
class States:
    """The states of all texts, one after the other (tokens, width), and where each text begins."""

    table: NDArray[np.float16]
    starts: NDArray[np.int64]

    def batch(self, texts: Sequence[int]) -> tuple[Array, Ids]:
        """Of some texts: (batch, longest, width) float32, and the number of each last token."""
        lengths = [int(self.starts[k + 1] - self.starts[k]) for k in texts]
        hidden = np.zeros((len(texts), max(lengths), self.table.shape[1]), np.float32)
        for row, k in zip(hidden, texts, strict=True):
            part = self.table[self.starts[k] : self.starts[k + 1]]
            row[: len(part)] = part
        return hidden, np.array(lengths) - 1

    def length(self, text: int) -> int:
        return int(self.starts[text + 1] - self.starts[text])


def states_of(
    model: Model, blocks: int, texts: Sequence[list[int]], folder: Path, tell: Progress
) -> States:
    """Run what is not there yet. `folder` may hold an earlier run's. Raises StorageError."""
    starts = np.cumsum([0, *map(len, texts)])
    name = hashlib.sha256(f"{model.sha256} {model.facts.blocks} {blocks} {texts}".encode())
    path = folder / f"states-{name.hexdigest()[:16]}.npy"
    mark = path.with_suffix(".done")
    shape = (int(starts[-1]), model.facts.shape.width)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = not path.is_file()
        mode = "w+" if fresh else "r+"
        table = np.lib.format.open_memmap(path, mode, np.float16, shape if fresh else None)
        done = 0 if fresh or not mark.is_file() else int(mark.read_text())
        while done < len(texts):
            tell("reading", done, len(texts))
            until = min(done + TOGETHER * AT_ONCE, len(texts))
            _run(model, blocks, texts[done:until], table[starts[done] : starts[until]])
            table.flush()
            write_whole(mark, str(until).encode())
            done = until
    except OSError as error:
        raise StorageError(f"cannot keep hidden states in {folder}: {error.strerror}") from None
    return States(table, starts)


def _run(model: Model, blocks: int, texts: Sequence[list[int]], table: NDArray[np.float16]) -> None:
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    groups = [order[k : k + TOGETHER] for k in range(0, len(order), TOGETHER)]
    places = list(pairwise(np.cumsum([0, *map(len, texts)])))
    batches = (padded([texts[k] for k in group])[0] for group in groups)
    for group, hidden in zip(groups, hidden_states(model, blocks, batches), strict=True):
        for k, row in zip(group, hidden, strict=True):
            start, end = places[k]
            table[start:end] = row[: end - start]
