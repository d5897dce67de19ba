"""A Llama-architecture model in a GGUF file: its facts, and its tensors by name.

GGUF stores the rows of the query and key matrices so that the pairs of the rotary embedding lie
side by side; everybody else (PEFT, the graphs) has halves. Rows are handed out in halves' order.
"""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array
from quantization.gguf.blocks import Q4_0, Q4_1, Bytes, FourBit, dequantise, four_bit, row_size
from quantization.gguf.header import BadModel, Header, Tensor

MATRICES = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)
NORMS = ("attn_norm", "ffn_norm")
EMBEDDING = "token_embd.weight"
LAST_NORM = "output_norm.weight"
HEAD = "output.weight"

MAX_WIDTH = 2**15
MAX_BLOCKS = 256
MAX_VOCABULARY = 2**20


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's widths. Two models of one shape run the same graphs."""

    width: int
    inner: int
    heads: int
    kv_heads: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def kv_width(self) -> int:
        return self.head_width * self.kv_heads

    def matrix(self, name: str) -> tuple[int, int]:
        """(rows, columns), so (out, in), of one of a block's MATRICES."""
        return {
            "attn_q": (self.width, self.width),
            "attn_k": (self.kv_width, self.width),
            "attn_v": (self.kv_width, self.width),
            "attn_output": (self.width, self.width),
            "ffn_gate": (self.inner, self.width),
            "ffn_up": (self.inner, self.width),
            "ffn_down": (self.width, self.inner),
        }[name]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model's header says of it."""

    shape: Shape
    blocks: int
    vocabulary: int
    rope_base: float
    epsilon: float
    name: str


def facts_of(header: Header) -> Facts:
    """The facts, checked against the tensors. Raises BadModel for what is no such Llama model."""
    kind = header.metadata.get("general.architecture")
    if kind != "llama" or header.metadata.get("general.type") == "adapter":
        raise BadModel(
            f"its architecture is {kind!r}; a base model of architecture 'llama' is read"
        )
    width = _whole(header, "embedding_length", MAX_WIDTH)
    heads = _whole(header, "attention.head_count", width)
    kv_heads = _whole(header, "attention.head_count_kv", heads, heads)
    shape = Shape(width, _whole(header, "feed_forward_length", 8 * MAX_WIDTH), heads, kv_heads)
    if width % heads or heads % kv_heads or shape.head_width % 2:
        raise BadModel(f"{heads} heads and {kv_heads} key heads do not divide a width of {width}")
    if any(name.startswith("llama.rope.scaling") for name in header.metadata):
        raise BadModel("it scales its rotary embedding, which the graphs do not know")
    if "rope_freqs.weight" in header.tensors:
        raise BadModel("it brings rotary frequencies of its own, which the graphs do not know")
    for key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        if _whole(header, key, MAX_WIDTH, shape.head_width) != shape.head_width:
            raise BadModel(f"llama.{key} is not the heads' rotary width of {shape.head_width}")
    table = _tensor(header, EMBEDDING)
    facts = Facts(
        shape,
        _whole(header, "block_count", MAX_BLOCKS),
        table.shape[0],
        _real(header, "rope.freq_base", 1e4),
        _real(header, "attention.layer_norm_rms_epsilon", 1e-5),
        str(header.metadata.get("general.name", "")),
    )
    _check_tensors(header, facts)
    return facts


def _check_tensors(header: Header, facts: Facts) -> None:
    if facts.vocabulary > MAX_VOCABULARY:
        raise BadModel(f"{facts.vocabulary} tokens; at most {MAX_VOCABULARY} are accepted")
    shape = facts.shape
    expected = {EMBEDDING: (facts.vocabulary, shape.width), LAST_NORM: (shape.width,)}
    for block in range(facts.blocks):
        for name in MATRICES:
            expected[f"blk.{block}.{name}.weight"] = shape.matrix(name)
        for name in NORMS:
            expected[f"blk.{block}.{name}.weight"] = (shape.width,)
    for name, dimensions in expected.items():
        found = _tensor(header, name).shape
        if found != dimensions:
            raise BadModel(f"tensor {name!r} has shape {found}; {dimensions} was expected")


def _tensor(header: Header, name: str) -> Tensor:
    if name not in header.tensors:
        raise BadModel(f"tensor {name!r} is missing")
    return header.tensors[name]


def _whole(header: Header, key: str, most: int, default: int | None = None) -> int:
    found = header.metadata.get(f"llama.{key}", default)
    if not isinstance(found, int) or not 1 <= found <= most:
        raise BadModel(f"llama.{key} is {found!r}; a whole number from 1 to {most} is accepted")
    return found


def _real(header: Header, key: str, default: float) -> float:
    found = header.metadata.get(f"llama.{key}", default)
    if not isinstance(found, float) or not 0 < found < 1e9:  # noqa: PLR2004 - any sane base is below
        raise BadModel(f"llama.{key} is {found!r}; a positive number is accepted")
    return found


def stored_rows(rows: int, heads: int) -> NDArray[np.int64]:
    """For each row of a query or key matrix as GGUF stores it, its row in halves' order."""
    return np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).ravel()


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's numbers, read when asked for; the file must stay open."""

    file: BinaryIO
    header: Header
    facts: Facts

    def vector(self, name: str) -> Array:
        """A norm's weights (width,)."""
        return self._read(name, 0, 1).ravel()

    def matrix(self, name: str) -> Array:
        """A matrix (rows, columns) in float32, rows in halves' order."""
        dense = self._read(name, 0, _tensor(self.header, name).shape[0])
        order = self._order(name)
        return dense if order is None else dense[order]

    def rows(self, name: str, ids: NDArray[np.int64]) -> Array:
        """Some rows of a matrix that is not permuted (the embedding, the head): (ids, columns)."""
        if ids.size and (ids.min() < 0 or ids.max() >= _tensor(self.header, name).shape[0]):
            raise BadModel(f"row {ids.max()} of {name!r} does not exist")
        unique, inverse = np.unique(ids, return_inverse=True)
        read = [self._read(name, int(row), 1) for row in unique]
        return np.concatenate(read)[inverse.ravel()]

    def four_bit(self, name: str) -> FourBit:
        """A 4-bit matrix in parts, rows in halves' order. Raises BadModel for other types."""
        tensor = _tensor(self.header, name)
        if tensor.kind not in (Q4_0, Q4_1):
            raise BadModel(
                f"tensor {name!r} is not 4-bit; take a file whose blocks are Q4_1 or Q4_0"
                " (as `llama-quantize MODEL OUT q4_1` makes)"
            )
        parts = four_bit(self._bytes(tensor, 0, tensor.length), tensor.kind, tensor.shape[0])
        order = self._order(name)
        if order is None:
            return parts
        return FourBit(parts.codes[order], parts.steps[order], parts.minima[order])

    def head(self, ids: NDArray[np.int64]) -> Array:
        """The output rows (ids, width) of some tokens; from the embedding where they are tied."""
        return self.rows(HEAD if HEAD in self.header.tensors else EMBEDDING, ids)

    def _order(self, name: str) -> NDArray[np.int64] | None:
        heads = {
            "attn_q": self.facts.shape.heads,
            "attn_k": self.facts.shape.kv_heads,
        }.get(name.split(".")[-2])
        if heads is None:
            return None
        return np.argsort(stored_rows(_tensor(self.header, name).shape[0], heads))

    def _read(self, name: str, first: int, rows: int) -> Array:
        tensor = _tensor(self.header, name)
        length = row_size(tensor.kind, tensor.shape[-1]) * rows
        return dequantise(self._bytes(tensor, first * length // rows, length), tensor.kind, rows)

    def _bytes(self, tensor: Tensor, offset: int, length: int) -> Bytes:
        self.file.seek(tensor.start + offset)
        data = self.file.read(length)
        if len(data) != length:
            raise BadModel("the file became shorter while it was read")
        return np.frombuffer(data, np.uint8)
