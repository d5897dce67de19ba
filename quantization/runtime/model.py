"""An open base model: its facts, its weights, its tokenizer, and the graphs that fit it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proto.errors import ConfigError
from quantization.arrays import Array
from quantization.gguf.header import BadModel, read_header
from quantization.gguf.llama import EMBEDDING, Facts, Weights, facts_of
from quantization.gguf.tokens import Tokens, tokens_of
from quantization.graphs.ship import FOLDER
from quantization.graphs.spec import Spec
from quantization.runtime.find import KNOWN, digest, find

GRAPHS_VARIABLE = "QFLEET_GRAPHS"


@dataclass(slots=True)
class Model:
    """A base model. Its file stays open for as long as rows of the embedding are wanted."""

    path: Path
    sha256: str
    facts: Facts
    weights: Weights
    threads: int = 1
    _tokens: list[Tokens] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether all blocks of its file are used."""
        return self.weights.header.metadata.get("llama.block_count") == self.facts.blocks

    @property
    def tokens(self) -> Tokens:
        """The tokenizer, made when first asked for: it takes a second and 40 MB."""
        if not self._tokens:
            with self.path.open("rb") as file:
                header = read_header(file, self.path.stat().st_size, lists=True)
            self._tokens.append(tokens_of(header))
        return self._tokens[0]

    def embed(self, ids: NDArray[np.int64]) -> Array:
        """Token numbers (batch, length) to their embeddings (batch, length, width)."""
        return self.weights.rows(EMBEDDING, ids.ravel()).reshape(*ids.shape, -1)

    def head(self, ids: list[int]) -> Array:
        """The output matrix's rows (labels, width) of some tokens."""
        return self.weights.head(np.array(ids, np.int64))

    def has(self, spec: Spec) -> bool:
        """Whether a graph is here."""
        return any(path.is_file() for path in _graph_paths(spec))

    def graph(self, spec: Spec) -> Path:
        """The file of a graph: from QFLEET_GRAPHS, else as shipped. Raises ConfigError."""
        for path in _graph_paths(spec):
            if path.is_file():
                return path
        raise ConfigError(
            f"there is no graph {spec.file}; on any machine with qfleet[build] run `quantize graph"
            f" {self.path.name} --out DIR`, copy DIR here and set {GRAPHS_VARIABLE} to it"
        )


def shortened(model: Model, blocks: int) -> Model:
    """The same model without its upper blocks: its answer is read after the first `blocks`.

    Adapters teach a lower block to answer, at a share of the cost. Raises ConfigError.
    """
    if not 1 <= blocks <= model.facts.blocks:
        raise ConfigError(f"{blocks} blocks; the model has {model.facts.blocks}")
    return replace(model, facts=replace(model.facts, blocks=blocks))


def _graph_paths(spec: Spec) -> list[Path]:
    folders = [os.environ.get(GRAPHS_VARIABLE, ""), str(FOLDER)]
    return [Path(folder) / spec.file for folder in folders if folder]


@contextmanager
def open_model(source: str, sha256: str = "", threads: int = 1) -> Iterator[Model]:
    """Open a base model by known name or path, and close it again.

    Its hash is checked against the one given, or the known one. Raises ConfigError where the file
    is missing or another, BadModel where it cannot be used.
    """
    path = find(source)
    known = KNOWN.get(source)
    expected = sha256 or (known.sha256 if known else "")
    found = digest(path)
    if expected and found != expected:
        raise BadModel(
            f"{path} has SHA-256 {found[:16]}...; {expected[:16]}... was expected: it is another"
            f" model, or damaged, which `quantize model {path}` tells"
        )
    try:
        with path.open("rb") as file:
            header = read_header(file, path.stat().st_size)
            facts = facts_of(header)
            yield Model(path, found, facts, Weights(file, header, facts), threads)
    except BadModel as error:
        raise BadModel(f"{path}: {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
