"""What is known of a box when a round is planned, and whether it can train at all."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from proto.messages import Metrics, Resources


@dataclass(frozen=True, slots=True)
class Standing:
    """How a box did when it last took part. Losses are means in nats over its validation rows."""

    steps: int
    loss: float
    """Of the model it received."""
    teacher_loss: float | None
    """Of its teacher, on the same rows; None without a teacher."""
    fleet_loss: float
    """The mean of all boxes' losses, each by its validation rows. No row is the coordinator's."""


class Past(Struct, frozen=True, kw_only=True):
    """What a box did in this job's training rounds so far."""

    asked: int = 0
    """Rounds it was asked to take part in ..."""
    delivered: int = 0
    """... and those it sent an update for."""
    last_asked: int = 0
    """A turn; 0 is never."""
    misses: int = 0
    """Rounds in a row, up to now, that it was waited for in vain."""
    seconds: float | None = None
    """From the offer to the update, the last time ..."""
    steps: int = 0
    """... and the steps it did meanwhile."""
    loss: float | None = None
    """Of the model it received then, over its training rows, in nats."""


class Turn(Struct, frozen=True):
    """How one round went for one box that was asked. Without `seconds` nothing came."""

    number: int
    seconds: float | None = None
    steps: int = 0
    loss: float | None = None
    excused: bool = False
    """The round was called off: nobody's fault."""


def after(past: Past, turn: Turn) -> Past:
    """The past with one more round in it."""
    asked = past.asked + 1
    if turn.seconds is None:
        misses = past.misses + (not turn.excused)
        return replace(past, asked=asked, last_asked=turn.number, misses=misses)
    return Past(
        asked=asked,
        delivered=past.delivered + 1,
        last_asked=turn.number,
        seconds=turn.seconds,
        steps=turn.steps,
        loss=turn.loss,
    )


def came(past: Past, turn: Turn) -> Past:
    """The past where what was noted as missing, for it may take long, has come after all."""
    before = replace(past, asked=max(0, past.asked - 1))
    return replace(after(before, turn), last_asked=past.last_asked)


class Candidate(Struct, frozen=True):
    """One box, as a planner sees it. `last_turn` is 0 for a box that never took part."""

    box: str
    rows: int
    last_turn: int = 0
    resources: Resources = Resources()
    last: Standing | None = None
    past: Past = Past()


def standings(metrics: Mapping[str, Metrics], rows: Mapping[str, int]) -> dict[str, Standing]:
    """By box, from each one's latest metrics; `rows` bounds what a box may claim to have judged on.

    A box without validation rows stands nowhere.
    """
    held = {box: min(m.validation_rows, rows.get(box, 0)) for box, m in metrics.items()}
    judged = {box: metrics[box] for box, count in held.items() if count}
    if not judged:
        return {}
    total = sum(held[box] * m.validation_loss for box, m in judged.items())
    fleet = total / sum(held[box] for box in judged)
    return {
        box: Standing(m.steps, m.validation_loss, m.teacher_loss, fleet)
        for box, m in judged.items()
    }


PATIENCE = 5
"""Misses in a row after which a box is asked no less often still."""


def waited(candidate: Candidate, turn: int) -> float:
    """Turns since this box was last asked.

    Each time it did not deliver since makes it wait twice as long: else boxes that never do would
    be the stalest in every round.
    """
    past, last = candidate.past, candidate.last_turn
    if past.last_asked > last:  # noqa: PLR1730 - `max` takes ten times as long
        last = past.last_asked
    since = turn - last
    return since / 2 ** min(past.misses, PATIENCE) if past.misses else float(since)


MIN_BATTERY = 20
MIN_RAM_MIB = 48
MAX_TEMPERATURE_C = 80


def infeasible(candidate: Candidate) -> str:
    """Why this box should not train now, or nothing. Unknown numbers speak for the box."""
    board = candidate.resources
    if board.battery is not None and board.battery < MIN_BATTERY and not board.charging:
        return f"battery at {board.battery} %, not charging"
    if board.ram_free_mib is not None and board.ram_free_mib < MIN_RAM_MIB:
        return f"only {board.ram_free_mib} MiB of memory free"
    if board.temperature_c is not None and board.temperature_c > MAX_TEMPERATURE_C:
        return f"{board.temperature_c} °C hot"
    return ""
