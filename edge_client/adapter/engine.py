"""The base model in this process: its tokenizer, and its graphs, each opened when first needed.

They stay open from round to round for as long as the training process lives.
"""

from contextlib import ExitStack
from importlib.util import find_spec

import numpy as np

from edge_client.adapter.hidden import Trunk
from edge_client.circuit.backends.machine import NotHere
from edge_client.config import Adapter as Limits
from edge_client.model import Labels
from proto.adapter import Adapter
from proto.errors import ConfigError, LocalError
from quantization.arrays import Array
from quantization.runtime.find import find, name_of
from quantization.runtime.model import Model, open_model
from quantization.runtime.sessions import (
    Forward,
    Trainer,
    check_graphs,
    hidden_states,
    open_forward,
    open_trainer,
    open_trunk,
    padded,
)

LIBRARIES = ("onnxruntime", "tokenizers")
_open: dict[tuple[str, str, int, int], "Engine"] = {}
"""The one engine of this process."""


class Engine:
    """One base model, cut into a trunk and the last blocks."""

    def __init__(self, source: str, sha256: str, blocks: int, threads: int) -> None:
        self._files = ExitStack()
        self.model: Model = self._files.enter_context(open_model(source, sha256, threads))
        check_graphs(self.model, blocks)
        self._blocks = blocks
        self._trainer: Trainer | None = None
        self._forward: Forward | None = None

    @property
    def trainer(self) -> Trainer:
        self._trainer = self._trainer or open_trainer(self.model, self._blocks)
        return self._trainer

    @property
    def forward(self) -> Forward:
        self._forward = self._forward or open_forward(self.model, self._blocks)
        return self._forward

    @property
    def which(self) -> str:
        """Names what the trunk's states depend on, beside the tokens."""
        return f"{self.model.sha256}/{self.model.facts.blocks - self._blocks}"

    def trunk(self) -> Trunk:
        """The trunk with one block in memory at a time."""
        return lambda batches: hidden_states(
            self.model, self._blocks, (padded(rows)[0] for rows in batches)
        )

    def open_trunk(self) -> Trunk:
        """The whole trunk, opened once: for answers, which come one by one."""
        opened = open_trunk(self.model, self._blocks)
        return lambda batches: (opened.run(padded(rows)[0]) for rows in batches)

    def close(self) -> None:
        self._files.close()

    def encode(self, text: str) -> list[int]:
        return self.model.tokens.encode(text, begin=False)

    def head(self, answers: tuple[str, ...]) -> Array:
        """The output rows of the answers' tokens. Raises BadModel where one is not a token."""
        return self.model.head([self.model.tokens.single(answer) for answer in answers])


def engine_of(adapter: Adapter, limits: Limits) -> Engine:
    """The engine for an adapter's base model. Raises QfleetError where this box has none."""
    check_installed()
    which = (source_of(adapter, limits), adapter.base.hex(), adapter.blocks, limits.threads)
    engine = _engine(which)
    shape = engine.model.facts.shape
    widths = {"q": (shape.width, shape.width), "v": (shape.width, shape.kv_width)}
    for target in adapter.targets:
        if (target.inputs, target.outputs) != widths[target.name]:
            raise LocalError(f"the task's {target.name} has other widths than its base model")
    return engine


def source_of(adapter: Adapter, limits: Limits) -> str:
    """The base model's file here, by the box's settings or by its hash. Raises NotHere."""
    if limits.base:
        return limits.base
    try:
        known = name_of(adapter.base.hex())
        find(known)
    except ConfigError as error:
        raise NotHere(str(error)) from None
    return known


def check_installed() -> None:
    """Raises NotHere, naming what to install, unless the libraries are here."""
    for library in LIBRARIES:
        if find_spec(library) is None:
            raise NotHere(f"adapters need {library}: pip install 'qfleet[adapter]'")


def _engine(which: tuple[str, str, int, int]) -> Engine:
    """The open engine, or another in its place: two do not fit a small box."""
    if which not in _open:
        forget()
        _open[which] = Engine(*which)
    return _open[which]


def forget() -> None:
    """Close what is open."""
    while _open:
        _open.popitem()[1].close()


def one_hot(labels: Labels, classes: int) -> Array:
    """(rows, classes) float32."""
    found: Array = np.eye(classes, dtype=np.float32)[labels]
    return found
