"""The adapter of another job as a teacher: what the fleet learned is handed to its circuits."""

import hashlib

import numpy as np

from coordinator.store import Store
from coordinator.stored import task_in
from coordinator.taskhybrid import HybridModel
from proto.adapter import Adapter
from proto.errors import ConfigError
from proto.hybrid import Hybrid, teacher_layout
from proto.messages import Task
from proto.models import model_layout, shared_layout, summed_columns
from quantization import moments
from quantization.pack import pack, unpack
from quantization.scheme import EXACT


def adapter_in(store: Store, model: object) -> Adapter | None:
    """The adapter that a task file's model names as its teacher. Raises ConfigError."""
    if not isinstance(model, HybridModel) or model.teacher != "fleet" or not model.teacher_job:
        return None
    row = store.job(model.teacher_job)
    if row is None:
        raise ConfigError(f"model.teacher_job: there is no job {model.teacher_job!r}")
    taught = task_in(row).model
    if not isinstance(taught, Adapter):
        raise ConfigError(f"model.teacher_job: {model.teacher_job!r} trains no adapter")
    return taught


def teacher_row(store: Store, job: str, teacher_job: str, hybrid: Hybrid) -> dict[str, object]:
    """The newest adapter of a job as a row of the store, packed by `teacher_layout`.

    Raises ConfigError where that job has trained none.
    """
    data = _teacher(store, teacher_job, hybrid)
    digest = hashlib.sha256(data).digest()
    return {"digest": digest, "job": job, "turn": 0, "kind": "teacher", "data": data}


def _teacher(store: Store, job: str, hybrid: Hybrid) -> bytes:
    row, model, shared = store.job(job), store.model(job, "model"), store.model(job, "features")
    if row is None or model is None or not model.turn:
        raise ConfigError(f"model.teacher_job: {job!r} has trained no adapter yet")
    task = task_in(row)
    arrays = unpack(model.data, model_layout(task.model), EXACT)
    if layout := shared_layout(task.model):
        arrays |= unpack(shared.data if shared else b"", layout, EXACT)
    named = {f"teacher_{name}": array for name, array in arrays.items()}
    return pack(named, teacher_layout(hybrid), EXACT, np.random.default_rng(0))


def features_of(store: Store, task: Task, fitted: bytes) -> bytes:
    """The features blob: the fitted map, and behind it the task's teacher where it has one."""
    model = task.model
    row = store.model(task.job, "teacher")
    if not isinstance(model, Hybrid) or row is None:
        return fitted
    columns = summed_columns(model, len(task.data.columns))
    first = moments.feature_layout(columns, task.data.components)
    second = teacher_layout(model)
    arrays = {**unpack(fitted, first, EXACT), **unpack(row.data, second, EXACT)}
    return pack(arrays, (*first, *second), EXACT, np.random.default_rng(0))
