"""What the store's rows hold as bytes, read back; another version of Qfleet may have written it."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from coordinator.folding import Figures
from coordinator.jobstate import JobState
from coordinator.selection.plan import Plan
from coordinator.store import Row
from proto.codec import decode_signed
from proto.errors import ConfigError, RemoteError
from proto.messages import Task

T = TypeVar("T")

OTHER = (
    "was written by another version of Qfleet, or is damaged ({error}); go on with the version that"
    " wrote it, or begin anew in another --home"
)


def state_of(row: Row) -> JobState:
    """Of a row of jobs. Raises ConfigError."""
    return _read(f"the state of job {row.id}", lambda: _json(row.state, JobState))


def task_in(row: Row) -> Task:
    """Of a row of jobs, as boxes are told it. Raises ConfigError."""
    return _read(f"the task of job {row.id}", lambda: decode_signed(row.task, Task))


def plan_of(row: Row) -> Plan:
    """Of a row of rounds. Raises ConfigError."""
    return _read(f"the plan of turn {row.turn}", lambda: _json(row.plan, Plan))


def figures_of(row: Row) -> Figures:
    """Of a row of rounds; bare ones of a round that brought none. Raises ConfigError."""
    if not row.result:
        return Figures()
    return _read(f"what turn {row.turn} brought", lambda: _json(row.result, Figures))


def _json(data: bytes, kind: type[T]) -> T:
    return msgspec.json.decode(data, type=kind)


def _read(what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (msgspec.MsgspecError, UnicodeDecodeError, RemoteError) as error:
        raise ConfigError(f"{what} {OTHER.format(error=error)}") from None
