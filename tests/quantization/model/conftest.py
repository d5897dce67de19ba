"""A tiny base model, and the real one where `quantize pull` has put it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proto.errors import ConfigError
from tests.adapters.tiny import write_graphs, write_tiny


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for library in ("gguf", "tokenizers"):
        pytest.importorskip(library)
    return write_tiny(tmp_path_factory.mktemp("base") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for library in ("onnx", "onnxruntime"):
        pytest.importorskip(library)
    return write_graphs(tmp_path_factory.mktemp("graphs"))


@pytest.fixture
def tiny(tiny_file: Path, tiny_graphs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An open model of three blocks."""
    from quantization.runtime.model import open_model

    monkeypatch.setenv("QFLEET_GRAPHS", str(tiny_graphs))
    with open_model(str(tiny_file)) as model:
        yield model


@pytest.fixture
def smollm2() -> Iterator[object]:
    """The real base model, open."""
    from quantization.runtime.find import find
    from quantization.runtime.model import open_model

    for library in ("onnxruntime", "tokenizers"):
        pytest.importorskip(library)
    try:
        find("smollm2-135m")
    except ConfigError as missing:
        pytest.skip(str(missing))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with open_model("smollm2-135m") as model:
        yield model
