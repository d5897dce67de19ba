"""The port over a real broker: MQTT 5 by paho, with paho's faults contained.

One thread of ours owns the network, and every connection gets a fresh paho client that no other
thread touches. So paho's locks cannot meet ours, nothing half sent outlives its connection (paho
resends all of it, past its own window), and paho's own thread, which dies of one exception in a
callback, is not used. Callers only append to queues and wake the thread.
"""

import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from proto.broker_url import BrokerUrl, MqttSettings
from proto.connection import Connection
from proto.outgoing import Outgoing
from proto.reconnect import Backoff, problem_words
from proto.tcp_info import Link, link_of
from proto.transport import Deliver, Delivery, Disconnected, Incoming

__all__ = ["BrokerUrl", "MqttPort", "MqttSettings"]

_logger = logging.getLogger(__name__)

_FLUSH_S = 2.0
_LONG_S = 3600.0


class MqttPort:
    """A `Port` over a real broker. On each connection `Connected` comes before all deliveries.

    Either `open` it: it lives in a thread of its own, and `deliver` had better only enqueue. Or
    `run` it: the calling thread serves the network, `deliver` and `work` are the program, and no
    thread wakes another. `work` is called after arrivals and in time, with or without a broker; it
    says how many seconds later it wants to be called again.
    """

    def __init__(
        self, settings: MqttSettings, deliver: Deliver, work: Callable[[], float] | None = None
    ) -> None:
        self._settings = settings
        self._deliver = deliver
        self._work = work
        self._posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._outgoing = Outgoing()
        self._closing = threading.Event()
        self._told = ""
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"mqtt {settings.client_id}", daemon=True
        )

    def open(self) -> Self:
        """Start connecting in the background; a broker that is away raises nothing."""
        self._thread.start()
        return self

    def run(self) -> None:
        """Serve in this thread until `close`."""
        self._thread = threading.current_thread()
        self._run()

    def post(self, thing: object) -> None:
        """Have `deliver` called with this in the serving thread; from any thread or signal."""
        self._posted.put(thing)
        self._outgoing.wake(always=True)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """See `Port.publish`. Raises LocalError for a topic that cannot be published to."""
        self._outgoing.offer(topic, payload, retain=retain)

    def subscribe(self, *patterns: str) -> None:
        """See `Port.subscribe`. Raises LocalError for a pattern no broker accepts."""
        self._outgoing.add_patterns(*patterns)

    def unsubscribe(self, *patterns: str) -> None:
        """See `Port.unsubscribe`."""
        self._outgoing.drop_patterns(*patterns)

    def ack(self, delivery: Delivery) -> None:
        """See `Port.ack`. One from an earlier connection is not sent; the message comes again."""
        self._outgoing.add_ack(delivery.token)

    def link(self) -> Link:
        """What the present connection has shown of the link; ask in the serving thread."""
        return link_of(self._socket)

    def alive(self) -> bool:
        """Whether the serving thread lives."""
        return self._thread.is_alive()

    def close(self) -> None:
        """See `Port.close`. What was published just before has up to two seconds to leave."""
        self._closing.set()
        self._outgoing.wake()
        if self._thread.ident is None:
            self._outgoing.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(_FLUSH_S + self._settings.connect_timeout_s + 1.0)

    def _tell(self, event: Incoming) -> None:
        if self._closing.is_set():
            return
        try:
            self._deliver(event)
        except Exception:
            _logger.exception("the receiver of messages failed; the message stays owed to us")

    def _let_work(self) -> float:
        """Hand over what was posted, let the program work; seconds until it wants to again."""
        if not self._posted.empty():
            self._outgoing.calm()
        while not self._posted.empty():
            self._deliver(self._posted.get())
        return self._work() if self._work else _LONG_S

    def _idle(self, over: Callable[[], bool], seconds: float) -> None:
        """No broker to serve: the program goes on until something is over, or so many seconds."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._outgoing.woken, selectors.EVENT_READ)
            while not over() and (left := end - time.monotonic()) > 0:
                wait = self._let_work()
                # What ended this may have rung before the program's work took the bell back.
                if not over() and selector.select(max(0.0, min(left, wait))):
                    self._outgoing.calm()

    def _connect(self, connection: Connection, patterns: dict[str, None]) -> socket.socket:
        """Connect while the program goes on: names, TCP and TLS may take seconds."""
        with ThreadPoolExecutor(1) as helper:
            opening = helper.submit(connection.open, patterns)
            opening.add_done_callback(lambda _: self._outgoing.wake(always=True))
            self._idle(opening.done, _LONG_S)
        return opening.result()

    def _run(self) -> None:
        self._outgoing.owner = threading.get_ident()
        backoff = Backoff(self._settings.reconnect_first_s, self._settings.reconnect_longest_s)
        number = 0
        while not self._closing.is_set():
            number += 1
            began, connection = time.monotonic(), Connection(self._settings, number, self._tell)
            try:
                self._live(connection)
            except (OSError, ValueError) as problem:
                connection.fail(problem_words(problem, self._settings.url.address))
            except Exception:
                _logger.exception("the network thread met something unforeseen; it connects again")
                connection.fail("an unforeseen failure; the log has it")
            connection.fail("the connection broke; if it repeats, look for another copy of this id")
            self._outgoing.set_offline()
            lasted = time.monotonic() - began if connection.accepted else 0.0
            wait = backoff.after(lasted, taken_over=connection.taken_over)
            self._report(connection.reason, wait)
            self._idle(self._closing.is_set, wait)
        self._outgoing.close()

    def _report(self, reason: str, wait: float) -> None:
        if reason != self._told and not self._closing.is_set():
            self._told = reason
            _logger.warning("no broker: %s; next attempt in %.0f s", reason, wait)
            self._tell(Disconnected(reason))

    def _live(self, connection: Connection) -> None:
        outgoing = self._outgoing
        subscribed, leave_by = outgoing.patterns, float("inf")
        beat_s = longest_s = self._settings.keepalive_s / 4
        with selectors.DefaultSelector() as selector, contextlib.closing(connection):
            selector.register(outgoing.woken, selectors.EVENT_READ)
            self._socket = self._connect(connection, subscribed)
            selector.register(self._socket, selectors.EVENT_READ)
            while (
                connection.serve(selector, longest_s, outgoing.calm) and time.monotonic() < leave_by
            ):
                wait_s = self._let_work()
                if connection.accepted:
                    arrived, subscribed = outgoing.online, self._serve(connection, subscribed)
                    wait_s = wait_s if arrived else self._let_work()
                longest_s = max(0.0, min(beat_s, wait_s))
                if self._closing.is_set():
                    leave_by, longest_s = min(leave_by, time.monotonic() + _FLUSH_S), _FLUSH_S / 4
                    if outgoing.empty() and not connection.in_flight:
                        break
                if self._more(connection, subscribed):
                    longest_s = 0.0  # came while we served, from here or elsewhere

    def _more(self, connection: Connection, subscribed: dict[str, None]) -> bool:
        """Whether `_serve` would have something to do at once."""
        outgoing = self._outgoing
        room = len(connection.in_flight) < connection.window
        more = not self._posted.empty() or outgoing.patterns is not subscribed
        return connection.accepted and (more or outgoing.has_acks() or (room and outgoing.waits()))

    def _serve(self, connection: Connection, subscribed: dict[str, None]) -> dict[str, None]:
        """Give paho what waits, no more than the window holds. Returns what is subscribed now."""
        outgoing = self._outgoing
        if not outgoing.online and not self._closing.is_set():
            self._told = ""
            outgoing.set_online(connection.largest_packet)
            connection.inbound.announce()
        patterns = outgoing.patterns
        if added := [pattern for pattern in patterns if pattern not in subscribed]:
            connection.subscribe(added)
        if outgoing.dropped and (gone := outgoing.take_dropped()):
            connection.unsubscribe(gone)
        while (token := outgoing.next_ack()) is not None:
            connection.ack(connection.inbound.settle(token))
        while len(connection.in_flight) < connection.window and (
            waiting := outgoing.next_publish()
        ):
            connection.publish(*waiting)
        return patterns
