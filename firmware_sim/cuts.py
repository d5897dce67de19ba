"""One disturbance at one step of one table: where it strikes, and how it is done."""

import random
from dataclasses import dataclass, field
from typing import Literal, get_args

from coordinator.jobstate import Event as RoundEvent
from edge_client import session
from edge_client.state import Event as BoxEvent
from firmware_sim.broker import MemoryBroker
from firmware_sim.fleet import Fleet
from firmware_sim.link import Link
from firmware_sim.memory_port import Wire

Kind = Literal["kill-before", "kill-after", "delay", "duplicate", "corrupt"]
KINDS: tuple[Kind, ...] = get_args(Kind)
AWAY_S = 40.0
"""How long a killed process or a cut link stays away."""
TWICE_S = 5.0
"""How long everything comes twice, some of it late."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event at one table in the undisturbed run: `number` counts the actor's own events."""

    actor: str
    """A box's name, or "coordinator"."""
    number: int
    state: str
    event: str


@dataclass(frozen=True, slots=True)
class Cut:
    """What happens, and at which step."""

    kind: Kind
    step: Step

    def __str__(self) -> str:
        at = self.step
        return f"{self.kind} {at.actor} in {at.state} at {at.event} (its event {at.number})"


class Killed(BaseException):
    """The process of the actor that is at work dies here."""


@dataclass
class Saboteur:
    """Watches both tables; notes all steps, and strikes once at the cut's."""

    fleet: Fleet
    cut: Cut | None = None
    steps: list[Step] = field(default_factory=list)
    struck: bool = False
    _counts: dict[str, int] = field(default_factory=dict)
    _open: list[Step] = field(default_factory=list)

    def box(self, box: str, event: BoxEvent, *, after: bool) -> None:
        state = self.fleet.boxes[box].state if box in self.fleet.boxes else None
        name = f"{state.link.value}/{state.work.value}" if state else "offline/idle"
        if state and not after:  # the table is pure: asked beforehand it says the same
            reached, _ = session.step(state, event, self.fleet.clock.now)
            assert session.allows(state, event, reached), f"{state} by {event} to {reached}"
        self._see(box, name, type(event).__name__, after=after)

    def round(self, job: str, event: RoundEvent, *, after: bool) -> None:
        jobs = getattr(self.fleet.service, "_jobs", None)
        known = jobs.known(job) if jobs is not None else None
        state = known.phase.value if known else "waiting"
        self._see("coordinator", state, type(event).__name__, after=after)

    def _see(self, actor: str, state: str, event: str, *, after: bool) -> None:
        if not after:
            number = self._counts[actor] = self._counts.get(actor, 0) + 1
            self.steps.append(Step(actor, number, state, event))
            self._open.append(self.steps[-1])
        # An action may bring the next event: steps end in the reverse order of their beginnings.
        step = self._open[-1] if not after else self._open.pop()
        if self.cut is None or self.struck or step != self.cut.step:
            return
        if self.cut.kind == "kill-after" or not after:
            self._strike(actor, after=after)

    def _strike(self, actor: str, *, after: bool) -> None:
        assert self.cut is not None
        kind, clock = self.cut.kind, self.fleet.clock
        if kind == "kill-after" and not after:
            return
        self.struck = True
        broker, client = self.fleet.broker, client_id(self.fleet, actor)
        assert isinstance(broker, BadBroker)
        match kind:
            case "kill-before" | "kill-after":
                self._open.clear()
                raise Killed(actor)
            case "delay":
                clock.after(0.0, lambda: broker.link.cut(client))
                clock.after(AWAY_S, lambda: broker.link.mend(client))
            case "duplicate":
                broker.doubled = client
                clock.after(TWICE_S, broker.behave)
            case "corrupt":
                broker.spoilt = client


class BadBroker(MemoryBroker):
    """A broker that can be told to do one client wrong."""

    doubled = ""
    """Everything this client sends comes twice, once of it late."""
    spoilt = ""
    """The next thing this client sends has a byte flipped."""

    @property
    def link(self) -> Link:
        return self._link

    def behave(self) -> None:
        self.doubled = ""

    def published(self, wire: Wire, topic: str, payload: bytes, *, retain: bool) -> bool:
        client = wire.port.client_id
        if client == self.spoilt and payload:
            self.spoilt = ""
            at = random.Random(len(payload)).randrange(len(payload))  # noqa: S311 - repeatable
            payload = payload[:at] + bytes([payload[at] ^ 0x41]) + payload[at + 1 :]
        here = super().published(wire, topic, payload, retain=retain)
        if client == self.doubled:
            self.clock.after(1.0, lambda: self._route(topic, payload, retain=retain))
            self._route(topic, payload, retain=retain)
        return here


def client_id(fleet: Fleet, actor: str) -> str:
    """What the actor is called at the broker."""
    return f"{fleet.name}-{actor}" if actor == "coordinator" else fleet.client_id(actor)
