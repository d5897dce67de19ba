"""Which graphs a base model needs: `python -m quantization.graphs.ship` writes those shipped."""

from pathlib import Path

from proto.errors import StorageError
from quantization.gguf.llama import Shape
from quantization.graphs.spec import Kind, Spec

SMOLLM2_135M = Shape(width=576, inner=1536, heads=9, kv_heads=3)

TRAINED = (1, 2, 6)
"""Numbers of last blocks that graphs are shipped for; with few, small boxes can train."""

FOLDER = Path(__file__).with_name("files")


def graphs_for(shape: Shape, trained: tuple[int, ...] = TRAINED) -> list[Spec]:
    """Every graph that a model of that shape needs to train that many last blocks."""
    kinds: tuple[Kind, ...] = ("forward", "step")
    return [
        Spec("block", 1, shape),
        Spec("last", 1, shape),
        *(Spec(kind, blocks, shape) for blocks in trained for kind in kinds),
    ]


def write_graphs(shape: Shape, trained: tuple[int, ...], folder: Path) -> list[Path]:
    """Build and write them; needs the `onnx` package. Returns their paths. Raises StorageError."""
    from quantization.graphs.build import build  # noqa: PLC0415 - extra [build]

    paths = {folder / spec.file: build(spec) for spec in graphs_for(shape, trained)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, data in paths.items():
            path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"cannot write graphs to {folder}: {error.strerror}") from None
    return list(paths)


if __name__ == "__main__":
    write_graphs(SMOLLM2_135M, TRAINED, FOLDER)
