"""Links as pure functions of time and seed: rate, delay, loss, outages, metered hours.

Rates are piecewise constant over slots. A model draws each slot around its mean (log-normal, a slow
and a fast part); a trace is measured and runs in a circle from an offset of the client's own.
"""

import math
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from firmware_sim.chance import exponential, normal, uniform
from firmware_sim.traces import SLOT_S
from proto.errors import ConfigError

SLOW_SLOTS = 60
"""Half of a rate's swing holds for so many slots."""
LEAST_BPS = 50.0
"""Bytes per second below which no link falls while it is up at all."""
DAY_S = 86400.0
_SLOW, _FAST, _SCALE, _OUTAGE = 1, 2, 3, 4

Direction = Literal["up", "down"]
"""From a client to the broker, or from the broker to a client."""

UP: Direction = "up"
DOWN: Direction = "down"

Hour = Annotated[float, Meta(ge=0.0, le=24.0)]
Hours = tuple[Hour, Hour]
"""From and until, in hours of the day; it may run over midnight."""


class LinkKind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of link. `links.toml` cites the source of every number."""

    label: str
    up_mbps: float
    down_mbps: float
    spread: float = 0.0
    """Log-normal sigma between clients."""
    swing: float = 0.0
    """Log-normal sigma over time at one client."""
    delay_s: float = 0.0
    """One way."""
    loss: float = 0.0
    """Share of messages that need a retransmission of `retransmit_s`."""
    retransmit_s: float = 1.0
    duplicate: float = 0.0
    reorder: float = 0.0
    outage_every_s: float = 0.0
    """Mean time from the start of one outage to the next; 0 for never."""
    outage_s: float = 0.0
    metered: bool = False
    """Whether somebody pays by the byte."""
    free: Hours | None = None
    """Hours in which a metered link costs nothing."""
    traces: Literal["", "oboe", "3g"] = ""
    """The family of measured rates that replaces the model where it is at hand."""
    sources: dict[str, str] = {}


class Line(Struct, frozen=True, gc=False):
    """One client's own link. `trace` is shared between clients."""

    kind: LinkKind
    seed: int
    trace: tuple[float, ...] = ()
    metered_since: float = math.inf
    """A plan that has become metered without any number saying so (a hidden fault)."""


@cache
def kinds() -> dict[str, LinkKind]:
    """Every link of links.toml by name."""
    text = resources.files(__package__).joinpath("links.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, LinkKind])


def kind(name: str) -> LinkKind:
    """Raises ConfigError that lists what there is."""
    if name not in kinds():
        raise ConfigError(f"no link {name!r}; there are: {', '.join(kinds())}")
    return kinds()[name]


def rate(line: Line, direction: Direction, at: float) -> float:
    """Bytes per second in this slot, outages aside."""
    mbps = line.kind.up_mbps if direction == UP else line.kind.down_mbps
    slot = int(at // SLOT_S)
    if line.trace:
        # A trace is of one way; the other keeps the kind's proportion.
        here = line.trace[(line.seed + slot) % len(line.trace)]
        return max(LEAST_BPS, here * mbps / line.kind.down_mbps * 125_000)
    half = line.kind.swing / math.sqrt(2)
    power = -(line.kind.swing**2) / 2 - line.kind.spread**2 / 2
    if half:
        power += half * normal(line.seed, _SLOW, slot // SLOW_SLOTS)
        power += half * normal(line.seed, _FAST, slot)
    if line.kind.spread:
        power += line.kind.spread * normal(line.seed, _SCALE)
    return max(LEAST_BPS, mbps * math.exp(power) * 125_000)


def sent_at(line: Line, direction: Direction, size: int, at: float) -> float:
    """When the last of `size` bytes that start at `at` has left, outages included."""
    now, left = at, float(size)
    while True:
        down = next_outage(line, now)
        if down is not None and down[0] <= now:
            now = down[1]
            continue
        ends = min(_slot_end(now), math.inf if down is None else down[0])
        speed = rate(line, direction, now)
        if left <= speed * (ends - now):
            return now + left / speed
        left -= speed * (ends - now)
        now = ends


def up_again(line: Line, at: float) -> float:
    """`at` while the link is up, else when the outage ends."""
    span = _outage(line, at)
    return at if span is None or not span[0] <= at < span[1] else span[1]


def next_outage(line: Line, at: float) -> tuple[float, float] | None:
    """The first outage that ends after `at`, as (from, until); None where there never is one."""
    span, moment = _outage(line, at), at
    while span is not None and span[1] <= at:
        moment += line.kind.outage_every_s
        span = _outage(line, moment)
    return span


def is_metered(line: Line, at: float, day_start_s: float = 0.0) -> bool:
    """Whether bytes cost money now. `day_start_s`: the time of day at which the fleet started."""
    if at >= line.metered_since:
        return True
    if not line.kind.metered:
        return False
    return line.kind.free is None or not within(line.kind.free, at + day_start_s)


def within(hours: Hours, second_of_day: float) -> bool:
    """Whether a moment falls into these hours of the day."""
    hour, (first, last) = second_of_day % DAY_S / 3600, hours
    return first <= hour < last if first <= last else hour >= first or hour < last


def _slot_end(at: float) -> float:
    return (at // SLOT_S + 1) * SLOT_S


def _outage(line: Line, at: float) -> tuple[float, float] | None:
    """The outage of the period in which `at` lies: one in each, somewhere in it."""
    period = line.kind.outage_every_s
    if not period or not line.kind.outage_s:
        return None
    number = int(at // period)
    drawn = exponential(line.seed, line.kind.outage_s, _OUTAGE, number, 1)
    length = min(drawn, 0.9 * period)
    start = number * period + (period - length) * uniform(line.seed, _OUTAGE, number, 2)
    return start, start + length
