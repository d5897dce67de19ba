"""One connection to a broker by paho, its faults contained; nothing else imports paho.

Measured faults and the rule for each: research note on transport and security, section 2.2.
"""

import contextlib
import logging
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, cast

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from proto.broker_url import MqttSettings
from proto.inbound import LARGEST_INBOUND, Inbound
from proto.outgoing import UNLIMITED
from proto.packets import (
    Publish,
    puback_packet,
    publish_packet,
    read_puback,
    read_publish,
    span,
)
from proto.reconnect import TAKEN_OVER, refusal_words
from proto.transport import MAX_IN_FLIGHT, Deliver

_logger = logging.getLogger(__name__)

_READ = 32 * 1024
LARGEST_PACKET = LARGEST_INBOUND + 1024
"""Bytes the broker is asked not to exceed, and held to."""
_DISCONNECT = b"\xe0"
_PUBLISH, _PUBACK = 3, 4
"""Kinds of packet: the upper half of the first byte (MQTT 5, section 2.1.2)."""
_BEAT = 0.5
"""Seconds between looks at paho's own clocks: its pings, and a broker that no longer answers."""
_NAP = 1.0
"""Seconds of sleep from which on a lone receipt may wait for company."""
_RECEIPT = 4
"""Bytes of a plain PUBACK, and more than those of a PINGRESP."""
_FAILED = 0x80
"""Reason codes from here on are failures (MQTT 5, section 2.4)."""


class _LeanClient(Client):
    """paho, but for the packets of messages and their acks: those are ours, see `proto/packets.py`.

    It also reads in large pieces, where paho makes three system calls a packet, and gathers what
    it writes until `flush`.
    """

    held = b""
    unsent = b""

    def __init__(
        self, client_id: str, take: Callable[[Publish], None], acked: Callable[[int, int], None]
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5, manual_ack=True)
        self._take, self._acked = take, acked

    def send_publish(self, topic: str, payload: bytes, retain: bool) -> int:  # noqa: FBT001
        """Gather a PUBLISH at QoS 1; its message id."""
        mid = self._mid_generate()
        self.unsent += publish_packet(Publish(mid, topic, payload, retain))
        return mid

    def send_ack(self, mid: int) -> None:
        self.unsent += puback_packet(mid)

    def flush(self) -> None:
        """Send what was gathered; what the socket will not take now stays. Raises OSError."""
        if self.want_write():  # said within a callback
            self.loop_write()
        while self.unsent:
            try:
                sent = super()._sock_send(self.unsent)
            except BlockingIOError:
                return
            self.unsent = self.unsent[sent:]

    def _sock_send(self, buf: bytes | bytearray) -> int:
        self.unsent += bytes(buf)
        if buf[:1] == _DISCONNECT:  # paho closes after it
            self.flush()
        return len(buf)

    def is_reading(self) -> bool:
        """Whether half a packet is here."""
        return bool(self.held or self._in_packet["command"])

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read one packet; a message or an ack that is here as a whole costs paho nothing.

        Raises ConnectionError for a packet larger than any peer of ours sends.
        """
        if self._in_packet["command"] or self._sock is None:  # it is in the middle of one
            return super().loop_read(max_packets)
        while (place := span(self.held)) is None:
            try:
                more = super()._sock_recv(_READ)
            except BlockingIOError:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:
                more = b""
            if not more:  # paho meets it again, and tells
                return super().loop_read(max_packets)
            self.held += more
        start, end = place
        if end > LARGEST_PACKET:
            raise ConnectionError(f"it sends a packet of {end} bytes, as no peer of ours does")
        held = self.held
        if end > len(held):
            return super().loop_read(max_packets)
        self.held = held[end:]
        if self._is_ours(held[0], held[start:end]):
            self._last_bytes_received = time.monotonic()  # to paho a sign that the broker lives
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self.held = held
        return super().loop_read(max_packets)

    def _is_ours(self, command: int, rest: bytes | bytearray) -> bool:
        """Take a message or an ack; whether it was one, else it is paho's to read."""
        if command >> 4 == _PUBLISH and (message := read_publish(command, rest)):
            self._take(message)
            return True
        if command >> 4 == _PUBACK and (ack := read_puback(rest)):
            self._acked(*ack)
            return True
        return False

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.held:
            self.held = super()._sock_recv(max(bufsize, _READ))
        data, self.held = self.held[:bufsize], self.held[bufsize:]
        return data

    def _handle_publish(self) -> MQTTErrorCode:
        if self._is_ours(self._in_packet["command"], self._in_packet["packet"]):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super()._handle_publish()

    def _handle_pubackcomp(self, _cmd: Any) -> MQTTErrorCode:
        if self._is_ours(self._in_packet["command"], self._in_packet["packet"]):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        return MQTTErrorCode.MQTT_ERR_PROTOCOL


class Connection:
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
        self._least = 1
        self._beat_at = 0.0
        self._client = client = _LeanClient(settings.client_id, self._take, self._acked)
        client.on_connect = lambda _c, _d, _f, code, extra: self._on_connect(code, extra)
        client.on_subscribe = lambda _c, _d, mid, codes, _p: self._on_subscribe(mid, codes)
        client.on_message = lambda _c, _d, message: self._on_message(message)
        client.on_disconnect = lambda _c, _d, flags, code, _p: self._on_disconnect(flags, code)

    def open(self, patterns: dict[str, None]) -> socket.socket:
        """Connect the socket, send CONNECT, return the socket. Raises OSError or ValueError."""
        self._patterns = patterns
        _configure(self._client, self._settings)
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.MaximumPacketSize = LARGEST_PACKET
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
        if (opened := cast("socket.socket | None", self._client.socket())) is None:
            return False
        self._client.flush()
        if (writing := bool(self._client.unsent)) != self._writing:
            self._writing = writing
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            selector.modify(opened, wanted)
        if not self.accepted:
            longest_s = min(longest_s, self._settings.connect_timeout_s)
        self._let_receipts_gather(opened, longest_s)
        events = selector.select(longest_s)
        readable = self._least > 1  # a receipt may be here that the socket does not tell of
        for key, ready in events:
            if key.fileobj is not opened:
                calm()
            elif ready & selectors.EVENT_READ:
                readable = True
        if readable:
            self._read()
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + _BEAT
            self._client.loop_misc()
        if not self.accepted and now > self._accept_by:
            raise ConnectionError("it takes the connection but does not answer as a broker")
        return self._client.socket() is not None

    def _let_receipts_gather(self, opened: socket.socket, longest_s: float) -> None:
        """Sleep on while the broker has said no more than that it took a message.

        Waking is a tenth of what an update costs a box. Whoever waits for the receipt, or for the
        rest of a packet, is woken by any byte. Under TLS bytes on the socket say nothing.
        """
        patient = (
            longest_s >= _NAP
            and len(self.in_flight) < self.window
            and self.accepted
            and not self._client.is_reading()
            and not isinstance(opened, ssl.SSLSocket)
        )
        least = _RECEIPT + 1 if patient else 1
        if least != self._least:
            self._least = least
            with contextlib.suppress(OSError):  # else every receipt wakes us, as without
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)

    def publish(self, topic: str, payload: bytes, retain: bool) -> None:  # noqa: FBT001
        self.in_flight[self._client.send_publish(topic, payload, retain)] = topic

    def subscribe(self, patterns: list[str]) -> int | None:
        """Send one SUBSCRIBE for all patterns. Returns its message id."""
        return self._client.subscribe([(each, SubscribeOptions(qos=1)) for each in patterns])[1]

    def unsubscribe(self, patterns: list[str]) -> None:
        self._client.unsubscribe(patterns)

    def ack(self, mids: list[int]) -> None:
        for mid in mids:
            self._client.send_ack(mid)

    def fail(self, reason: str) -> None:
        """Note why this connection ended; the first reason counts."""
        self.reason = self.reason or reason

    def close(self) -> None:
        """Say goodbye if the connection still stands; this object is not used afterwards."""
        self._client.disconnect()

    def _read(self) -> None:
        client, before = self._client, b""
        client.loop_read()
        # What is read already, by us or by TLS, no longer makes the socket readable. Half a
        # packet's head stays as it is until more comes.
        while (opened := client.socket()) is not None and (
            (client.held and client.held is not before)
            or (isinstance(opened, ssl.SSLSocket) and opened.pending())
        ):
            before = client.held
            client.loop_read()

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
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        mid = message.mid if message.qos else 0
        self._take(Publish(mid, topic, bytes(message.payload), message.retain))

    def _take(self, message: Publish) -> None:
        mid, topic, payload, retained = message
        if topic and len(payload) <= LARGEST_INBOUND:
            self.inbound.take(mid, topic, payload, retained=retained)
            return
        text = "dropped a message no peer of ours sends: %d bytes on %r"
        _logger.warning(text, len(payload), topic)
        if mid:
            # Left unacked it would come again on every connection.
            self.ack(self.inbound.drop(mid))

    def _acked(self, mid: int, code: int) -> None:
        topic = self.in_flight.pop(mid, "?")
        if code >= _FAILED:
            _logger.warning("publish on %s refused: %s (0x%02X)", topic, _words(code), code)

    def _on_disconnect(self, flags: DisconnectFlags, code: ReasonCode) -> None:
        if flags.is_disconnect_packet_from_server:
            self.taken_over = code.value == TAKEN_OVER
            self.fail(refusal_words(code.value, code.getName()))
        elif code.getName() == "Keep alive timeout":
            self.fail("the broker stopped answering")


def _words(code: int) -> str:
    """What paho calls a reason for refusing a PUBLISH."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code).getName()
    except (KeyError, AssertionError):
        return "no reason MQTT knows"


def _configure(client: Client, settings: MqttSettings) -> None:
    client.connect_timeout = settings.connect_timeout_s
    if settings.url.username:
        client.username_pw_set(settings.url.username, settings.url.password)
    if settings.url.tls:
        client.tls_set_context(settings.tls_context())
    if settings.will is not None:
        client.will_set(settings.will.topic, settings.will.payload, 1, retain=True)
