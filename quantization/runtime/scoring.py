"""Label log-probabilities of many short texts behind one prefix, by llama.cpp or onnxruntime.

Both engines read the same token numbers and the same blocks of the same file. llama.cpp rounds
activations to 8 bits on the way, so its answers differ a little: docs/adapters.md has the figures.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np

from proto.errors import ConfigError
from quantization.adapters.lora import Adapter
from quantization.arrays import Array
from quantization.runtime.model import Model

Engine = Literal["auto", "llama", "onnx"]

MAX_PREFIX = 2048
MAX_TEXT = 512
"""Tokens of the prefix, and of one text."""

TOGETHER = 8
"""Texts in one pass: more gain nothing on one core."""


class Scorer(Protocol):
    """An open engine."""

    def adapt(self, adapter: Adapter | None) -> None:
        """Use another adapter from now on, or none."""

    def logits(self, prefix: list[int], texts: Sequence[list[int]]) -> Array:
        """Of each label after each text, in any common offset: (texts, labels)."""


def label_log_probabilities(
    scorer: Scorer, model: Model, prefix: str, texts: Sequence[str]
) -> Array:
    """Of each label, normalised over the labels, after prefix and text: (texts, labels).

    The prefix is worked out once for all. Raises ConfigError where one is too long or empty.
    """
    head = model.tokens.encode(prefix)
    tails = [model.tokens.encode(text, begin=False) for text in texts]
    if len(head) > MAX_PREFIX:
        raise ConfigError(f"the prefix has {len(head)} tokens; at most {MAX_PREFIX} are accepted")
    for text, tail in zip(texts, tails, strict=True):
        if not 1 <= len(tail) <= MAX_TEXT:
            raise ConfigError(
                f"a text of {len(tail)} tokens, {text[:40]!r}...; 1 to {MAX_TEXT} are accepted"
            )
    logits = scorer.logits(head, tails).astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: Array = (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))).astype(np.float32)
    return found


@contextmanager
def open_scorer(
    model: Model, labels: list[int], engine: Engine = "auto", together: int = TOGETHER
) -> Iterator[Scorer]:
    """An engine that scores these label tokens; `auto` takes llama.cpp where it is installed.

    With one text `together`, its answer does not depend on those beside it in any way.
    Raises ConfigError where the engine asked for is not installed.
    """
    with _opened(model, labels, engine, together) as scorer:
        yield scorer


def _opened(
    model: Model, labels: list[int], engine: Engine, together: int
) -> AbstractContextManager[Scorer]:
    has_llama = find_spec("llama_cpp") is not None
    if engine == "llama" and not has_llama:
        raise ConfigError("llama.cpp is not installed; pip install 'qfleet[llama]', or use onnx")
    if has_llama and engine != "onnx":
        from quantization.runtime.score_llama import open_llama  # noqa: PLC0415 - heavy

        return open_llama(model, labels, together)
    from quantization.runtime.score_onnx import open_onnx  # noqa: PLC0415 - heavy

    return open_onnx(model, labels, together)


def chosen(engine: Engine) -> str:
    """The engine that `open_scorer` would take."""
    if engine != "auto":
        return engine
    return "llama" if find_spec("llama_cpp") is not None else "onnx"
