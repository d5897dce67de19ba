"""The client's end of the in-memory broker: the same promises and refusals as over a real one."""

import random
from typing import TYPE_CHECKING

from firmware_sim.traffic import Way
from proto.inbound import AckOrder
from proto.outgoing import check_pattern, check_publish, check_room
from proto.reconnect import Backoff
from proto.transport import Connected, Deliver, Delivery, Disconnected, Incoming, Will

if TYPE_CHECKING:
    from firmware_sim.broker import MemoryBroker


class Wire:
    """One connection. Once `severed`, nothing that was on its way arrives."""

    __slots__ = (
        "acks",
        "at_once",
        "began",
        "client_id",
        "down",
        "patterns",
        "port",
        "severed",
        "under_way",
        "up",
    )

    def __init__(
        self, port: "MemoryPort", began: float, ways: tuple[Way, Way], *, at_once: bool
    ) -> None:
        self.port, self.client_id = port, port.client_id
        self.began = began
        self.up, self.down = ways
        """Where messages that leave and that come are counted."""
        self.at_once = at_once
        """Whether all that is sent on it is there at once."""
        self.patterns = tuple(port.patterns)
        self.acks = AckOrder()
        self.severed = False
        self.under_way = 0
        """Publishes on their way to the broker."""


class MemoryPort:
    """A `Port` to a `MemoryBroker`; made by its `connect`. Everything happens on the clock."""

    def __init__(
        self, broker: "MemoryBroker", client_id: str, deliver: Deliver, will: Will | None
    ) -> None:
        self.client_id = client_id
        self.will = will
        self.patterns: dict[str, None] = {}
        self._broker = broker
        self._deliver = deliver
        self._wire: Wire | None = None
        self._online = False
        self._over = False
        self._burst, self._step = 0, -1
        """Publishes of this very event, which leave after it, and which event that is."""
        self._told = ""
        self._backoff: Backoff | None = None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """See `Port.publish`. Raises LocalError for a topic that cannot be published to."""
        check_publish(topic, payload)
        wire, broker = self._wire, self._broker
        if wire is None or not self._online:
            return
        step = broker.clock.steps
        if self._step != step:
            self._burst, self._step = 0, step
        check_room(wire.under_way + self._burst)
        if broker.published(wire, topic, payload, retain=retain):
            self._burst += 1

    def subscribe(self, *patterns: str) -> None:
        """See `Port.subscribe`. Raises LocalError for a pattern no broker accepts."""
        for pattern in patterns:
            check_pattern(pattern)
        self.patterns |= dict.fromkeys(patterns)
        if self._wire is not None and self._online:
            self._broker.subscribed(self._wire, patterns)

    def unsubscribe(self, *patterns: str) -> None:
        """See `Port.unsubscribe`."""
        gone = tuple(pattern for pattern in patterns if self.patterns.pop(pattern, self) is None)
        if self._wire is not None and self._online:
            self._broker.unsubscribed(self._wire, gone)

    def ack(self, delivery: Delivery) -> None:
        """See `Port.ack`. One from an earlier connection counts for nothing, as in MQTT."""
        wire = self._wire
        if wire is not None:
            for number in wire.acks.settle(delivery.token):
                self._broker.acked(wire, number)

    def close(self) -> None:
        """See `Port.close`."""
        wire = self.die()
        if wire is not None:
            self._broker.said_goodbye(wire)

    # What follows is called by the broker.

    def die(self) -> Wire | None:
        """Stop as a killed process does. Returns the connection it leaves behind."""
        wire, self._wire = self._wire, None
        self._over = True
        self._online = False
        return wire

    def attempt(self) -> None:
        """Try to connect; on failure try again later, for ever."""
        if self._over:
            return
        if reason := self._broker.out_of_reach(self.client_id):
            self._lost(reason, lasted=0.0)
        else:
            self._wire = self._broker.connecting(self)

    def accepted(self, wire: Wire) -> None:
        if self._wire is not wire or wire.severed:
            return
        self._online = True
        self._told = ""
        if added := tuple(name for name in self.patterns if name not in wire.patterns):
            self._broker.subscribed(wire, added)
        self._tell(Connected())

    def arrived(self, wire: Wire, delivery: Delivery) -> None:
        if self._wire is wire and not wire.severed:
            wire.acks.owe(delivery.token)
            self._deliver(delivery)

    def severed(self, wire: Wire, reason: str, *, taken_over: bool = False) -> None:
        if self._wire is wire:
            self._lost(reason, lasted=self._broker.clock.now - wire.began, taken_over=taken_over)

    def _lost(self, reason: str, lasted: float, *, taken_over: bool = False) -> None:
        self._wire = None
        self._online = False
        if reason != self._told:
            self._told = reason
            self._tell(Disconnected(reason))
        if self._backoff is None:
            jitter = random.Random(self.client_id)  # noqa: S311 - repeatable, no secret
            self._backoff = Backoff(1.0, 120.0, jitter.uniform)
        wait = self._backoff.after(lasted, taken_over=taken_over)
        self._broker.clock.after(wait, self.attempt)

    def _tell(self, event: Incoming) -> None:
        if not self._over:
            self._deliver(event)
