"""A broker full of enemies: whatever is said on any topic, nothing changes and the log says so."""

import os
import queue
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from coordinator.operate import make_token
from edge_client.box import Box, Setting
from edge_client.config import EdgeConfig
from edge_client.join import join
from edge_client.membership import load_member
from edge_client.requests import Assignment, Finding, Inspection, Request, Result
from proto.broker_url import BrokerUrl, MqttSettings
from proto.codec import decode_sealed
from proto.errors import RemoteError
from proto.identity import Identity, sign
from proto.joining import parse_token
from proto.messages import (
    Birth,
    Enlistment,
    Era,
    Gone,
    Metrics,
    Offer,
    Pull,
    Report,
    Resources,
    Update,
)
from proto.mqtt import MqttPort
from proto.sealing import KemPair
from proto.topics import Topics
from proto.transport import Connected, Delivery, Incoming
from tests.flow.real_fleet import PATIENCE, RealFleet, check_history, task, until

pytestmark = pytest.mark.processes
TOPICS = Topics("test")


class Enemy:
    """Somebody on the open broker who hears everything and says anything."""

    def __init__(self, url: str) -> None:
        self.heard: list[Delivery] = []
        self._arrivals: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
        self.url = BrokerUrl.parse(url)
        self._port = MqttPort(MqttSettings(self.url, "enemy"), self._arrivals.put)
        self._port.subscribe("#")
        self._port.open()
        assert isinstance(self._arrivals.get(timeout=PATIENCE), Connected)

    def close(self) -> None:
        self._port.close()

    def listen(self) -> list[Delivery]:
        """All that was ever heard."""
        while not self._arrivals.empty():
            thing = self._arrivals.get()
            assert isinstance(thing, Delivery)
            self._port.ack(thing)
            self.heard.append(thing)
        return self.heard

    def until_heard(self, *parts: str) -> list[Delivery]:
        """Wait for something on a topic with all these parts; everything of that kind."""
        return until(lambda: [d for d in self.listen() if all(p in d.topic for p in parts)])

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._port.publish(topic, payload, retain=retain)
        until(lambda: any((d.topic, d.payload) == (topic, payload) for d in self.listen()))

    def shout(self, topic: str, payload: bytes) -> None:
        """Past all limits of our own transport; the broker may throw us out for it."""
        client = Client(CallbackAPIVersion.VERSION2, "shouter", protocol=MQTTv5)
        client.connect(self.url.host, self.url.port)
        client.loop_start()
        until(client.is_connected)
        client.publish(topic, payload)
        client.disconnect()
        client.loop_stop()


class Insider:
    """A box that has joined in good faith, and now sends what it likes. Trains nothing."""

    def __init__(self, home: Path) -> None:
        self.member, self.identity = load_member(home)
        self.offers: list[Offer] = []
        self._arrivals: queue.SimpleQueue[Incoming | Result] = queue.SimpleQueue()
        setting = Setting(
            home=home,
            member=self.member,
            identity=self.identity,
            config=EdgeConfig(),
            now=time.monotonic,
            clock=time.time,
            resources=Resources,
        )
        self.box = Box(setting)
        settings = MqttSettings(BrokerUrl.parse(self.member.url), "insider", will=self.box.will)
        self._port = MqttPort(settings, self._arrivals.put)
        self.box.attach(self._port, self)
        self._port.open()

    def submit(self, request: Request) -> None:
        if isinstance(request, Inspection):
            self._arrivals.put(Finding(request.task, 40))
        elif isinstance(request, Assignment):
            offer = decode_sealed(request.offer)
            assert isinstance(offer, Offer)
            self.offers.append(offer)

    def cancel(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        self.box.close()

    def live(self) -> None:
        """Handle what has come."""
        while not self._arrivals.empty():
            self.box.handle(self._arrivals.get())
        self.box.tick()

    def until(self, condition: Callable[[], object]) -> None:
        until(lambda: self.live() or condition())

    def send(self, *messages: Report | Enlistment | Update | Pull) -> None:
        for message in messages:
            self.box._send(message)

    def give_birth(self, **lies: object) -> None:
        """A signed birth, with lies in it."""
        session = self.box._memory.session
        truth = {
            "fleet": self.member.fleet,
            "box": self.member.box,
            "session": session,
            "kem": KemPair().public,
            "era": self.box.state.era,
            "turn": self.box.state.highest,
            "release": "1",
        }
        birth = Birth(**truth | lies)
        self._port.publish(TOPICS.state(self.member.box), sign(birth, self.identity), retain=True)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[RealFleet]:
    with RealFleet(tmp_path) as made:
        made.coordinate()
        yield made


@pytest.fixture
def enemy(fleet: RealFleet) -> Iterator[Enemy]:
    with closing(Enemy((fleet.store.fact("url") or b"").decode())) as made:
        yield made


def said(fleet: RealFleet, *texts: str) -> None:
    """Wait until the store's log has each of these."""
    for text in texts:
        fleet.until(lambda text=text: any(text in r.text for r in fleet.store.said("", 0)))


def test_strangers_on_the_broker_change_nothing(fleet: RealFleet, enemy: Enemy) -> None:
    fleet.add_boxes("a", "b", "c")
    fleet.begin(task("first", boxes=3, rounds=1))
    fleet.until_over("first")
    fleet.begin(task("job", boxes=3, rounds=4, quorum=3), hold="a")
    before, boxes = fleet.state(), [(m.id, m.key, m.online) for m in fleet.store.members()]
    noise = random.Random(7)

    # Noise on every topic anybody listens to, both ways, and on some that nobody should.
    topics = [
        *(f"{TOPICS.root}/{t}" for t in ("coord/state", "dev/b/state", "dev/b/in/k", "dev/b/in/m")),
        *(f"{TOPICS.root}/{t}" for t in ("dev/b/in/x", "bc/job/task", "bc/Ä b/task", "up/b/k")),
        *(f"{TOPICS.root}/{t}" for t in ("up/b/m", "up/stranger/m", "dev/NO such/state")),
        *(f"{TOPICS.root}/{t}" for t in ("join/t-0123456789/ask", "join/$$/ask", "up/%00/k")),
        f"{TOPICS.root}/dev/{'x' * 200}/state",
    ]
    for topic in topics:
        for size in (0, 1, 65, 66, 70, 200, 4096):
            enemy.say(topic, noise.randbytes(size))
        enemy.say(topic, b"\x01\x01" + noise.randbytes(64) + b"\x01" + noise.randbytes(100))
    said(fleet, "refused from b: ", "refused from stranger: no box of this name", "t-0123456789")
    fleet.until_said("b", "refused: ")

    # More bytes than anything of ours has: dropped by the broker or at the door.
    for topic in (TOPICS.from_box("b", "m"), TOPICS.to_box("b", "m"), TOPICS.coordinator):
        enemy.say(topic, noise.randbytes(128 * 1024))
        enemy.shout(topic, bytes(130 * 1024))
        enemy.shout(topic, bytes(1024 * 1024))
    said(fleet, "refused from b: frame version", "refused from b: not a signed envelope")

    # A retained task recorded from an earlier job, on another job's topic.
    old = enemy.until_heard("/bc/first/task")[0].payload
    enemy.say(TOPICS.job("job", "task"), old, retain=True)
    fleet.until_said("b", "a task on a topic that is not its own")

    # Births and wills of another box: signed by the wrong key, or true ones of another.
    forger = Identity.generate()
    birth = Birth(
        fleet="test",
        box="b",
        session=2**39,
        kem=KemPair().public,
        era=Era(9, bytes(8)),
        turn=2**20,
        release="1",
    )
    enemy.say(TOPICS.state("b"), sign(birth, forger))
    enemy.say(TOPICS.state("b"), sign(Gone(fleet="test", box="b", session=2**39), forger))
    enemy.say(TOPICS.state("b"), enemy.until_heard("/dev/a/state")[0].payload)
    said(fleet, "refused from b: not signed by")

    # Every frame and every key exchange that was ever on the wire, once more.
    recorded = [d for d in enemy.listen() if {"up", "in"} & set(d.topic.split("/"))]
    genuine = [d for d in recorded if len(d.payload) < 5000 and "/b/" in d.topic][:60]
    for delivery in genuine:
        enemy._port.publish(delivery.topic, delivery.payload)
    said(fleet, "refused from b: a frame that was taken before")
    said(fleet, "refused from b: a key accept that nothing was offered for")
    fleet.until_said("b", "refused: a frame that was taken before")

    after = [(m.id, m.key, m.online) for m in fleet.store.members()]
    assert (fleet.state(), after) == (before, boxes)
    fleet.let_go("a")
    fleet.until_over()
    assert {r.included for r in fleet.store.rounds("job")} == {3}
    check_history(fleet.store)
    check_history(fleet.store, "first")


def test_forged_parts_of_a_model_are_not_taken(fleet: RealFleet, enemy: Enemy) -> None:
    fleet.add_boxes("a", "b", "c")
    fleet.begin(task("job", boxes=3, rounds=4), hold="c")
    fleet.crash("c")
    # The others go on to a round that needs the feature map, which is pulled as a blob.
    fleet.brake("b")
    fleet.start_box("c")
    chunk = enemy.until_heard("/blob/")[0]
    for payload in (chunk.payload[:-1], bytes(len(chunk.payload)), b""):
        enemy.say(chunk.topic, payload, retain=True)
    enemy.say(chunk.topic.rsplit("/", 1)[0] + "/m", bytes(32), retain=True)


def test_a_box_that_lies_spoils_nothing(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b")
    home = fleet.home / "liar"
    join(home, parse_token(make_token(fleet.coordinator_home, "liar", 1.0, "")), "liar", 20.0)
    with closing(Insider(home)) as liar:
        liar.until(lambda: fleet.store.box("liar").online)
        fleet.begin(task("job", boxes=3, rounds=3))
        liar.until(lambda: liar.offers)
        offer = liar.offers[-1]
        good = Metrics(
            first_loss=1.0,
            last_loss=1.0,
            validation_loss=1.0,
            validation_accuracy=0.5,
            validation_rows=8,
            steps=2,
        )
