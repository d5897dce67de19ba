"""What people and their surroundings do to boxes: who is there, who charges, how data drift.

SYNTHETIC: no trace of availability, batteries or queues was to be had, so these are processes with
parameters, not measurements. Pure functions of time and seed; times are in seconds since the fleet
started, `Life.clock_s` is the client's time of day at that moment.
"""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_sim.chance import exponential, normal, uniform
from firmware_sim.links import DAY_S, Hours, within

_THERE, _CHARGE, _QUEUE, _DRIFT, _CLOUD = 11, 12, 13, 14, 15
FAR = 30 * DAY_S
"""Nobody looks further ahead than this for a change."""
NIGHTS = 60
"""Nor than so many forgotten nights."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Span = Annotated[float, Meta(ge=1.0, le=FAR)]
"""Seconds."""


class Behaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a group of clients lives. The defaults are a box on mains that is always there."""

    available: Share = 1.0
    """Share of the time on line, at the mean over a day."""
    diurnal: Share = 0.0
    """How strongly the hour decides: 0 not at all, 1 as far as `available` lets it."""
    peak_hour: Annotated[float, Meta(ge=0.0, lt=24.0)] = 2.0
    """When most are there (phones: at night, on Wi-Fi and idle)."""
    session_s: Span = 3600.0
    """Who is there stays for about so long."""
    charging: Literal["mains", "nightly", "now-and-then", "solar"] = "mains"
    """Boards without a battery hang on mains, but for solar ones, which are dark at night."""
    charge_hours: Hours = (22.5, 6.5)
    """nightly: plugged in and taken off at about these hours."""
    forgets: Share = 0.1
    """nightly: share of nights without charging."""
    charge_every_s: Annotated[float, Meta(ge=60.0, le=FAR)] = 6 * 3600.0
    """now-and-then: from one charging to the next."""
    charge_s: Span = 3600.0
    """now-and-then: length of one charging."""
    start_charge: tuple[Share, Share] = (0.3, 1.0)
    """Where batteries stand at the start, evenly between these."""
    ambient_c: Annotated[float, Meta(ge=-60.0, le=80.0)] = 22.0
    ambient_swing_c: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.0
    """Half the difference between afternoon and night."""
    zones_h: Annotated[float, Meta(ge=0.0, le=24.0)] = 0.0
    """Clients' clocks are spread evenly over so many hours."""
    drift_per_day: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    """How far features move in a day, in their standard deviations."""
    jump_after_s: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0
    """Data change at once after this time; 0 for never."""
    jump: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    queue_s: Annotated[float, Meta(ge=0.0, le=FAR)] = 0.0
    """Median wait for a shared quantum processor, per job; 0 where circuits are simulated."""
    queue_spread: Annotated[float, Meta(ge=0.0, le=3.0)] = 0.8
    """Log-normal sigma of that wait."""


PRESETS: dict[str, Behaviour] = {
    "mains": Behaviour(),
    "office": Behaviour(available=0.45, diurnal=1.0, peak_hour=13.0, session_s=7200.0),
    "phone": Behaviour(
        available=0.55,
        diurnal=0.8,
        peak_hour=3.0,
        session_s=2400.0,
        charging="nightly",
        zones_h=3.0,
    ),
    "worldwide": Behaviour(
        available=0.5,
        diurnal=0.8,
        peak_hour=3.0,
        session_s=1800.0,
        charging="nightly",
        zones_h=24.0,
    ),
    "solar": Behaviour(charging="solar", ambient_c=15.0, ambient_swing_c=8.0),
    "field": Behaviour(
        available=0.85,
        session_s=5400.0,
        ambient_c=18.0,
        ambient_swing_c=6.0,
    ),
}
"""Ready behaviours by name."""


class Life(Struct, frozen=True, gc=False):
    """One client's own draw of a behaviour."""

    behaviour: Behaviour
    seed: int
    clock_s: float = 0.0


def is_there(life: Life, at: float) -> bool:
    """Whether the client is on line."""
    return _there(life, int(at // life.behaviour.session_s))


def changes(life: Life, at: float) -> float:
    """When `is_there` may next change; inf if it never does."""
    if life.behaviour.available >= 1:
        return math.inf
    length = life.behaviour.session_s
    slot = int(at // length)
    now = _there(life, slot)
    slot += 1
    while slot * length < at + FAR and _there(life, slot) == now:
        slot += 1
    return slot * length


def supply(life: Life, at: float) -> tuple[float, float]:
    """(watts on offer from outside, until when they stay the same)."""
    charging = life.behaviour.charging
    if charging == "mains":
        return math.inf, math.inf
    if charging == "solar":
        return _sun(life, at)
    if charging == "nightly":
        return _nightly(life, at)
    return _now_and_then(life, at)


def ambient_c(life: Life, at: float) -> float:
    """Air round the board: warmest at three in the afternoon."""
    behaviour, hour = life.behaviour, _hour(life, at)
    return behaviour.ambient_c + behaviour.ambient_swing_c * math.cos((hour - 15) / 12 * math.pi)


def drift(life: Life, at: float) -> float:
    """How far the client's features have moved, in standard deviations."""
    behaviour = life.behaviour
    jumped = bool(behaviour.jump_after_s) and at >= behaviour.jump_after_s
    pace = 0.5 + uniform(life.seed, _DRIFT)
    return pace * (behaviour.drift_per_day * at / DAY_S + behaviour.jump * jumped)


def queue_s(life: Life, at: float) -> float:
    """How long a job that is handed in now waits for the quantum processor."""
    median, sigma = life.behaviour.queue_s, life.behaviour.queue_spread
    if not median:
        return 0.0
    busy = 1 + 0.5 * math.cos((_hour(life, at) - 16) / 12 * math.pi)
    return median * busy * math.exp(sigma * normal(life.seed, _QUEUE, int(at // 600)))


def _hour(life: Life, at: float) -> float:
    return (at + life.clock_s) % DAY_S / 3600


def _there(life: Life, slot: int) -> bool:
    if life.behaviour.available >= 1:
        return True
    middle = (slot + 0.5) * life.behaviour.session_s
    return uniform(life.seed, _THERE, slot) < _chance(life, middle)


def _chance(life: Life, at: float) -> float:
    behaviour = life.behaviour
    wave = math.cos((_hour(life, at) - behaviour.peak_hour) / 12 * math.pi)
    room = min(behaviour.available, 1 - behaviour.available)
    return behaviour.available + behaviour.diurnal * room * wave


def _nightly(life: Life, at: float) -> tuple[float, float]:
    start, end = life.behaviour.charge_hours
    length = (end - start) % 24 * 3600
    shift = start * 3600 - life.clock_s
    night = int((at - shift) // DAY_S) - 1
    for number in range(night, night + NIGHTS):
        begins = number * DAY_S + shift + 1800 * normal(life.seed, _CHARGE, number)
        ends = begins + length * (0.8 + 0.4 * uniform(life.seed, _CHARGE, number, 9))
        if at < ends and uniform(life.seed, _CHARGE, number, 8) >= life.behaviour.forgets:
            return (0.0, begins) if at < begins else (math.inf, ends)
    return 0.0, math.inf


def _now_and_then(life: Life, at: float) -> tuple[float, float]:
    behaviour = life.behaviour
    number = int(at // behaviour.charge_every_s)
    period = behaviour.charge_every_s
    length = min(0.9 * period, exponential(life.seed, behaviour.charge_s, _CHARGE, number))
    begins = number * period + (period - length) * uniform(life.seed, _CHARGE, number, 1)
    if at < begins:
        return 0.0, begins
    if at < begins + length:
        return math.inf, begins + length
    return 0.0, (number + 1) * period


def _sun(life: Life, at: float) -> tuple[float, float]:
    """A 10 W panel, hour by hour; each day has its clouds."""
    until = (math.floor((at + life.clock_s) / 3600) + 1) * 3600 - life.clock_s
    if not within((6.0, 18.0), at + life.clock_s):
        return 0.0, until
    height = math.sin((math.floor(_hour(life, at)) + 0.5 - 6) / 12 * math.pi)
    clouds = 0.3 + 0.7 * uniform(life.seed, _CLOUD, int((at + life.clock_s) // DAY_S))
    return 10.0 * height * clouds, until
