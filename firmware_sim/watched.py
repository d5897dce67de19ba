"""The real shells, with an eye on every event of their tables: for traces, and for cuts.

The watcher is told before a table takes an event and after its actions were carried out; it may
raise, which is how a process dies there.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from coordinator.job import Job
from coordinator.jobs import Jobs
from coordinator.jobstate import Consider, JobState, Open
from coordinator.jobstate import Event as RoundEvent
from coordinator.rounds import step
from coordinator.service import Service, Start
from edge_client.box import Box, Setting
from edge_client.kit import Kit
from edge_client.state import Event as BoxEvent
from proto.messages import TRAIN


class Watch(Protocol):
    """What is told of both tables."""

    def box(self, box: str, event: BoxEvent, *, after: bool) -> None: ...
    def round(self, job: str, event: RoundEvent, *, after: bool) -> None: ...


class Adviser(Protocol):
    """Scores boxes in place of the job's policy, from what no coordinator could know."""

    def scores(self, state: JobState, event: Consider, now: float) -> dict[str, float] | None: ...


class Watches:
    """Several, in turn."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        self._watches = tuple(watches)

    def box(self, box: str, event: BoxEvent, *, after: bool) -> None:
        for watch in self._watches:
            watch.box(box, event, after=after)

    def round(self, job: str, event: RoundEvent, *, after: bool) -> None:
        for watch in self._watches:
            watch.round(job, event, after=after)


class WatchedBox(Box):
    def __init__(self, setting: Setting, kit: Kit | None, watch: Watch) -> None:
        super().__init__(setting, kit)
        self._watch, self._name = watch, setting.member.box

    def _step(self, event: BoxEvent) -> None:
        self._watch.box(self._name, event, after=False)
        super()._step(event)
        self._watch.box(self._name, event, after=True)


class WatchedJobs(Jobs):
    watch: Watch
    adviser: Adviser | None = None

    def _dispatch(self, job: Job, event: RoundEvent, now: float) -> None:
        if self.adviser and isinstance(event, Consider) and job.state.kind == TRAIN:
            opens = any(isinstance(action, Open) for action in step(job.state, event, now)[1])
            if opens:
                event = replace(event, given=self.adviser.scores(job.state, event, now))
        self.watch.round(job.state.job, event, after=False)
        super()._dispatch(job, event, now)
        self.watch.round(job.state.job, event, after=True)


class WatchedService(Service):
    def __init__(self, start: Start, watch: Watch, adviser: Adviser | None = None) -> None:
        self._watch, self._adviser = watch, adviser
        super().__init__(start)

    def _new_jobs(self) -> Jobs:
        jobs = WatchedJobs(self._store, self._notices, self._presence, self._post, self._identity)
        jobs.watch, jobs.adviser = self._watch, self._adviser
        jobs.tell = self._record.event if self._record else None
        return jobs
