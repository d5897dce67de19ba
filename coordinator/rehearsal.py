"""The next round of a task as it would be planned now; nothing is written and nobody is asked."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from coordinator.agent.advisor import Agent
from coordinator.considering import consideration
from coordinator.job import Job, job_of
from coordinator.jobstate import JobState, Phase, new_job, request_of
from coordinator.presence import FRESH
from coordinator.reports import Report
from coordinator.selection.forecast import seconds_of
from coordinator.selection.plan import affordable, plan
from coordinator.store import Store
from coordinator.taskfile import TaskFile, rules_of, task_of
from coordinator.teacher import adapter_in
from proto.codec import encode
from proto.errors import ConfigError
from proto.identity import task_id
from proto.messages import TRAIN, Resources


def rehearse(store: Store, file: TaskFile, fleet: str, now: float) -> Report:
    """Who would be asked, bytes, the slowest box, who not and why. Raises ConfigError."""
    online, offline = _boards(store, now)
    job, known = _job(store, file, fleet, online)
    agent = Agent(beside=False)
    event = consideration(store, job, online, agent, now)
    agent.close()
    assert event is not None, "an agent that works at once has always an answer"
    here, each, request = event.candidates, event.bytes_each, request_of(job.state, event)
    made = plan(here, request)
    by_name = {c.box: c for c in here}
    steps = {box: made.steps.get(box, request.pace.steps) for box in made.cohort}
    return {
        "job": file.job,
        "known": known,
        "next": job.state.title,
        "policy": request.scorer,
        "cohort": [
            {
                "box": box,
                "score": made.scores[box],
                "steps": steps[box],
                "rows": job.rows[box] if known else None,
                "seconds": seconds_of(by_name[box], steps[box]),
            }
            for box in made.cohort
        ],
        "enough": len(made.cohort) >= job.state.rules.quorum,
        "quorum": job.state.rules.quorum,
        "budget_pays_for": affordable(len(here), request) if request.budget.bytes else None,
        "bytes": each * len(made.cohort),
        "seconds": made.forecast.seconds,
        "slowest": made.forecast.slowest,
        "hand_rule": list(made.hand_rule or made.cohort),
        "fallback": made.fallback,
        "refused": {**made.refused, **_absent(job, offline, known=known)},
    }


def _job(
    store: Store, file: TaskFile, fleet: str, online: Mapping[str, Resources]
) -> tuple[Job, bool]:
    """The job with its next training round, and whether it was handed in already."""
    row = store.job(file.job)
    if row is None:
        task = task_of(file, fleet, 0, adapter_in(store, file.model))
        state = new_job(file.job, rules_of(file), moments=False)
        # Boxes tell how many rows they have once they have seen the task.
        return Job(state, task, task_id(encode(task)), b"", dict.fromkeys(online, 1)), False
    job = job_of(row, store.enlisted(file.job))
    job.become(_next(job.state))
    return job, True


def _next(state: JobState) -> JobState:
    """Before its next training round. Raises ConfigError where none follows."""
    if state.phase is Phase.FINISHED:
        raise ConfigError(f"{state.job} is finished: {state.reason}")
    later = state.kind == TRAIN and state.phase in (Phase.COLLECTING, Phase.FOLDING)
    later = later or (state.kind == TRAIN and state.phase is Phase.PUBLISHING)
    # An asynchronous job's plan is that of all its places.
    bare = replace(state, members=(), answers="", asked=(), buffer=())
    return replace(bare, kind=TRAIN, round=max(1, state.round + later))


def _boards(store: Store, now: float) -> tuple[dict[str, Resources], list[str]]:
    """What boards said of late, of those on line; and who is not."""
    online, offline = {}, []
    for row in store.members():
        if row.revoked:
            continue
        if not row.online:
            offline.append(row.id)
            continue
        fresh = row.resources is not None and row.seen is not None and now < row.seen + FRESH
        online[row.id] = _board(row.resources) if fresh else Resources()
    return online, offline


def _board(data: bytes) -> Resources:
    return msgspec.msgpack.decode(data, type=Resources)


def _absent(job: Job, offline: list[str], *, known: bool) -> dict[str, Any]:
    out = dict.fromkeys(offline, "off line")
    if known:
        out |= {box: "takes no part: it has no rows" for box, rows in job.rows.items() if not rows}
    return out
