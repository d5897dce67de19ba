"""An adapter as a PEFT folder: adapter_config.json and adapter_model.safetensors, and back."""

import json
import re
from typing import Any

import numpy as np

from quantization.adapters.lora import Adapter, BadAdapter, check, stacked
from quantization.arrays import Array
from quantization.gguf.llama import Facts

CONFIG, NUMBERS = "adapter_config.json", "adapter_model.safetensors"
BASE_KEY = "qfleet.base.sha256"
_NAME = re.compile(
    r"(?:base_model\.model\.)?model\.layers\.(\d{1,3})\.self_attn\.([qv])_proj\.lora_([AB])"
    r"(?:\.default)?\.weight"
)


def to_peft(adapter: Adapter, facts: Facts) -> dict[str, bytes]:
    """The folder's files by name."""
    from safetensors.numpy import save  # noqa: PLC0415 - extra [adapter]

    check(adapter, facts.shape, facts.blocks)
    numbers = {}
    for block in range(adapter.blocks):
        for which in ("q", "v"):
            name = f"base_model.model.model.layers.{adapter.first + block}.self_attn.{which}_proj"
            for side in ("a", "b"):
                array = adapter.arrays[f"lora_{which}_{side}"][block].T
                numbers[f"{name}.lora_{side.upper()}.weight"] = np.ascontiguousarray(array)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": facts.name,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj", "v_proj"],
        "layers_to_transform": list(range(adapter.first, adapter.first + adapter.blocks)),
        "layers_pattern": "layers",
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "inference_mode": True,
    }
    data = save(numbers, metadata={"format": "pt", BASE_KEY: adapter.sha256})
    return {CONFIG: (json.dumps(config, indent=1) + "\n").encode(), NUMBERS: data}


def from_peft(files: dict[str, bytes], facts: Facts) -> Adapter:
    """The adapter in a PEFT folder's two files. Raises BadAdapter."""
    config = _config(files[CONFIG])
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise BadAdapter(f"{CONFIG} says r {rank!r} and lora_alpha {alpha!r}")
    if config.get("use_rslora"):
        alpha = alpha * rank**0.5
    pairs: dict[tuple[str, int], Array] = {}
    numbers, sha256 = _numbers(files[NUMBERS])
    for name, array in numbers.items():
        found = _NAME.fullmatch(name)
        if not found:
            raise BadAdapter(f"it adapts {name!r}; q_proj and v_proj alone are known here")
        if array.ndim != 2:  # noqa: PLR2004 - a matrix
            raise BadAdapter(f"{name} is no matrix")
        pairs[f"lora_{found[2]}_{found[3].lower()}", int(found[1])] = array.T
    adapter = stacked(pairs, float(alpha), sha256)
    if adapter.rank != rank:
        raise BadAdapter(f"{CONFIG} says rank {rank}, the numbers have {adapter.rank}")
    check(adapter, facts.shape, facts.blocks)
    return adapter


def _config(data: bytes) -> dict[str, Any]:
    try:
        config = json.loads(data)
    except ValueError as error:
        raise BadAdapter(f"{CONFIG} is no JSON: {error}") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise BadAdapter(f"{CONFIG} describes no LoRA adapter")
    return config


def _numbers(data: bytes) -> tuple[dict[str, Array], str]:
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BadAdapter(f"{NUMBERS} is damaged or of an unknown type: {error}") from None
    # The library hands out no metadata of bytes; it has just checked the header's length.
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    said = head.get("__metadata__", {}).get(BASE_KEY, "")
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}, str(said)
