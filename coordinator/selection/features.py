"""What a scorer may know of a box, as numbers by name: one list for students, prompts and teachers.

How long a box has waited is not among them: coverage is the wrapper's affair, never a scorer's.
"""

import math

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
LOGARITHMIC = frozenset({"ram_free_mib", "disk_free_mib", "link_kbps", "rows", "qpu_queue_s"})
"""Those that span decades: a linear scorer takes log(1 + x) of them."""


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


def scaled(name: str, value: float | None) -> float | None:
    """As a linear scorer sees it."""
    return math.log1p(max(value, 0.0)) if value is not None and name in LOGARITHMIC else value


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)
