"""What happens to a fleet by script: "at 00:10 kill 20 % of clients", "broker down for 90 s"."""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from coordinator.taskfile import Time, seconds
from firmware_sim.hidden import FaultName
from proto.errors import ConfigError

CLOCK = r"^(\d{1,4}):([0-5]\d)(?::([0-5]\d))?\Z|^\d{1,9}(?:\.\d{1,9})?[smhd]\Z"
Moment = Annotated[str, Meta(pattern=CLOCK, description="00:10, 00:10:30 (h:m:s), 90s, 2m or 1.5h")]
"""Hours and minutes since the fleet started, or a length of time since then."""

RoundState = Literal["waiting", "collecting", "folding", "publishing"]
BoxState = Literal["offline", "announced", "secured", "idle", "fetching", "training"]


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    at: Moment | None = None
    """When; entries with `state` may leave it out and mean the first time."""


class _OnClients(_Entry, frozen=True, kw_only=True):
    clients: tuple[Annotated[int, Meta(ge=1, le=100_000)], ...] = ()
    """By number, from 1. One of clients, share and group."""
    share: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Drawn by lot from the whole fleet."""
    group: str | None = None


class Kill(_OnClients, frozen=True, kw_only=True, tag="kill"):
    """As kill -9 or a pulled plug; they come back after `length`, or never."""

    length: Time | None = None
    state: BoxState | None = None
    """Only once the box is in this state."""


class Cut(_OnClients, frozen=True, kw_only=True, tag="cut-link"):
    """Links go down for `length`."""

    length: Time


class Slow(_OnClients, frozen=True, kw_only=True, tag="slow"):
    """Something else takes the CPU: training takes `factor` times as long."""

    factor: Annotated[float, Meta(ge=1.0, le=1000.0)]
    length: Time | None = None


class Poison(_OnClients, frozen=True, kw_only=True, tag="poison"):
    """From then on these clients send updates of this kind."""

    what: Literal["nan", "huge", "zeros", "flipped", "wrong-shape", "garbage"]


class Ail(_OnClients, frozen=True, kw_only=True, tag="ail"):
    """A hidden fault begins."""

    fault: FaultName


class BrokerDown(_Entry, frozen=True, kw_only=True, tag="broker-down"):
    length: Time
    lose_state: bool = False
    """Whether it forgets its sessions and what it retained."""


class KillCoordinator(_Entry, frozen=True, kw_only=True, tag="kill-coordinator"):
    """As kill -9; it starts again after `length`."""

    length: Time = "5s"
    state: RoundState | None = None
    round: Annotated[int, Meta(ge=1, le=100_000)] | None = None


Entry = Kill | Cut | Slow | Poison | Ail | BrokerDown | KillCoordinator


def moment_s(text: str) -> float:
    """Seconds since the start. Raises ConfigError."""
    if not re.match(CLOCK, text):
        raise ConfigError(f"{text!r} is no moment: write 00:10, 00:10:30, 90s, 2m or 1.5h")
    if ":" not in text:
        return seconds(text)
    hours, minutes, *rest = map(int, text.split(":"))
    return 3600.0 * hours + 60.0 * minutes + (rest[0] if rest else 0)
