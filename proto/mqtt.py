"""The port over a real broker: MQTT 5 by paho, with paho's faults contained.

One thread of ours owns the network, and every connection gets a fresh paho client that no other
thread touches. So paho's locks cannot meet ours, nothing half sent outlives its connection (paho
resends all of it, past its own window), and paho's own thread, which dies of one exception in a
callback, is not used. Callers only append to queues and wake the thread.

Measured faults and the rule for each: research note on transport and security, section 2.2.
"""

import contextlib
import logging
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, cast

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from proto.broker_url import BrokerUrl, MqttSettings
from proto.inbound import LARGEST_INBOUND, Inbound
from proto.outgoing import UNLIMITED, Outgoing
from proto.reconnect import TAKEN_OVER, Backoff, problem_words, refusal_words
from proto.transport import MAX_IN_FLIGHT, Deliver, Delivery, Disconnected, Incoming

__all__ = ["BrokerUrl", "MqttPort", "MqttSettings"]

_logger = logging.getLogger(__name__)

_FLUSH_S = 2.0
_READ = 32 * 1024
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
        while not self._posted.empty():
            self._deliver(self._posted.get())
        return self._work() if self._work else _LONG_S

    def _idle(self, over: Callable[[], bool], seconds: float) -> None:
        """No broker to serve: the program goes on until something is over, or so many seconds."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._outgoing.woken, selectors.EVENT_READ)
            while not over() and (left := end - time.monotonic()) > 0:
                if selector.select(max(0.0, min(left, self._let_work()))):
                    self._outgoing.calm()

    def _connect(self, connection: "_Connection", patterns: dict[str, None]) -> socket.socket:
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
            began, connection = time.monotonic(), _Connection(self._settings, number, self._tell)
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

    def _live(self, connection: "_Connection") -> None:
        outgoing = self._outgoing
        subscribed, leave_by = outgoing.patterns, float("inf")
        beat_s = longest_s = self._settings.keepalive_s / 4
        with selectors.DefaultSelector() as selector, contextlib.closing(connection):
            selector.register(outgoing.woken, selectors.EVENT_READ)
            selector.register(self._connect(connection, subscribed), selectors.EVENT_READ)
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

    def _more(self, connection: "_Connection", subscribed: dict[str, None]) -> bool:
        """Whether `_serve` would have something to do at once."""
        outgoing = self._outgoing
        room = len(connection.in_flight) < connection.window
        more = not self._posted.empty() or outgoing.patterns is not subscribed
        return connection.accepted and (more or outgoing.has_acks() or (room and outgoing.waits()))

    def _serve(self, connection: "_Connection", subscribed: dict[str, None]) -> dict[str, None]:
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


class _BufferedClient(Client):
    """Reads the socket in large pieces; paho alone makes three system calls of each packet.

    Should a later paho no longer call `_sock_recv`, it reads as it likes and nothing is lost.
    """

    held = b""

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.held:
            self.held = super()._sock_recv(max(bufsize, _READ))
        data, self.held = self.held[:bufsize], self.held[bufsize:]
        return data


class _Connection:
    """One paho client for the life of one connection. Used by the network thread alone."""

    def __init__(self, settings: MqttSettings, number: int, tell: Deliver) -> None:
        self._settings = settings
        self._patterns: dict[str, None] = {}
        self._first_subscribe: int | None = None
        self._accept_by = time.monotonic() + 2 * settings.connect_timeout_s
        self.accepted = False
        self.taken_over = False
        self.reason = ""
        self.window = MAX_IN_FLIGHT
        self.largest_packet = UNLIMITED
        self.in_flight: dict[int, str] = {}
        self.inbound = Inbound(number, tell)
        self._writing = False
        self._client = client = _BufferedClient(
            CallbackAPIVersion.VERSION2, settings.client_id, protocol=MQTTv5, manual_ack=True
        )
        client.on_connect = lambda _c, _d, _f, code, extra: self._on_connect(code, extra)
        client.on_subscribe = lambda _c, _d, mid, codes, _p: self._on_subscribe(mid, codes)
        client.on_message = lambda _c, _d, message: self._on_message(message)
        client.on_publish = lambda _c, _d, mid, code, _p: self._on_publish(mid, code)
        client.on_disconnect = lambda _c, _d, flags, code, _p: self._on_disconnect(flags, code)

    def open(self, patterns: dict[str, None]) -> socket.socket:
        """Connect the socket, send CONNECT, return the socket. Raises OSError or ValueError."""
        self._patterns = patterns
        _configure(self._client, self._settings)
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.MaximumPacketSize = LARGEST_INBOUND + 1024
        url, beat = self._settings.url, self._settings.keepalive_s
        self._client.connect(url.host, url.port, beat, clean_start=False, properties=properties)
        if (opened := cast("socket.socket | None", self._client.socket())) is None:
            raise ConnectionError("the connection broke at once")
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def serve(
        self, selector: selectors.BaseSelector, longest_s: float, calm: Callable[[], None]
    ) -> bool:
        """Wait for something to do and do it. Returns whether the connection still stands."""
        if (opened := self._client.socket()) is None:
            return False
        if (writing := bool(self._client.want_write())) != self._writing:
            self._writing = writing
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            selector.modify(opened, wanted)
        if not self.accepted:
            longest_s = min(longest_s, self._settings.connect_timeout_s)
        for key, ready in selector.select(longest_s):
            if key.fileobj is not opened:
                calm()
            if key.fileobj is opened and ready & selectors.EVENT_WRITE:
                self._client.loop_write()
            if key.fileobj is opened and ready & selectors.EVENT_READ:
                self._read()
        self._client.loop_misc()
        if not self.accepted and time.monotonic() > self._accept_by:
            raise ConnectionError("it takes the connection but does not answer as a broker")
        return self._client.socket() is not None

    def publish(self, topic: str, payload: bytes, retain: bool) -> None:  # noqa: FBT001
        self.in_flight[self._client.publish(topic, payload, 1, retain).mid] = topic

    def subscribe(self, patterns: list[str]) -> int | None:
        """Send one SUBSCRIBE for all patterns. Returns its message id."""
        return self._client.subscribe([(each, SubscribeOptions(qos=1)) for each in patterns])[1]

    def unsubscribe(self, patterns: list[str]) -> None:
        self._client.unsubscribe(patterns)

    def ack(self, mids: list[int]) -> None:
        for mid in mids:
            self._client.ack(mid, 1)

    def fail(self, reason: str) -> None:
        """Note why this connection ended; the first reason counts."""
        self.reason = self.reason or reason

    def close(self) -> None:
        """Say goodbye if the connection still stands; this object is not used afterwards."""
        self._client.disconnect()

    def _read(self) -> None:
        self._client.loop_read()
        # What is read already, by us or by TLS, no longer makes the socket readable.
        while (opened := self._client.socket()) is not None and (
            self._client.held or (isinstance(opened, ssl.SSLSocket) and opened.pending())
        ):
            self._client.loop_read()

    def _on_connect(self, code: ReasonCode, properties: Properties | None) -> None:
        if code.is_failure:
            self.fail(refusal_words(code.value, code.getName()))
            return
        self.largest_packet = getattr(properties, "MaximumPacketSize", UNLIMITED)
        self.window = min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))
        self.accepted = not self._patterns
        if self._patterns:
            self._first_subscribe = self.subscribe(list(self._patterns))

    def _on_subscribe(self, mid: int, codes: list[ReasonCode]) -> None:
        if refused := next((code for code in codes if code.is_failure), None):
            self.fail(f"subscribing: {refusal_words(refused.value, refused.getName())}")
            self._client.disconnect()
        elif mid == self._first_subscribe:
            self.accepted = True

    def _on_message(self, message: MQTTMessage) -> None:
        size = len(message.payload)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if topic and size <= LARGEST_INBOUND:
            payload = bytes(message.payload)
            self.inbound.take(message.mid, topic, payload, retained=message.retain)
            return
        _logger.warning("dropped a message no peer of ours sends: %d bytes on %r", size, topic)
        if message.qos:
            # Left unacked it would come again on every connection.
            self.ack(self.inbound.drop(message.mid))

    def _on_publish(self, mid: int, code: ReasonCode) -> None:
        topic = self.in_flight.pop(mid, "?")
        if code.is_failure:
            _logger.warning("publish on %s refused: %s (0x%02X)", topic, code.getName(), code.value)

    def _on_disconnect(self, flags: DisconnectFlags, code: ReasonCode) -> None:
        if flags.is_disconnect_packet_from_server:
            self.taken_over = code.value == TAKEN_OVER
            self.fail(refusal_words(code.value, code.getName()))
        elif code.getName() == "Keep alive timeout":
            self.fail("the broker stopped answering")


def _configure(client: Client, settings: MqttSettings) -> None:
    client.max_inflight_messages_set(MAX_IN_FLIGHT)
    client.connect_timeout = settings.connect_timeout_s
    if settings.url.username:
        client.username_pw_set(settings.url.username, settings.url.password)
    if settings.url.tls:
        client.tls_set_context(settings.tls_context())
    if settings.will is not None:
        client.will_set(settings.will.topic, settings.will.payload, 1, retain=True)
