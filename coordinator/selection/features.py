"""What a scorer may know of a box, as numbers by name: one list for students, prompts and teachers.

How long a box has waited is not among them: coverage is the wrapper's affair, never a scorer's.
"""

import math
from collections.abc import Sequence
from statistics import median

from coordinator.selection.candidates import Candidate
from coordinator.selection.forecast import seconds_of
from coordinator.selection.request import Request

Features = dict[str, float | None]

FEATURES: tuple[str, ...] = (
    "battery",
    "charging",
    "ram_free_mib",
    "cpu_load",
    "temperature_c",
    "disk_free_mib",
    "link_kbps",
    "link_loss",
    "qpu_queue_s",
    "rows",
    "loss_ratio",
    "time_ratio",
    "delivered",
    "misses",
    "asked",
)
BESIDE = tuple(f"{name}_beside" for name in FEATURES)
"""Each of them beside the other boxes of its round: whom to ask is a choice among them."""
COLUMNS = (*FEATURES, *BESIDE)
LOGARITHMIC = {
    "ram_free_mib": 1.0,
    "disk_free_mib": 1.0,
    "link_kbps": 1.0,
    "rows": 1.0,
    "qpu_queue_s": 1.0,
    "time_ratio": 0.01,
    "asked": 0.5,
}
"""Those whose ratios count, not their differences: what is added to each before its logarithm."""


def features(candidate: Candidate, request: Request) -> Features:
    """Every name of FEATURES; None where it is not known.

    `loss_ratio` is the box's validation loss over the fleet's, `time_ratio` its expected seconds
    over the deadline, `delivered` the share of rounds it was asked for that it delivered in.
    """
    board, past, last = candidate.resources, candidate.past, candidate.last
    seconds = seconds_of(candidate, request.pace.steps)
    return {
        "battery": _number(board.battery),
        "charging": None if board.charging is None else float(board.charging),
        "ram_free_mib": _number(board.ram_free_mib),
        "cpu_load": _number(board.cpu_load),
        "temperature_c": _number(board.temperature_c),
        "disk_free_mib": _number(board.disk_free_mib),
        "link_kbps": _number(board.link_kbps),
        "link_loss": _number(board.link_loss),
        "qpu_queue_s": _number(board.qpu_queue_s),
        "rows": float(candidate.rows),
        "loss_ratio": last.loss / last.fleet_loss if last and last.fleet_loss > 0 else None,
        "time_ratio": seconds / request.deadline if seconds and request.deadline else None,
        "delivered": past.delivered / past.asked if past.asked else None,
        "misses": float(past.misses),
        "asked": float(past.asked),
    }


def beside(boxes: Sequence[Features]) -> list[Features]:
    """Of all boxes of a round, with COLUMNS: how far each number is from the median of those known.

    Where nobody else's is known that is 0. A mean would let one absurd report move all others.
    """
    found = [dict(told) for told in boxes]
    for name, column in zip(FEATURES, BESIDE, strict=True):
        values = [scaled(name, told.get(name)) for told in boxes]
        known = [value for value in values if value is not None]
        middle = median(known) if known else 0.0
        for told, value in zip(found, values, strict=True):
            told[column] = None if value is None else value - middle
    return found


def scaled(name: str, value: float | None) -> float | None:
    """As differences of it mean something."""
    if value is None or name not in LOGARITHMIC:
        return value
    return math.log(max(value, 0.0) + LOGARITHMIC[name])


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)
