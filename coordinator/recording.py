"""What happened to every round of a real run, as lines of JSON that `fleet replay` reads.

A line is an event of the round table with its time; the first of a job, and the first after a
start of the coordinator, holds the job's state before it. No update and no key is in it.
"""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from coordinator.jobstate import Event, JobState
from proto.errors import StorageError


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. `what` holds the event's own fields."""

    at: float
    """Seconds since 1970."""
    job: str
    event: str
    what: Any
    state: JobState | None = None


class Recorder:
    """Appends to one file."""

    def __init__(self, path: Path) -> None:
        """Raises StorageError where the file cannot be written."""
        self._path = path
        self._append(b"")
        self._known: set[str] = set()

    def event(self, now: float, before: JobState, event: Event) -> None:
        """Note an event and, where it is the job's first here, the state it met."""
        first = before.job not in self._known
        self._known.add(before.job)
        line = Line(
            at=now,
            job=before.job,
            event=type(event).__name__,
            what=event,
            state=before if first else None,
        )
        self._append(msgspec.json.encode(line) + b"\n")

    def _append(self, data: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise StorageError(f"cannot record to {self._path}: {error.strerror}") from None
