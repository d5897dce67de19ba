"""A low-rank adapter of a language model as data: which weights it bends, and what it answers.

For each target of block k, W x becomes W x + alpha / rank * B A x (LoRA, Hu et al. 2021). The
lower blocks are a frozen trunk; only the last `blocks` are adapted.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from proto.errors import RemoteError

MAX_BLOCKS = 128
MAX_RANK = 64
MAX_WIDTH = 16384
MAX_TOKENS = 512
MAX_PROMPT = 2000
MAX_ANSWERS = 64
SLOT = "{text}"
"""Where a row's text goes into the prompt; {name} of a column takes its number."""

TargetName = Literal["q", "v"]
Width = Annotated[int, Meta(ge=1, le=MAX_WIDTH)]


class Target(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One kind of matrix of each adapted block: attention's queries or its values."""

    name: TargetName
    inputs: Width
    outputs: Width


class Adapter(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True, tag=2
):
    """A classifier by a language model: a prompt in, the likeliest of the answers' tokens out."""

    base: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """SHA-256 of the GGUF file the adapter is trained on; on no other does it mean anything."""
    blocks: Annotated[int, Meta(ge=1, le=MAX_BLOCKS)]
    rank: Annotated[int, Meta(ge=1, le=MAX_RANK)]
    alpha: Annotated[float, Meta(gt=0.0, le=1024.0)]
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=2)]
    share: Literal["b", "ab"] = "b"
    """What is trained and sent. b: A is drawn once, the same for all, and the mean of the boxes'
    B is exact (FFA-LoRA, Sun et al. 2024). ab: both, whose mean is not the mean of products."""
    combine: Literal["padded", "stacked"] = "padded"
    """How updates of different ranks become one: each column's mean over the boxes that trained it,
    or all boxes' products added and cut back to the rank (ab alone; FLoRA, Wang et al. 2024)."""
    least_rank: Annotated[int, Meta(ge=0, le=MAX_RANK)] = 0
    """Smallest rank a small box may train; 0 asks all for the whole rank."""
    personal: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Steps each box takes on its own rows after the last round; what they give stays there."""
    prompt: Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT)] = SLOT
    answers: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
        Meta(min_length=2, max_length=MAX_ANSWERS),
    ]
    """The text of one token for each class, in the classes' order (" no", " yes")."""
    tokens: Annotated[int, Meta(ge=8, le=MAX_TOKENS)] = 64
    """Longest prompt; of a longer text the end is left out, never the words round it."""


Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def adapter_layout(adapter: Adapter, rank: int = 0) -> Shapes:
    """Names and shapes of what is trained and sent, by a box of this rank (0: the whole rank).

    As the graphs take them: lora_q_a is (blocks, inputs, rank), lora_q_b (blocks, rank, outputs).
    """
    rank = rank or adapter.rank
    ups = _ups(adapter, rank)
    return ups if adapter.share == "b" else tuple(sorted((*ups, *_downs(adapter, rank))))


def frozen_layout(adapter: Adapter) -> Shapes:
    """Names and shapes of what every box holds and nobody trains."""
    return _downs(adapter, adapter.rank) if adapter.share == "b" else ()


def check_adapter(adapter: Adapter) -> None:
    """Raises RemoteError, naming the faulty field, unless all of it makes sense."""
    names = [target.name for target in adapter.targets]
    if len(set(names)) != len(names):
        raise RemoteError(f"adapter: a target is named twice: {', '.join(names)}")
    if len(set(adapter.answers)) != len(adapter.answers):
        raise RemoteError("adapter: two classes have the same answer")
    if SLOT not in adapter.prompt:
        raise RemoteError(f"adapter: the prompt has no {SLOT}")
    if adapter.least_rank > adapter.rank:
        raise RemoteError(f"adapter: least_rank {adapter.least_rank} is above rank {adapter.rank}")
    if adapter.combine == "stacked" and adapter.share == "b":
        raise RemoteError(
            'adapter: combine "stacked" is for share "ab": with A frozen nothing is lost'
        )


def _ups(adapter: Adapter, rank: int) -> Shapes:
    return tuple((f"lora_{t.name}_b", (adapter.blocks, rank, t.outputs)) for t in adapter.targets)


def _downs(adapter: Adapter, rank: int) -> Shapes:
    return tuple((f"lora_{t.name}_a", (adapter.blocks, t.inputs, rank)) for t in adapter.targets)
