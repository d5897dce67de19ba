"""An adapter's file or folder, whatever its format: told by its name."""

from collections.abc import Callable
from pathlib import Path

from proto.errors import ConfigError
from proto.files import write_whole
from quantization.adapters import as_gguf, as_onnx, as_peft
from quantization.adapters.lora import Adapter, BadAdapter
from quantization.gguf.header import BadModel
from quantization.gguf.llama import Facts

MAX_BYTES = 2**26
"""Of an adapter's file: rank 64 on queries and values of 100 wide blocks fits."""

GGUF, ONNX = ".gguf", ".onnx_adapter"


def read_adapter(path: Path, facts: Facts, sha256: str) -> Adapter:
    """The adapter at a path, for a base model with that hash.

    Raises BadAdapter where it is damaged, or for another base, rank or blocks.
    """
    try:
        adapter = _read(path, facts, sha256)
    except (BadAdapter, BadModel) as error:
        raise BadAdapter(f"{path}: {error}") from None
    if adapter.sha256 and sha256 and adapter.sha256 != sha256:
        raise BadAdapter(
            f"{path}: it was made for the base model {adapter.sha256[:16]}..., this one is"
            f" {sha256[:16]}...; take the base model it was trained on"
        )
    return adapter


def _read(path: Path, facts: Facts, sha256: str) -> Adapter:
    if path.is_dir():
        names = (as_peft.CONFIG, as_peft.NUMBERS)
        return as_peft.from_peft({name: _bytes(path / name) for name in names}, facts)
    if path.suffix == GGUF:
        return as_gguf.from_gguf(_bytes(path), facts)
    if path.suffix == ONNX:
        return as_onnx.from_onnx(_bytes(path), facts, sha256)
    raise BadAdapter(f"take a {GGUF} or {ONNX} file, or a PEFT folder")


def write_adapter(adapter: Adapter, facts: Facts, path: Path) -> None:
    """Write an adapter in the format of the path: .gguf, .onnx_adapter, else a PEFT folder."""
    one: dict[str, Callable[[Adapter, Facts], bytes]] = {
        GGUF: as_gguf.to_gguf,
        ONNX: as_onnx.to_onnx,
    }
    if path.suffix in one:
        write_whole(path, one[path.suffix](adapter, facts))
        return
    if path.suffix or path.is_file():
        raise ConfigError(f"{path}: name a {GGUF} or {ONNX} file, or a folder for PEFT's files")
    for name, data in as_peft.to_peft(adapter, facts).items():
        write_whole(path / name, data)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadAdapter(f"cannot read {path.name}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise BadAdapter(f"{path.name} is longer than {MAX_BYTES} bytes")
    return data
