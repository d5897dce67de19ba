"""What a run of a fleet came to: values that every engine returns and every report reads."""

from typing import Any

from msgspec import Struct


class RoundOutcome(Struct, frozen=True, kw_only=True):
    """One turn. Everything but times and accuracy counts this round alone."""

    turn: int
    round: int
    kind: str
    """"moments", "train" or "evaluate"."""
    outcome: str
    """"done", or "missed" with `included` updates dropped."""
    opened_s: float
    closed_s: float
    asked: tuple[int, ...]
    """Clients by number, from 1."""
    included: tuple[int, ...]
    bytes_up: int
    bytes_down: int
    energy_j: float
    """By boards while they train, and by radios, from the last round's end to this one's."""
    idle_j: float
    """By all boards for all else in that time."""
    wasted_j: float
    """Of `energy_j`, on training whose update did not count."""
    wasted_bytes: int
    paid_bytes: int = 0
    """Of all bytes since the last round's end, over links that were metered at its end."""
    battery_deaths: int = 0
    queue_s: float = 0.0
    """Time in quantum processors' queues, all clients together."""
    accuracy: float | None = None
    """Of the model this round gave, on rows that no client holds."""
    loss: float | None = None
    model: str = ""
    """The model's hash, in hex."""


class Result(Struct, frozen=True, kw_only=True):
    """A whole run. The same scenario, policy and seed give the same value, to the byte."""

    scenario: str
    policy: str
    engine: str
    seed: int
    clients: int
    target: float
    rounds: tuple[RoundOutcome, ...]
    ended_s: float
    phase: str
    """The job's last phase, "finished" or "stopped"; or "out of time"."""
    reason: str = ""
    boards: tuple[str, ...] = ()
    """Each client's board, by number."""
    accuracy_by_client: tuple[float, ...] = ()
    """Of the last model on each client's own kind of rows; empty where that was not measured."""
    refusals: dict[str, int] = {}
    """Why clients declined, with how often."""
    events: int = 0
    """Messages that passed the broker."""
    trace: str = ""
    """SHA-256 of the log of plaintext events and sizes, in hex."""
    cost: dict[str, Any] = {}
    """What the run itself took: CPU seconds, memory. No part of what must be equal."""


class Total(Struct, frozen=True, kw_only=True):
    """What was spent from the start until some round's end."""

    seconds: float
    bytes: int
    energy_j: float
    idle_j: float
    wasted_j: float
    wasted_bytes: int
    paid_bytes: int
    battery_deaths: int
    queue_s: float
    rounds: int
    """Of training."""


def reached(result: Result) -> int | None:
    """How many rounds, from the first on, it took to the target; None when it was missed."""
    for at, row in enumerate(result.rounds):
        if row.accuracy is not None and row.accuracy >= result.target:
            return at + 1
    return None


def total(result: Result, rounds: int | None = None) -> Total:
    """What the first `rounds` rounds took; of the whole run when None."""
    part = result.rounds[:rounds]
    whole = rounds is None or not part
    return Total(
        seconds=result.ended_s if whole else part[-1].closed_s,
        bytes=sum(r.bytes_up + r.bytes_down for r in part),
        energy_j=sum(r.energy_j for r in part),
        idle_j=sum(r.idle_j for r in part),
        wasted_j=sum(r.wasted_j for r in part),
        wasted_bytes=sum(r.wasted_bytes for r in part),
        paid_bytes=sum(r.paid_bytes for r in part),
        battery_deaths=sum(r.battery_deaths for r in part),
        queue_s=sum(r.queue_s for r in part),
        rounds=sum(r.kind == "train" for r in part),
    )


def participation(result: Result) -> tuple[int, ...]:
    """How many updates of each client counted, by number."""
    counts = [0] * result.clients
    for row in result.rounds:
        if row.kind == "train" and row.outcome == "done":
            for number in row.included:
                counts[number - 1] += 1
    return tuple(counts)


def jain(counts: tuple[int, ...]) -> float:
    """Jain's index: 1 when all took part equally often, 1/n when one did it all (Jain 1984)."""
    squares = sum(n * n for n in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 0.0
