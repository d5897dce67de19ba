"""What is known of a box when a round is planned, and whether it can train at all."""

from dataclasses import dataclass

from proto.messages import Resources


@dataclass(frozen=True, slots=True)
class Candidate:
    """One box, as a planner sees it. `last_turn` is 0 for a box that never took part."""

    box: str
    rows: int
    last_turn: int = 0
    resources: Resources = Resources()  # noqa: RUF009 - frozen, so one default serves all


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
