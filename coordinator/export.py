"""A job's newest model as files anybody can use, in the formats of its kind.

Of a circuit: NumPy arrays, an OpenQASM 3 program. Of an adapter: NumPy arrays, GGUF for llama.cpp,
onnxruntime's adapter file, a PEFT folder.
"""

import io
from pathlib import Path

import numpy as np

from coordinator.folding import layout_of, sent_of
from coordinator.store import Store
from coordinator.stored import task_in
from proto.adapter import Adapter
from proto.errors import ConfigError
from proto.files import write_whole
from proto.hybrid import Hybrid, teacher_layout
from proto.messages import Task
from proto.models import circuit_in, kind_of, shared_layout, summed_columns
from proto.qasm import to_qasm3
from quantization import moments
from quantization.arrays import Array, Arrays
from quantization.pack import unpack
from quantization.scheme import EXACT

FORMATS = {
    "circuit": ("npz", "qasm"),
    "adapter": ("npz", "gguf", "onnx", "peft"),
    "hybrid": ("npz", "qasm"),
}
"""What each kind is written as; the first of an adapter needs no base model."""
SUFFIXES = {"gguf": ".gguf", "onnx": ".onnx_adapter", "peft": ""}


def export(
    store: Store, job: str, folder: Path, formats: tuple[str, ...] = (), base: str = ""
) -> list[Path]:
    """Write the newest model in each format, all of its kind where none is named; the paths.

    base: an adapter's base model, where it is no known one. Raises ConfigError; for GGUF, ONNX and
    PEFT it must be here.
    """
    row, model = store.job(job), store.model(job, "model")
    if row is None or model is None:
        raise ConfigError(f"no job {job!r} with a model; `coordinator list` shows what there is")
    task = task_in(row)
    known = FORMATS[kind_of(task.model)]
    if unknown := [name for name in formats if name not in known]:
        raise ConfigError(f"formats of {job} are {','.join(known)}, not {','.join(unknown)}")
    formats = formats or known
    arrays = {**unpack(model.data, layout_of(task), EXACT), **_shared(store, job, task)}
    written = []
    if "npz" in formats:
        path = folder / f"{job}.npz"
        untrained = {name for name, _ in layout_of(task)} - {name for name, _ in sent_of(task)}
        write_whole(path, _npz({n: a for n, a in arrays.items() if n not in untrained}))
        written.append(path)
    if (circuit := circuit_in(task.model)) and "qasm" in formats:
        program = to_qasm3(circuit.circuit, [float(a) for a in arrays["angles"]])
        path = folder / f"{job}.qasm"
        write_whole(path, program.encode())
        written.append(path)
    if not isinstance(task.model, Adapter):
        return written
    files = tuple(name for name in formats if name in SUFFIXES)
    return written + _adapter_files(task.model, arrays, folder / job, files, base)


def _adapter_files(
    spec: Adapter, arrays: Arrays, stem: Path, formats: tuple[str, ...], source: str
) -> list[Path]:
    """An adapter for other programs, which must know its base model."""
    if not formats:
        return []
    # These bring libraries of the extra [adapter].
    from quantization.adapters.files import write_adapter  # noqa: PLC0415
    from quantization.adapters.lora import Adapter as Lora  # noqa: PLC0415
    from quantization.adapters.lora import filled  # noqa: PLC0415
    from quantization.runtime.find import name_of  # noqa: PLC0415
    from quantization.runtime.model import open_model  # noqa: PLC0415

    sha256, written = spec.base.hex(), []
    with open_model(source or name_of(sha256), sha256) as base:
        facts = base.facts
        whole = filled(arrays, facts.shape, spec.blocks, spec.rank)
        lora = Lora(whole, facts.blocks - spec.blocks, spec.alpha, sha256)
        for name in formats:
            path = stem.with_name(stem.name + SUFFIXES[name])
            write_adapter(lora, facts, path)
            written.append(path)
    return written


def _shared(store: Store, job: str, task: Task) -> dict[str, Array]:
    """What goes with the model: an adapter's frozen half, or a feature map, prefixed.

    z = (x - feature_shift) @ feature_matrix.
    """
    row = store.model(job, "features")
    if row is None:
        return {}
    if layout := shared_layout(task.model):
        return unpack(row.data, layout, EXACT)
    summed = summed_columns(task.model, len(task.data.columns))
    layout = moments.feature_layout(summed, task.data.components)
    if not isinstance(task.model, Hybrid):
        return {f"feature_{name}": a for name, a in unpack(row.data, layout, EXACT).items()}
    # The teacher lies behind the map; it is exported from its own job.
    found = unpack(row.data, (*layout, *teacher_layout(task.model)), EXACT)
    return {f"feature_{name}": found[name] for name, _ in layout}


def _npz(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()
