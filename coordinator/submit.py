"""Handing in a task: a task file becomes a job in the store, where the coordinator finds it."""

import os

from coordinator.jobstate import JobState, new_job
from coordinator.kinds import warnings_of
from coordinator.store import Store
from coordinator.taskfile import TaskFile, rules_of, task_of
from coordinator.taskhybrid import HybridModel
from coordinator.teacher import adapter_in, teacher_row
from proto.codec import encode
from proto.errors import ConfigError
from proto.hybrid import Hybrid


def submit(store: Store, file: TaskFile, fleet: str, now: float) -> JobState:
    """Raises ConfigError for a job that exists or a task that makes no sense."""
    with store.unit():
        if store.job(file.job) is not None:
            raise ConfigError(f"a job named {file.job!r} exists; choose another name")
        # Above any serial a box may have seen, even if this store was restored since.
        serial = max(len(store.jobs()) + 1, int(now))
        task = task_of(file, fleet, serial, adapter_in(store, file.model))
        state = new_job(file.job, rules_of(file), moments=task.data.components > 0)
        job = {"id": file.job, "created": now, "task": encode(task), "key": os.urandom(32)}
        store.add_job(job, state)
        for warning in warnings_of(task):
            store.say(now, file.job, f"warning: {warning}")
        if isinstance(file.model, HybridModel) and file.model.teacher_job is not None:
            assert isinstance(task.model, Hybrid)
            store.save_model(teacher_row(store, file.job, file.model.teacher_job, task.model))
    return state
