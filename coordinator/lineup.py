"""Who could take part in a job's next round, with what the store knows of each box."""

from collections.abc import Mapping

from coordinator.job import Job
from coordinator.selection.candidates import Candidate, Past, Standing, standings
from coordinator.selection.scorers import STANDING
from coordinator.store import Store
from proto.messages import Resources

NEW = Past()


def candidates(store: Store, job: Job, here: Mapping[str, Resources]) -> tuple[Candidate, ...]:
    """Enlisted boxes among those that are here, in id order."""
    stand = _standings(store, job)
    job.history.catch_up(store, job.state.job, job.state.rules.deadline)
    past, last = job.history.past, job.history.counted
    found = [
        Candidate(box, rows, last.get(box, 0), here[box], stand.get(box), past.get(box, NEW))
        for box in sorted(job.rows.keys() & here.keys())
        if (rows := job.rows[box]) > 0
    ]
    return tuple(found)


def _standings(store: Store, job: Job) -> dict[str, Standing]:
    """How each box did last, where the job's rules ask."""
    rules = job.state.rules
    if rules.scorer not in STANDING and rules.regulation.rule == "fixed":
        return {}
    latest = store.last_metrics(job.state.job)
    metrics = {box: told for box, told in latest.items() if told is not None}
    return standings(metrics, job.rows)
