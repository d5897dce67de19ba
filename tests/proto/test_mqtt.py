"""The faults of paho and of brokers, contained by `MqttPort`."""

import logging
import queue
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from coordinator.broker_process import BrokerProcess
from proto import connection
from proto.broker_url import BrokerUrl, MqttSettings
from proto.errors import TransportError
from proto.inbound import LARGEST_INBOUND
from proto.mqtt import MqttPort
from proto.transport import MAX_IN_FLIGHT, Connected, Delivery, Disconnected, Incoming
from tests.contracts.tcp_proxy import TcpProxy
from tests.contracts.worlds import quick_settings
from tests.proto.scripted_broker import (
    ACCEPTED,
    CONNECT,
    PUBACK,
    PUBLISH,
    ScriptedBroker,
    accepted_with,
    disconnect,
    publish,
    refused,
)
from tests.waiting import until

E = TypeVar("E", bound=Incoming)
Scripted = Callable[..., ScriptedBroker]
Opened = Callable[..., "Inbox"]


class Inbox:
    """A port with what it handed over."""

    def __init__(self, settings: MqttSettings, *patterns: str) -> None:
        self.events: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
        self.port = MqttPort(settings, self.events.put)
        self.port.subscribe(*patterns)
        self.port.open()

    def next(self, kind: type[E]) -> E:
        while not isinstance(event := self.events.get(timeout=10), kind):
            pass
        return event


@pytest.fixture
def opened() -> Iterator[Opened]:
    inboxes: list[Inbox] = []

    def make(settings: MqttSettings, *patterns: str) -> Inbox:
        inboxes.append(Inbox(settings, *patterns))
        return inboxes[-1]

    yield make
    for inbox in inboxes:
        inbox.port.close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    brokers: list[ScriptedBroker] = []

    def make(connack: bytes = ACCEPTED, then: bytes = b"", **how: Any) -> ScriptedBroker:
        brokers.append(ScriptedBroker(connack, then, **how))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.close()


def at(port: int, client_id: str = "box") -> MqttSettings:
    return quick_settings(BrokerUrl("127.0.0.1", port), client_id)


def test_a_broker_that_is_down_is_told_in_words_and_raises_nothing(opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert opened(at(port)).next(Disconnected).reason == f"nothing listens at 127.0.0.1:{port}"


def test_an_unknown_host_is_told_in_words(opened: Opened) -> None:
    inbox = opened(quick_settings(BrokerUrl("no-such-host.invalid", 1883), "box"))
    assert "is not known" in inbox.next(Disconnected).reason


@pytest.mark.broker
def test_it_connects_once_the_broker_is_there(
    opened: Opened, own_broker: Callable[[str], BrokerProcess]
) -> None:
    broker = own_broker("mosquitto")
    broker.stop()
    inbox = opened(quick_settings(broker.url, "early"))
    inbox.next(Disconnected)
    broker.restart()
    inbox.next(Connected)


def test_a_refused_login_is_told_in_words(opened: Opened, scripted: Scripted) -> None:
    reason = opened(at(scripted(refused(0x86)).port)).next(Disconnected).reason
    assert "check the user name and password" in reason


def test_the_same_reason_is_told_once(opened: Opened, scripted: Scripted) -> None:
    broker = scripted(refused(0x86))
    inbox = opened(at(broker.port))
    for _ in range(3):
        broker.wait_for(CONNECT)
    inbox.next(Disconnected)
    assert inbox.events.empty()


def test_a_peer_that_is_no_broker_is_told_in_words(opened: Opened, scripted: Scripted) -> None:
    url = BrokerUrl("127.0.0.1", scripted(b"HTTP/1.1 400 Bad Request\r\n").port)
    inbox = opened(MqttSettings(url, "box", connect_timeout_s=0.1))
    assert "does not answer as a broker" in inbox.next(Disconnected).reason


@pytest.mark.parametrize("piece", [1, 2, 7])
def test_packets_that_come_in_pieces_are_put_together(
    opened: Opened, scripted: Scripted, piece: int
) -> None:
    texts = [b"", b"x", bytes(300)]
    sent = b"".join(publish(b"a", text, n + 1) for n, text in enumerate(texts))
    inbox = opened(at(scripted(ACCEPTED, sent, piece=piece).port))
    inbox.next(Connected)
    assert [inbox.next(Delivery).payload for _ in texts] == texts


@pytest.mark.parametrize("length", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff", b"\x80\x80\x10"])
def test_a_packet_larger_than_any_of_ours_ends_the_connection_at_once(
    opened: Opened, scripted: Scripted, length: bytes
) -> None:
    inbox = opened(at(scripted(ACCEPTED, b"\x32" + length).port))
    assert "as no peer of ours does" in inbox.next(Disconnected).reason


def test_paho_has_the_parts_that_are_used_of_it() -> None:
    client = Client(CallbackAPIVersion.VERSION2, "box", protocol=MQTTv5)
    parts = ("_in_packet", "_last_bytes_received", "_sock", "_sock_recv", "_sock_send")
    for part in (*parts, "_handle_publish", "_handle_pubackcomp", "_mid_generate"):
        assert hasattr(client, part), f"paho no longer has {part}"


def test_a_session_taken_over_waits_long_before_it_returns(
    opened: Opened, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    broker = scripted(ACCEPTED, disconnect(0x8E))
    settings = MqttSettings(BrokerUrl("127.0.0.1", broker.port), "box", reconnect_first_s=0.01)
    inbox = opened(settings)
    assert "only one copy of a box may run" in inbox.next(Disconnected).reason
    assert "only one copy" in caplog.text
    broker.wait_for(CONNECT)
    assert broker.silent(CONNECT)


def test_a_broker_that_says_how_much_it_takes_is_not_given_more(
    opened: Opened, scripted: Scripted
) -> None:
    broker = scripted(accepted_with(b"\x27" + (1000).to_bytes(4, "big")))
    inbox = opened(at(broker.port))
    inbox.next(Connected)
    with pytest.raises(TransportError, match="988"):
        inbox.port.publish("xx", bytes(989))
    inbox.port.publish("xx", bytes(988))
    packet = broker.wait_for(PUBLISH)
    assert 1 + 2 + len(packet.body) <= 1000


def test_no_more_than_the_window_is_under_way(opened: Opened, scripted: Scripted) -> None:
    broker = scripted(acks=False)
    inbox = opened(at(broker.port))
    inbox.next(Connected)
    for number in range(MAX_IN_FLIGHT + 3):
        inbox.port.publish("x", b"%d" % number)
    sent = [broker.wait_for(PUBLISH) for _ in range(MAX_IN_FLIGHT)]
    assert broker.silent(PUBLISH)
    for packet in sent[:3]:
        broker.ack(packet)
    assert [broker.wait_for(PUBLISH).body[-1:] for _ in range(3)] == [b"8", b"9", b"0"]


def test_a_smaller_window_of_the_broker_counts(opened: Opened, scripted: Scripted) -> None:
    broker = scripted(accepted_with(b"\x21\x00\x02"), acks=False)
    inbox = opened(at(broker.port))
    inbox.next(Connected)
    for _ in range(5):
        inbox.port.publish("x", b"")
    for _ in range(2):
        broker.wait_for(PUBLISH)
    assert broker.silent(PUBLISH)


def test_what_was_under_way_is_not_sent_again_by_itself(opened: Opened, scripted: Scripted) -> None:
    broker = scripted(acks=False)
    proxy = TcpProxy(("127.0.0.1", broker.port))
    inbox = opened(at(proxy.port))
    inbox.next(Connected)
    for _ in range(20):
        inbox.port.publish("x", b"before")
    broker.wait_for(PUBLISH)
    proxy.cut()
    inbox.next(Connected)
    inbox.port.publish("x", b"after")
    while not broker.wait_for(PUBLISH).body.endswith(b"after"):
        pass
    assert broker.silent(PUBLISH)
    inbox.port.close()
    proxy.close()


def test_a_giant_from_the_broker_is_acked_and_dropped(
    opened: Opened, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    giant = publish(b"x", bytes(LARGEST_INBOUND + 1), 7)
    broker = scripted(ACCEPTED, giant + publish(b"x", b"small", 8))
    inbox = opened(at(broker.port))
    assert broker.wait_for(PUBACK).body[:2] == b"\0\x07"
    assert inbox.next(Delivery).payload == b"small"
    assert "dropped" in caplog.text


def test_a_topic_that_is_no_text_is_acked_and_dropped(opened: Opened, scripted: Scripted) -> None:
    broker = scripted(ACCEPTED, publish(b"\xff\xfe", b"", 7) + publish(b"x", b"good", 8))
    inbox = opened(at(broker.port))
    assert broker.wait_for(PUBACK).body[:2] == b"\0\x07"
    assert inbox.next(Delivery).payload == b"good"


def test_garbage_from_the_broker_ends_the_connection_and_not_the_thread(
    opened: Opened, scripted: Scripted
) -> None:
    broker = scripted(ACCEPTED, bytes([0x32, 2, 0xFF, 0xFF]))
    inbox = opened(at(broker.port))
    inbox.next(Disconnected)
    broker.then = b""
    inbox.next(Connected)
    assert inbox.port.alive()


@pytest.mark.broker
def test_a_receiver_that_fails_does_not_stop_what_follows(
    mosquitto: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    events: queue.SimpleQueue[Incoming] = queue.SimpleQueue()

    def receive(event: Incoming) -> None:
        if isinstance(event, Delivery) and event.payload == b"bad":
            raise RuntimeError("the receiver's own fault")
        events.put(event)

    port = MqttPort(quick_settings(mosquitto.url, "failing"), receive)
    port.subscribe("failing/#")
    port.open()
    assert isinstance(events.get(timeout=10), Connected)
    port.publish("failing/x", b"bad")
    port.publish("failing/x", b"good")
    delivery = events.get(timeout=10)
    assert isinstance(delivery, Delivery)
    assert delivery.payload == b"good"
    assert port.alive()
    assert "the receiver's own fault" in caplog.text
    port.close()


@pytest.mark.broker
def test_a_receiver_may_close_the_port(mosquitto: BrokerProcess) -> None:
    done = threading.Event()

    def receive(_event: Incoming) -> None:
        port.close()
        done.set()

    port = MqttPort(quick_settings(mosquitto.url, "closing"), receive)
    port.open()
    assert done.wait(10)
    port.close()
    assert not port.alive()


@pytest.mark.broker
def test_with_an_outbox_in_front_nothing_is_lost_by_cutting_the_link(
    opened: Opened, any_broker: BrokerProcess
) -> None:
    topic = f"outbox/{any_broker.kind}"
    receiver = opened(quick_settings(any_broker.url, "outbox-receiver"), topic)
    receiver.next(Connected)
    proxy = TcpProxy((any_broker.url.host, any_broker.url.port))
    sender = opened(quick_settings(any_broker.url, "outbox-sender", proxy.port))
    missing = set(range(200))
    for turn in range(50):
        sender.next(Connected)
        for number in sorted(missing):
            sender.port.publish(topic, b"%d" % number)
        for _ in range(60 if turn < 2 else len(missing)):
            delivery = receiver.next(Delivery)
            receiver.port.ack(delivery)
            missing.discard(int(delivery.payload))
        if not missing:
            break
        proxy.cut()
    assert not missing
    assert proxy.connections >= 3
    sender.port.close()
    proxy.close()


@pytest.mark.broker
def test_publishing_from_many_threads_is_safe(opened: Opened, any_broker: BrokerProcess) -> None:
    topic = f"threads/{any_broker.kind}"
    inbox = opened(quick_settings(any_broker.url, "threads"), topic)
    inbox.next(Connected)

    def work(first: int) -> None:
        for number in range(first, first + 100):
            inbox.port.publish(topic, b"%d" % number)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    seen = set()
    while len(seen) < 400:
        delivery = inbox.next(Delivery)
        inbox.port.ack(delivery)
        seen.add(int(delivery.payload))
    for thread in threads:
        thread.join()


@pytest.mark.broker
def test_an_idle_port_costs_no_cpu(opened: Opened, mosquitto: BrokerProcess) -> None:
    inbox = opened(quick_settings(mosquitto.url, "idle"), "idle/#")
    inbox.next(Connected)
    before = time.process_time()
    with pytest.raises(queue.Empty):
        inbox.events.get(timeout=0.5)
    assert time.process_time() - before < 0.1


PINGRESP = bytes([0xD0, 0])


def has_come(opened: socket.socket, data: bytes) -> bool:
    try:
        return opened.recv(9, socket.MSG_PEEK) == data
    except BlockingIOError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="poll heeds SO_RCVLOWAT on Linux")
def test_the_answer_to_a_ping_wakes_nobody_and_is_read_at_the_next_look(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unread it would end the connection: a broker that does not answer is taken for gone."""
    monkeypatch.setattr(connection, "_NAP", 0.02)
    broker = scripted()
    box = connection.Connection(at(broker.port), 1, lambda _: None)
    opened = box.open({"run/#": None})
    with selectors.DefaultSelector() as selector:
        selector.register(opened, selectors.EVENT_READ)

        def look() -> None:
            assert box.serve(selector, 0.02, lambda: None)

        until(lambda: box.accepted, meanwhile=look)
        look()  # asleep for a receipt's length from now on
        paho = box._client
        paho._ping_t = time.monotonic()  # type: ignore[assignment]
        broker.say(PINGRESP)
        until(lambda: has_come(opened, PINGRESP))
        assert selector.select(0.1) == []
        look()
        assert paho._ping_t == 0
        broker.say(publish(b"run/x", b"hello", 1))
        assert selector.select(5.0)
    box.close()


def test_a_port_never_opened_closes_quietly(caplog: pytest.LogCaptureFixture) -> None:
    port = MqttPort(at(1), lambda _event: None)
    port.publish("x", b"")
    port.close()
    port.close()
    assert not port.alive()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_settings_do_not_show_secrets() -> None:
    settings = MqttSettings(BrokerUrl.parse("mqtt://u:hunter2@h"), "box")
    assert "hunter2" not in repr(settings)
