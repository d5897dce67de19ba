"""What a base model or an adapter is, as plain values for `quantize` to print."""

from pathlib import Path

from quantization.adapters.files import read_adapter
from quantization.gguf.blocks import BLOCKS
from quantization.graphs.ship import graphs_for
from quantization.runtime.model import Model

Report = dict[str, str | int | float | list[str]]


def describe_model(model: Model) -> Report:
    """Facts, tensor types with their bytes, and which graphs for it are here."""
    facts, sizes = model.facts, dict[str, int]()
    for tensor in model.weights.header.tensors.values():
        kind = BLOCKS[tensor.kind].name
        sizes[kind] = sizes.get(kind, 0) + tensor.length
    return {
        "file": str(model.path),
        "name": facts.name,
        "sha256": model.sha256,
        "blocks": facts.blocks,
        "width": facts.shape.width,
        "inner width": facts.shape.inner,
        "heads": facts.shape.heads,
        "key heads": facts.shape.kv_heads,
        "tokens": facts.vocabulary,
        "types": [f"{kind} {size / 1e6:.1f} MB" for kind, size in sorted(sizes.items())],
        "graphs": [spec.file for spec in graphs_for(facts.shape) if model.has(spec)],
    }


def describe_adapter(path: Path, model: Model) -> Report:
    """What an adapter adapts. Raises BadAdapter where it does not fit the model."""
    adapter = read_adapter(path, model.facts, model.sha256)
    return {
        "file": str(path),
        "base": adapter.sha256 or "not said",
        "first block": adapter.first,
        "blocks": adapter.blocks,
        "rank": adapter.rank,
        "alpha": adapter.alpha,
        "parameters": sum(array.size for array in adapter.arrays.values()),
    }
