"""An adapter as a GGUF file for llama.cpp (`--lora`), and back.

GGUF stores query rows in another order than everybody else, so B's columns follow; A is untouched.
Forgetting that fails in silence.
"""

import re
import tempfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from quantization.adapters.lora import Adapter, BadAdapter, check, stacked
from quantization.arrays import Array
from quantization.gguf.blocks import dequantise
from quantization.gguf.header import Header, read_header
from quantization.gguf.llama import Facts, stored_rows

BASE_KEY = "qfleet.base.sha256"
_NAME = re.compile(r"blk\.(\d{1,3})\.attn_([qv])\.weight\.lora_([ab])")


def to_gguf(adapter: Adapter, facts: Facts) -> bytes:
    """The bytes of a GGUF adapter, numbers as float16. The same adapter gives the same bytes."""
    import gguf  # noqa: PLC0415 - extra [adapter]

    check(adapter, facts.shape, facts.blocks)
    order = stored_rows(facts.shape.width, facts.shape.heads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, adapter.alpha)
        writer.add_string("general.name", "qfleet")
        writer.add_string(BASE_KEY, adapter.sha256)
        for block in range(adapter.blocks):
            for which in ("q", "v"):
                name = f"blk.{adapter.first + block}.attn_{which}.weight"
                a = adapter.arrays[f"lora_{which}_a"][block].T
                b = adapter.arrays[f"lora_{which}_b"][block].T
                b = b[order] if which == "q" else b
                writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(a, np.float16))
                writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(b, np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def from_gguf(data: bytes, facts: Facts) -> Adapter:
    """The adapter in a GGUF file.

    Raises BadModel for a damaged file, BadAdapter for one that does not fit the base model or
    adapts other matrices than queries and values.
    """
    file = BytesIO(data)
    header = read_header(file, len(data))
    said = header.metadata
    kind = said.get("general.type"), said.get("adapter.type"), said.get("general.architecture")
    if kind != ("adapter", "lora", "llama"):
        raise BadAdapter("it is a GGUF file, but no LoRA adapter of a Llama model")
    alpha = said.get("adapter.lora.alpha")
    if not isinstance(alpha, float):
        raise BadAdapter("it does not say its alpha")
    back = np.argsort(stored_rows(facts.shape.width, facts.shape.heads))
    pairs: dict[tuple[str, int], Array] = {}
    for name in header.tensors:
        found = _NAME.fullmatch(name)
        if not found:
            raise BadAdapter(f"it adapts {name!r}; queries and values alone are known here")
        block, which, side = int(found[1]), found[2], found[3]
        matrix = _matrix(header, file, name)
        if which == "q" and side == "b":
            if matrix.shape[0] != facts.shape.width:
                raise BadAdapter(f"{name} has {matrix.shape[0]} rows; this base model has others")
            matrix = matrix[back]
        pairs[f"lora_{which}_{side}", block] = matrix.T
    adapter = stacked(pairs, alpha, str(said.get(BASE_KEY, "")))
    check(adapter, facts.shape, facts.blocks)
    return adapter


def _matrix(header: Header, file: BinaryIO, name: str) -> Array:
    tensor = header.tensors[name]
    if len(tensor.shape) != 2:  # noqa: PLR2004 - a matrix
        raise BadAdapter(f"{name} is no matrix")
    file.seek(tensor.start)
    data = np.frombuffer(file.read(tensor.length), np.uint8)
    return dequantise(data, tensor.kind, tensor.shape[0])
