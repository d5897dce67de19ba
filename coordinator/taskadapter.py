"""The `[model]` table of a task file for adapters, and the adapter it names."""

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from proto.adapter import MAX_BLOCKS, MAX_RANK, SLOT, Adapter, Target, TargetName
from proto.errors import ConfigError


class Base(NamedTuple):
    """A base model by what a task must know of it: its file's SHA-256 and its widths."""

    sha256: str
    blocks: int
    width: int
    keys: int
    """Numbers of all key heads together; values have as many."""


BASES = {
    "smollm2-135m": Base(
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 30, 576, 192
    ),
}


class AdapterModel(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="adapter"
):
    base: str = "smollm2-135m"
    """A known name, or a GGUF file of the Llama architecture on this machine."""
    blocks: Annotated[int, Meta(ge=1, le=MAX_BLOCKS)] = 6
    """How many of the last blocks are adapted."""
    rank: Annotated[int, Meta(ge=1, le=MAX_RANK)] = 8
    alpha: Annotated[float, Meta(gt=0.0, le=1024.0)] = 16.0
    targets: Annotated[tuple[TargetName, ...], Meta(min_length=1)] = ("q", "v")
    share: Literal["b", "ab"] = "b"
    combine: Literal["padded", "stacked"] = "padded"
    least_rank: Annotated[int, Meta(ge=0, le=MAX_RANK)] = 0
    personal: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Steps each box takes in the end for an adapter of its own."""
    prompt: str = f"{SLOT}\nAnswer:"
    answers: tuple[str, ...] = ()
    """One token for each class; left out, " no" and " yes"."""
    tokens: Annotated[int, Meta(ge=8, le=512)] = 64


def adapter_of(model: AdapterModel, classes: int) -> Adapter:
    """The adapter for so many classes. Raises ConfigError."""
    base = BASES.get(model.base) or _base_in(model.base)
    if model.blocks > base.blocks:
        raise ConfigError(f"model.blocks is at most {base.blocks}, all that {model.base} has")
    answers = model.answers or ((" no", " yes") if classes == 2 else ())  # noqa: PLR2004
    if len(answers) != classes:
        raise ConfigError(f"model.answers names a token for each of the {classes} classes")
    if not all(answers):
        raise ConfigError("model.answers has an empty one")
    return Adapter(
        base=bytes.fromhex(base.sha256),
        blocks=model.blocks,
        rank=model.rank,
        alpha=model.alpha,
        targets=tuple(_target(name, base) for name in model.targets),
        share=model.share,
        combine=model.combine,
        least_rank=model.least_rank,
        personal=model.personal,
        prompt=model.prompt,
        answers=answers,
        tokens=model.tokens,
    )


def _base_in(path: str) -> Base:
    """What a task must know of a GGUF file. Raises ConfigError where there is none."""
    if not path.endswith(".gguf"):
        raise ConfigError(f"model.base is {', '.join(BASES)} or a .gguf file, not {path!r}")
    from quantization.runtime.model import open_model  # noqa: PLC0415 - for strangers alone

    with open_model(path) as model:
        shape = model.facts.shape
        return Base(model.sha256, model.facts.blocks, shape.width, shape.kv_width)


def _target(name: TargetName, base: Base) -> Target:
    return Target(name, base.width, base.width if name == "q" else base.keys)
