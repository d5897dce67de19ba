"""A port that is `run`: one thread for the network and the program."""

import contextlib
import queue
import socket
import ssl
import sys
import threading
import time

import pytest

from coordinator.broker_process import BrokerProcess
from proto.broker_url import BrokerUrl, MqttSettings
from proto.mqtt import MqttPort
from proto.tcp_info import Link
from proto.transport import Connected, Delivery


class Program:
    """Keeps what it was given, and counts how often it could work."""

    def __init__(self, sleeps: float = 0.05) -> None:
        self.sleeps = sleeps
        self.given: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.worked = 0
        self.port: MqttPort

    def deliver(self, thing: object) -> None:
        if thing == "stop":
            self.port.close()
        elif isinstance(thing, tuple):
            self.port.publish(*thing)
        self.given.put(thing)
        if isinstance(thing, Delivery):
            self.port.ack(thing)

    def work(self) -> float:
        self.worked += 1
        return self.sleeps

    def start(self, settings: MqttSettings) -> threading.Thread:
        self.port = MqttPort(settings, self.deliver, self.work)
        self.port.subscribe("run/#")
        thread = threading.Thread(target=self.port.run, daemon=True)
        thread.start()
        return thread


@pytest.mark.broker
def test_everything_happens_in_the_thread_that_runs(mosquitto: BrokerProcess) -> None:
    program = Program()
    thread = program.start(MqttSettings(url=mosquitto.url, client_id="runs"))
    assert program.given.get(timeout=10) == Connected()
    for number in range(50):
        program.port.post(("run/x", b"%d" % number))
    payloads = set()
    while len(payloads) < 50:
        thing = program.given.get(timeout=10)
        if isinstance(thing, Delivery):
            payloads.add(thing.payload)
    program.port.post("stop")
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.broker
def test_the_brokers_receipts_alone_wake_nobody(mosquitto: BrokerProcess) -> None:
    """A box that says something and is answered wakes twice: to say it, and for the answer."""
    there: queue.SimpleQueue[object] = queue.SimpleQueue()

    def answer(thing: object) -> None:
        there.put(thing)
        if isinstance(thing, Delivery):
            answers.ack(thing)
            answers.publish("run/b", b"")

    answers = MqttPort(MqttSettings(url=mosquitto.url, client_id="answers"), answer)
    answers.subscribe("say/#")
    program = Program(sleeps=3600.0)
    with contextlib.closing(answers.open()):
        assert there.get(timeout=10) == Connected()
        thread = program.start(MqttSettings(url=mosquitto.url, client_id="sleeps"))
        woken = []
        while len(woken) < 30:
            thing = program.given.get(timeout=10)
            if isinstance(thing, Connected | Delivery):
                woken.append(program.worked)
                program.port.post(("say/a", b""))
        program.port.post("stop")
        thread.join(10)
    assert not thread.is_alive()
    assert woken[-1] - woken[9] <= 2 * 20 + 2


def test_a_broker_that_never_answers_does_not_keep_the_program_from_its_work() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and lets a TLS handshake hang
    program = Program()
    url = BrokerUrl("127.0.0.1", silent.getsockname()[1], tls=True)
    trust = ssl.create_default_context()
    settings = MqttSettings(url=url, client_id="waits", trust=trust, connect_timeout_s=1.0)
    thread = program.start(settings)
    until = time.monotonic() + 10
    while program.worked < 10 and time.monotonic() < until:
        program.port.post("anything")
        assert program.given.get(timeout=0.9) == "anything"  # the handshake still hangs
    program.port.post("stop")
    thread.join(15)
    silent.close()
    assert not thread.is_alive()


@pytest.mark.broker
def test_what_is_posted_while_no_broker_is_there_is_handed_over_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    program = Program()
    settings = MqttSettings(url=BrokerUrl("127.0.0.1", free), client_id="alone")
    thread = program.start(settings)
    program.port.post("hello")
    things = [program.given.get(timeout=5), program.given.get(timeout=5)]
    assert "hello" in things  # beside the word that there is no broker
    program.port.post("stop")
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.broker
def test_a_port_tells_what_its_connection_has_shown_of_the_link(mosquitto: BrokerProcess) -> None:
    program = Program()
    settings = MqttSettings(url=mosquitto.url, client_id="measures")
    unused = MqttPort(settings, program.deliver)
    assert unused.link() == Link()
    unused.close()
    thread = program.start(settings)
    assert program.given.get(timeout=10) == Connected()
    for _ in range(4):
        program.port.post(("run/x", bytes(60_000)))
    came = 0
    while came < 4:
        came += isinstance(program.given.get(timeout=10), Delivery)
    shown = program.port.link()
    program.port.post("stop")
    thread.join(10)
    if sys.platform == "linux":
        assert shown.kbps is not None
        assert shown.kbps > 1000
