"""onnxruntime sessions of graphs without weights, fed from a GGUF file when they are opened.

All sessions of a process share one allocator that grows by what is asked for, and none plans its
memory ahead: measured, the two together halve the peak of a training process.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto.errors import ConfigError
from quantization.adapters.lora import LORA
from quantization.arrays import Array, Arrays
from quantization.graphs.spec import Part, Spec, Weight, fill
from quantization.runtime.model import Model

Ids = NDArray[np.int64]

TOGETHER = 16
"""Batches whose states wait in memory: at 8 x 36 tokens of SmolLM2, 11 MB."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """The frozen lower blocks, one session each; open for as long as it lives (180 MB)."""

    model: Model
    sessions: list[Any]

    def run(self, ids: Ids) -> Array:
        """Hidden states (batch, length, width) after the trunk, of token numbers (batch, length).

        Rows may be padded on the right with anything. States reach 2e4; float16 holds them.
        """
        hidden = self.model.embed(ids)
        for session in self.sessions:
            hidden = through_block(session, hidden)
        return hidden


@dataclass(frozen=True, slots=True)
class Task:
    """What is the same in every call: the labels' output rows (labels, width), and alpha / rank.

    The rows come from `Model.head`.
    """

    head: Array
    scale: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Hidden states (batch, length, width) float32, and the number of each last token (batch,).

    The target is what each label should get (batch, labels): one-hot, soft, or weighted.
    """

    hidden: Array
    last: Ids
    target: Array | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Mean cross-entropy, label log-probabilities (batch, labels), gradients by LoRA names."""

    loss: float
    logp: Array
    gradients: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Trainer:
    """Loss and gradients of the last blocks."""

    session: Any

    def step(self, lora: Arrays, task: Task, batch: Batch) -> Step:
        """One pass forwards and backwards. Nothing is updated: that is the optimiser's."""
        names = ["loss", "logp", *(f"by_{name}" for name in LORA)]
        feed = {**_feed(lora, task, batch), "target": batch.target}
        loss, logp, *gradients = self.session.run(names, feed)
        return Step(float(loss[0]), logp, dict(zip(LORA, gradients, strict=True)))


@dataclass(frozen=True, slots=True)
class Forward:
    """The last blocks, forwards only."""

    session: Any

    def log_probabilities(self, lora: Arrays, task: Task, batch: Batch) -> Array:
        """Of each label, normalised over the labels: (batch, labels)."""
        found: Array = self.session.run(["logp"], _feed(lora, task, batch))[0]
        return found


def check_graphs(model: Model, blocks: int) -> None:
    """Raises ConfigError, before anything is worked out, where that many cannot be trained."""
    _lower(model, blocks)
    for kind in ("step", "forward"):
        model.graph(Spec(kind, blocks, model.facts.shape))


def open_trunk(model: Model, blocks: int) -> Trunk:
    """The model but for its last blocks. Raises ConfigError, BadModel."""
    return Trunk(model, [open_block(model, k) for k in range(_lower(model, blocks))])


def hidden_states(
    model: Model, blocks: int, batches: Iterable[Ids], together: int = TOGETHER
) -> Iterator[Array]:
    """What `Trunk.run` gives for each batch, with one block in memory at a time (120 MB).

    `together` batches go through a block before the next is opened; opening all takes 0.6 s of CPU.
    """
    waiting = iter(batches)
    while group := [model.embed(ids) for ids in islice(waiting, together)]:
        for number in range(_lower(model, blocks)):
            session = open_block(model, number)
            group = [through_block(session, hidden) for hidden in group]
        yield from group


def open_block(model: Model, number: int) -> Any:
    """One block of the model. Raises ConfigError, BadModel."""
    return open_session(model, Spec("block", 1, model.facts.shape), number)


def through_block(session: Any, hidden: Array) -> Array:
    """Hidden states after a block."""
    out: Array = session.run(["out"], {"hidden": hidden})[0]
    return out


def _lower(model: Model, blocks: int) -> int:
    if not 1 <= blocks < model.facts.blocks:
        raise ConfigError(f"{blocks} trained blocks; the model has {model.facts.blocks}")
    return model.facts.blocks - blocks


def open_trainer(model: Model, blocks: int) -> Trainer:
    """Loss and gradients of the model's last blocks. Raises ConfigError, BadModel."""
    first = _lower(model, blocks)
    return Trainer(open_session(model, Spec("step", blocks, model.facts.shape), first))


def open_forward(model: Model, blocks: int) -> Forward:
    """The model's last blocks, forwards only. Raises ConfigError, BadModel."""
    first = _lower(model, blocks)
    return Forward(open_session(model, Spec("forward", blocks, model.facts.shape), first))


def padded(rows: list[list[int]]) -> tuple[Ids, Ids]:
    """Token lists as one array (batch, longest), and the number of each row's last token."""
    longest = max(map(len, rows))
    ids = np.zeros((len(rows), longest), np.int64)
    for row, line in zip(rows, ids, strict=True):
        line[: len(row)] = row
    return ids, np.array([len(row) - 1 for row in rows])


def _feed(lora: Arrays, task: Task, batch: Batch) -> dict[str, Any]:
    return {
        **{name: lora[name] for name in LORA},
        "hidden": batch.hidden,
        "last": batch.last,
        "head": task.head,
        "scale": np.array([task.scale], np.float32),
    }


def open_session(model: Model, spec: Spec, first: int) -> Any:
    """A session of a graph whose block 0 is the model's block `first`. Raises ConfigError."""
    import onnxruntime  # noqa: PLC0415 - extra [adapter]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = model.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False
    _share_allocator()
    options.add_session_config_entry("session.use_env_allocators", "1")
    held: dict[str, NDArray[np.uint8]] = {}

    def take(weight: Weight, part: Part) -> None:
        held[weight.name] = np.ascontiguousarray(part).reshape(-1).view(np.uint8)

    fill(spec, model.weights, first, take)
    _supply(options, held)
    return onnxruntime.InferenceSession(
        str(model.graph(spec)),
        options,
        providers=["CPUExecutionProvider"],
        # It would join the unpackings of a weight that are kept apart to save memory.
        disabled_optimizers=["CommonSubexpressionElimination"],
    )


def _supply(options: Any, held: Mapping[str, NDArray[np.uint8]]) -> None:
    """The weights as files in memory; onnxruntime copies them."""
    names, buffers = list(held), list(held.values())
    options.add_external_initializers_from_files_in_memory(
        names, buffers, [buffer.nbytes for buffer in buffers]
    )


@cache
def _share_allocator() -> None:
    import onnxruntime  # noqa: PLC0415

    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    same_as_requested = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(memory, same_as_requested)
