"""Handing in a task: a task file becomes a job in the store, where the coordinator finds it."""

import os

from coordinator.jobstate import JobState, new_job
from coordinator.kinds import warnings_of
from coordinator.store import Store
from coordinator.taskfile import TaskFile, rules_of, task_of
from proto.codec import encode
from proto.errors import ConfigError


def submit(store: Store, file: TaskFile, fleet: str, now: float) -> JobState:
    """Raises ConfigError for a job that exists or a task that makes no sense."""
    with store.unit():
        if store.job(file.job) is not None:
            raise ConfigError(f"a job named {file.job!r} exists; choose another name")
        # Above any serial a box may have seen, even if this store was restored since.
        task = task_of(file, fleet, max(len(store.jobs()) + 1, int(now)))
        state = new_job(file.job, rules_of(file), moments=task.data.components > 0)
        job = {"id": file.job, "created": now, "task": encode(task), "key": os.urandom(32)}
        store.add_job(job, state)
        for warning in warnings_of(task):
            store.say(now, file.job, f"warning: {warning}")
    return state
