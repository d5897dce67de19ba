"""A recorded run, played again through the round table: the same events, so the same rounds.

A record comes from `coordinator start --record FILE` in the field, or from `fleet run --record`.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from coordinator import jobstate
from coordinator.jobstate import Ask, CloseMissed, Event, JobState, Open, Published, Restarted
from coordinator.recording import Line
from coordinator.rounds import step
from proto.errors import ConfigError
from proto.messages import KIND_NAMES

MAX_LINE = 64 * 2**20
EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__args__}


class Round(Struct, frozen=True, kw_only=True):
    """One turn as the table went through it."""

    job: str
    turn: int
    kind: str
    round: int
    outcome: str = "open"
    opened: float
    closed: float = 0.0
    asked: tuple[str, ...] = ()
    included: tuple[str, ...] = ()


class Replay(Struct, frozen=True, kw_only=True):
    """What a record comes to."""

    rounds: tuple[Round, ...]
    phases: dict[str, str]
    """Each job's last phase."""
    events: int
    untrue: tuple[str, ...] = ()
    """Where a state in the record is not what the table makes of the events before it."""


def replay(path: Path) -> Replay:
    """Raises ConfigError for a file that is no record, naming the line."""
    states: dict[str, JobState] = {}
    rounds: dict[tuple[str, int], Round] = {}
    untrue: list[str] = []
    count = 0
    for number, (line, event) in enumerate(_lines(path), 1):
        count += 1
        before = states.get(line.job)
        if line.state is not None:
            if before is not None and not _same(before, line.state, event):
                untrue.append(f"line {number}: {line.job} is in another state than replayed")
            before = line.state
        if before is None:
            raise ConfigError(f"{path} line {number}: an event of {line.job} before its state")
        after, actions = step(before, event, line.at)
        for action in actions:
            _note(rounds, action, after, line.at, before)
        if isinstance(event, Published):
            key = (line.job, before.turn)
            if key in rounds:
                rounds[key] = replace(
                    rounds[key], outcome="done", closed=line.at, included=before.updated
                )
        states[line.job] = after
    phases = {job: state.phase.value for job, state in states.items()}
    return Replay(rounds=tuple(rounds.values()), phases=phases, events=count, untrue=tuple(untrue))


def _note(
    rounds: dict[tuple[str, int], Round],
    action: jobstate.Action,
    after: JobState,
    at: float,
    before: JobState,
) -> None:
    if isinstance(action, Open):
        rounds[after.job, after.turn] = Round(
            job=after.job,
            turn=after.turn,
            kind=KIND_NAMES[after.kind],
            round=after.round,
            opened=at,
            asked=after.asked if after.buffered else tuple(m.box for m in after.members),
        )
    elif isinstance(action, Ask) and (key := (after.job, after.turn)) in rounds:
        rounds[key] = replace(rounds[key], asked=after.asked)
    elif isinstance(action, CloseMissed) and (key := (before.job, before.turn)) in rounds:
        rounds[key] = replace(rounds[key], outcome="missed", closed=at)


def _same(replayed: JobState, recorded: JobState, event: Event) -> bool:
    """Whether two states agree; answers are not kept on disk, so a restart forgets them."""
    if isinstance(event, Restarted) and not recorded.buffered:
        replayed, recorded = (replace(state, members=()) for state in (replayed, recorded))
    return replayed == recorded


def _lines(path: Path) -> Iterator[tuple[Line, Event]]:
    decoder = msgspec.json.Decoder(Line)
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if len(text) > MAX_LINE:
                    raise ConfigError(f"{path} line {number}: longer than {MAX_LINE} bytes")
                try:
                    line = decoder.decode(text)
                    kind = EVENTS[line.event]
                    yield line, msgspec.convert(line.what, kind)
                except (msgspec.MsgspecError, KeyError) as error:
                    raise ConfigError(
                        f"{path} line {number} is no event of a record: {error}; a record is made "
                        "by `coordinator start --record FILE` or `fleet run --record FILE`"
                    ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
