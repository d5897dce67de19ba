"""An adapter as onnxruntime's own file, which a session of a graph takes as its LoRA inputs.

It holds the arrays and the scale by the names of the graph's inputs.
"""

import tempfile
from pathlib import Path

import numpy as np

from quantization.adapters.lora import LORA, Adapter, BadAdapter, check
from quantization.gguf.llama import Facts

SCALE = "scale"
_HASH_DIGITS = 7
"""Of the base model's SHA-256, so that they fit the file's 32-bit version of the model."""


def to_onnx(adapter: Adapter, facts: Facts) -> bytes:
    """The bytes of an .onnx_adapter file."""
    import onnxruntime  # noqa: PLC0415 - extra [adapter]

    check(adapter, facts.shape, facts.blocks)
    values = {
        **{name: np.ascontiguousarray(adapter.arrays[name]) for name in LORA},
        SCALE: np.array([adapter.scale], np.float32),
    }
    made = onnxruntime.AdapterFormat()
    made.set_adapter_version(1)
    made.set_model_version(int(adapter.sha256[:_HASH_DIGITS] or "0", 16))
    made.set_parameters(
        {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in values.items()}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.onnx_adapter"
        made.export_adapter(str(path))
        return path.read_bytes()


def from_onnx(data: bytes, facts: Facts, sha256: str = "") -> Adapter:
    """The adapter in such a file, taken to be for the model's last blocks.

    With a base model's hash given, one made for another is refused. Raises BadAdapter.
    """
    import onnxruntime  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.onnx_adapter"
        path.write_bytes(data)
        try:
            held = onnxruntime.AdapterFormat.read_adapter(str(path))
            values = {name: value.numpy() for name, value in held.get_parameters().items()}
        except Exception as error:  # noqa: BLE001 - the library raises its own and bare ones
            raise BadAdapter(f"it is no adapter of onnxruntime: {error}") from None
    if set(values) != {*LORA, SCALE} or values[SCALE].shape != (1,) or values[LORA[0]].ndim != 3:  # noqa: PLR2004
        raise BadAdapter(f"it holds {sorted(values)}; {[*LORA, SCALE]} are used")
    version = held.get_model_version()
    if sha256 and version and version != int(sha256[:_HASH_DIGITS], 16):
        raise BadAdapter("it was made for another base model")
    arrays = {name: np.array(values[name]) for name in LORA}
    blocks, _, rank = arrays[LORA[0]].shape
    adapter = Adapter(arrays, facts.blocks - blocks, float(values[SCALE][0]) * rank, sha256)
    check(adapter, facts.shape, facts.blocks)
    return adapter
