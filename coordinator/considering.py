"""What a job's table is told before a round: who is there, and what the agent advises."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from coordinator.buffered import askable
from coordinator.job import Job
from coordinator.jobstate import Consider, JobState, request_of
from coordinator.lineup import candidates
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.request import Request
from coordinator.selection.scorers import AGENT
from coordinator.store import Store
from coordinator.traffic import bytes_each
from proto.messages import TRAIN, Resources

LOOK_AGAIN = 0.1
"""Seconds until an agent that is thinking is looked at again."""


class Advisor(Protocol):
    """Whoever advises on rounds: coordinator/agent/advisor.py."""

    def thinking(self, state: JobState, now: float) -> bool:
        """Whether `advise` has nothing to say yet, whoever is there; cheap."""

    def advise(
        self, state: JobState, candidates: Sequence[Candidate], request: Request, now: float
    ) -> Advice | None:
        """None while it is still thinking."""

    def close(self) -> None: ...


def consideration(
    store: Store,
    job: Job,
    here: Mapping[str, Resources],
    advisor: Advisor | None,
    now: float,
) -> Consider | None:
    """The event, or None while the job's agent is thinking."""
    state = job.state
    if state.kind != TRAIN or state.rules.scorer != AGENT:
        advisor = None
    if advisor is not None and advisor.thinking(state, now):
        return None  # before the store is asked for anything
    found = candidates(store, job, here)
    if state.buffered:
        found = askable(state, found)
    event = Consider(found, store.count("turn") + 1, job.history.bytes_each or bytes_each(job.task))
    if advisor is None or len(found) < (1 if state.buffered else state.rules.quorum):
        return event  # nobody is asked, or no round will come of it
    advice = advisor.advise(state, event.candidates, request_of(state, event), now)
    return None if advice is None else replace(event, advice=advice)
