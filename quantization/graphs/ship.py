"""Which graphs a base model needs: `python -m quantization.graphs.ship` writes those shipped."""

from pathlib import Path

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
    """Build and write them; needs the `onnx` package. Returns their paths."""
    from quantization.graphs.build import build  # noqa: PLC0415 - extra [build]

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for spec in graphs_for(shape, trained):
        path = folder / spec.file
        path.write_bytes(build(spec))
        written.append(path)
    return written


if __name__ == "__main__":
    write_graphs(SMOLLM2_135M, TRAINED, FOLDER)
