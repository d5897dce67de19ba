"""What is known of a box when a round is planned, and whether it can train at all."""

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Candidate:
    """One box, as a planner sees it. `last_turn` is 0 for a box that never took part."""

    box: str
    rows: int
    last_turn: int = 0
    resources: Resources = Resources()  # noqa: RUF009 - frozen, so one default serves all
    last: Standing | None = None


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
