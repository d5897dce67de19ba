"""The one port through which bytes reach a broker and come from it.

Promises every implementation keeps (tests/contracts/transport.py runs on all three):
a publish reaches subscribers at least once while the broker lives, order may change, duplicates may
come; a delivery that was not acked comes again; a retained message reaches late subscribers; the
will is published when a client dies without saying goodbye. Nothing durable is promised: that is
the outbox's work.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

MAX_PAYLOAD = 128 * 1024 + 512
"""Largest publish in bytes: a 128 KiB chunk and its frame, what every common broker accepts."""

MAX_IN_FLIGHT = 8
"""Publishes under way at once: the smallest Receive Maximum among common brokers is 10."""

MAX_QUEUED = 1024
"""Publishes waiting in memory; one more is refused, and the outbox offers it again later."""


class Delivery(Struct, frozen=True, gc=False):
    """One message from the broker. It stays owed to us until it is acked."""

    topic: str
    payload: bytes
    retained: bool = False
    token: int = 0


class Connected(Struct, frozen=True):
    """The broker has accepted us (again); subscriptions stand. It comes before any delivery."""


class Disconnected(Struct, frozen=True):
    """The link is gone; the port keeps trying with jitter."""

    reason: str


class Will(Struct, frozen=True):
    """What the broker publishes, retained, when we vanish."""

    topic: str
    payload: bytes


Incoming = Connected | Disconnected | Delivery
Deliver = Callable[[Incoming], None]
"""Called with each incoming thing by whoever serves the port, in one thread, in order."""


class Port(Protocol):
    """A connection to a broker. It is made with a `Deliver` and, optionally, a `Will`."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Queue one message, QoS 1. Raises TransportError when too large or the queue is full.

        While the link is down nothing is queued: the call does nothing, and the caller sends again
        on `Connected`.
        """

    def subscribe(self, *patterns: str) -> None:
        """Add subscriptions. Raises LocalError for a malformed one.

        They are renewed on each new connection, which brings what is retained once more.
        """

    def unsubscribe(self, *patterns: str) -> None:
        """Take subscriptions back; one that is not there is no error.

        What is on its way still comes. Should the link break just then, a broker that kept the
        session may go on sending: what nobody expects is acked and ignored.
        """

    def ack(self, delivery: Delivery) -> None:
        """Say that this delivery is safely handled, so that it does not come again.

        Acks leave in the order of deliveries, as MQTT demands, and a broker sends some 20 ahead:
        a delivery that is never acked soon stops all others. What cannot be used is acked too.
        """

    def close(self) -> None:
        """Say goodbye (no will is sent) and stop. Does nothing the second time."""
