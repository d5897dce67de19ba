"""A job's newest model as files anybody can read: NumPy arrays, and an OpenQASM 3 program."""

import io
from pathlib import Path

import numpy as np

from coordinator.folding import layout_of, shared_of
from coordinator.store import Store
from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.files import write_whole
from proto.messages import Task
from proto.qasm import to_qasm3
from quantization import moments
from quantization.arrays import Array
from quantization.pack import unpack
from quantization.scheme import EXACT

FORMATS = ("npz", "qasm")


def export(store: Store, job: str, folder: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write the newest model in each format; the paths written. Raises ConfigError."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"formats are {','.join(FORMATS)}, not {','.join(unknown) or 'none'}")
    row, model = store.job(job), store.model(job, "model")
    if row is None or model is None:
        raise ConfigError(f"no job {job!r} with a model; `coordinator list` shows what there is")
    task = decode_signed(row.task, Task)
    arrays = unpack(model.data, layout_of(task), EXACT)
    written = []
    if "npz" in formats:
        extra = _features(store, job, task)
        # With personal heads nobody has trained the one here.
        trained = {name: arrays[name] for name, _ in shared_of(task)}
        written.append(_write(folder / f"{job}.npz", _npz({**trained, **extra})))
    if "qasm" in formats:
        program = to_qasm3(task.model.circuit, [float(a) for a in arrays["angles"]])
        written.append(_write(folder / f"{job}.qasm", program.encode()))
    return written


def _features(store: Store, job: str, task: Task) -> dict[str, Array]:
    """The feature map, prefixed: z = (x - feature_shift) @ feature_matrix."""
    row = store.model(job, "features")
    if row is None:
        return {}
    layout = moments.feature_layout(len(task.data.columns), task.data.components)
    return {f"feature_{name}": a for name, a in unpack(row.data, layout, EXACT).items()}


def _npz(arrays: dict[str, Array]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _write(path: Path, data: bytes) -> Path:
    write_whole(path, data)
    return path
