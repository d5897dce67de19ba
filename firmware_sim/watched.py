"""The real shells, with an eye on every event of their tables: for traces, and for cuts.

The watcher is told before a table takes an event and after its actions were carried out; it may
raise, which is how a process dies there.
"""

from collections.abc import Sequence
from typing import Protocol

from coordinator.job import Job
from coordinator.jobs import Jobs
from coordinator.jobstate import Event as RoundEvent
from coordinator.service import Service, Start
from edge_client.box import Box, Setting
from edge_client.kit import Kit
from edge_client.state import Event as BoxEvent


class Watch(Protocol):
    """What is told of both tables."""

    def box(self, box: str, event: BoxEvent, *, after: bool) -> None: ...
    def round(self, job: str, event: RoundEvent, *, after: bool) -> None: ...


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

    def _dispatch(self, job: Job, event: RoundEvent, now: float) -> None:
        self.watch.round(job.state.job, event, after=False)
        super()._dispatch(job, event, now)
        self.watch.round(job.state.job, event, after=True)


class WatchedService(Service):
    def __init__(self, start: Start, watch: Watch) -> None:
        self._watch = watch
        super().__init__(start)

    def _new_jobs(self) -> Jobs:
        jobs = WatchedJobs(self._store, self._notices, self._presence, self._post, self._identity)
        jobs.watch = self._watch
        jobs.tell, jobs.advisor = self._record.event if self._record else None, self._advisor
        return jobs
