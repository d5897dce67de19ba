"""Hidden faults: what is wrong with a box before its numbers say so. Pure functions of time.

Each begins at `since` and is written in the box's journal from then on (journal.py). It bites only
after `lead_s`, and most of it never shows in the numbers a box reports.
"""

import math
from typing import Literal, get_args

from msgspec import Struct

FaultName = Literal["weak-supply", "dying-card", "memory-leak", "blocked-fan", "metered-link"]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)


class Fault(Struct, frozen=True, gc=False):
    name: FaultName
    since: float
    lead_s: float = 1800.0
    """The journal knows so long before anything happens."""
    grows_s: float = 7200.0
    """From the first bite to the full one."""


class Effects(Struct, frozen=True, gc=False):
    """What a fault does now. The defaults do nothing."""

    cap: float = 1.0
    """Share of the CPU's speed that the firmware still allows."""
    heat: float = 1.0
    """Factor on the thermal resistance."""
    wear: float = 1.0
    """Factor on flash wear."""
    ram_mib: float = 0.0
    """Memory that is gone."""
    crash_per_h: float = 0.0
    """Rate at which the box dies while it trains."""
    loses_update: float = 0.0
    """Chance that a finished update cannot be written down."""
    metered: bool = False


NOTHING = Effects()


def severity(fault: Fault, at: float) -> float:
    """0 before the first bite, 1 when it is as bad as it gets."""
    return min(1.0, max(0.0, (at - fault.since - fault.lead_s) / fault.grows_s))


def effects(fault: Fault | None, at: float) -> Effects:
    """What to reckon with at this moment."""
    if fault is None or at < fault.since:
        return NOTHING
    bad = severity(fault, at)
    match fault.name:
        case "weak-supply":
            # Firmware holds the clock at 600 of 1500 MHz while the supply sags.
            return Effects(cap=1 - 0.6 * (bad > 0), crash_per_h=4.0 * bad)
        case "dying-card":
            return Effects(wear=1 + 9 * bad, loses_update=0.8 * bad, crash_per_h=0.5 * bad)
        case "memory-leak":
            return Effects(ram_mib=max(0.0, at - fault.since) / 3600 * 120.0)
        case "blocked-fan":
            return Effects(heat=1 + 1.2 * bad)
        case "metered-link":
            return Effects(metered=True)


def survives_s(crash_per_h: float, draw: float) -> float:
    """Seconds of training until a crash, for a draw from [0, 1); inf where none threatens."""
    return -math.log(1 - draw) * 3600 / crash_per_h if crash_per_h else math.inf
