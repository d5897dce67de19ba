"""What commands tell of the store, as plain values: printed as tables or as JSON."""

from typing import Any

import msgspec

from coordinator.jobstate import JobState
from coordinator.store import Row, Store
from coordinator.stored import figures_of, plan_of, state_of
from proto.errors import ConfigError
from proto.identity import fingerprint
from proto.messages import KIND_NAMES, TRAIN, Resources

Report = dict[str, Any]


def clients(store: Store) -> list[Report]:
    """Every box: who, since when, whether on line, what its board last said."""
    return [_client(row) for row in store.members()]


def _client(row: Row) -> Report:
    board = msgspec.msgpack.decode(row.resources, type=Resources) if row.resources else None
    return {
        "box": row.id,
        "state": "revoked" if row.revoked else "online" if row.online else "offline",
        "key": fingerprint(row.key),
        "joined": row.joined,
        "seen": row.seen,
        "release": row.release,
        "resources": None if board is None else msgspec.structs.asdict(board),
    }


def jobs(store: Store) -> list[Report]:
    """Every job, oldest first."""
    return [_job(row) for row in store.jobs()]


def _job(row: Row) -> Report:
    state = state_of(row)
    return {
        "job": row.id,
        "phase": state.phase.value,
        "round": state.round,
        "rounds": state.rules.rounds,
        "kind": KIND_NAMES[state.kind],
        "waiting_for": list(state.pending),
        "asynchronous": state.rules.buffer > 0,
        "accuracy": state.accuracy,
        "reason": state.reason,
        "created": row.created,
    }


def show(store: Store, job: str) -> Report:
    """One job with all its rounds. Raises ConfigError."""
    row = _known(store, job)
    boxes = [{"box": e.box, "rows": e.rows, "reason": e.reason} for e in store.enlisted(job)]
    return {**_job(row), "boxes": boxes, "history": [_round(r) for r in store.rounds(job)]}


def _known(store: Store, job: str) -> Row:
    row = store.job(job)
    if row is None:
        known = ", ".join(r.id for r in store.jobs()) or "none yet"
        raise ConfigError(f"no job named {job!r}; there is: {known}")
    return row


def _round(row: Row) -> Report:
    figures = figures_of(row)
    return {
        "turn": row.turn,
        "round": row.round,
        "kind": KIND_NAMES[row.kind],
        "outcome": row.outcome,
        "included": row.included,
        "model": row.model.hex() if row.model else "",
        "bytes_up": row.bytes_up,
        "bytes_down": row.bytes_down,
        "seconds": None if row.closed is None else row.closed - row.opened,
        **msgspec.structs.asdict(figures),
    }


def decisions(store: Store, job: str, turn: int = 0) -> list[Report]:
    """Of each round: who was chosen and why, what the hand rule would have done, what came of it.

    `scores` are of all boxes that could be chosen; `forecast` is what the plan expected. Where a
    `turn` is named, of that alone.
    """
    state = state_of(_known(store, job))
    rows = [row for row in store.rounds(job) if turn in (0, row.turn)]
    if turn and not rows:
        raise ConfigError(f"{job} has no turn {turn}; `coordinator show {job}` lists them")
    return [_decision(store, row, state) for row in rows]


def _decision(store: Store, row: Row, state: JobState) -> Report:
    made = plan_of(row)
    came, policy = sorted(store.senders(row.turn)), state.rules.scorer
    open_still = {m.box for m in state.members if m.turn == row.turn}
    # Who was asked in an asynchronous turn may deliver in a later one, and another's be counted.
    back = set(store.answered(row.turn)) if state.rules.buffer else set(came)
    return {
        "turn": row.turn,
        "round": row.round,
        "kind": KIND_NAMES[row.kind],
        "policy": policy if row.kind == TRAIN else "everyone",
        **msgspec.to_builtins(made),
        "hand_rule": list(made.hand_rule or made.cohort),
        "came": {
            "outcome": row.outcome,
            "seconds": None if row.closed is None else row.closed - row.opened,
            "bytes": row.bytes_up + row.bytes_down,
            "delivered": came,
            "not_delivered": sorted(set(made.cohort) - back - open_still),
        },
    }
