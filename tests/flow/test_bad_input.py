"""A broker full of enemies: whatever is said on any topic, nothing changes and the log says so."""

import queue
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from coordinator.operate import make_token
from edge_client.box import Box, Setting
from edge_client.config import EdgeConfig
from edge_client.join import join
from edge_client.membership import load_member
from edge_client.requests import Assignment, Finding, Inspection, Request, Result
from proto.broker_url import BrokerUrl, MqttSettings
from proto.circuit import classifier_layout
from proto.codec import decode_signed
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
    Task,
    Update,
)
from proto.mqtt import MqttPort
from proto.sealing import KemPair
from proto.topics import Topics
from proto.transport import Connected, Delivery, Incoming
from quantization.pack import pack
from quantization.scheme import Scheme
from quantization.uniform import blocks
from tests.flow.real_fleet import RealFleet, check_history, task
from tests.waiting import PATIENCE, until

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
        self.task: Task | None = None
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
        self.session = decode_signed(self.box.will.payload[66:], Gone).session
        settings = MqttSettings(BrokerUrl.parse(self.member.url), "insider", will=self.box.will)
        self._port = MqttPort(settings, self._arrivals.put)
        self.box.attach(self._port, self)
        self._port.open()

    def submit(self, request: Request) -> None:
        if isinstance(request, Inspection):
            self._arrivals.put(Finding(request.task, 40))
        elif isinstance(request, Assignment):
            self.offers.append(request.offer)
            self.task = decode_signed(request.task, Task)

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
            self.box._post.send(message)

    def give_birth(self, **lies: object) -> None:
        """A signed birth, with lies in it."""
        truth = {
            "fleet": self.member.fleet,
            "box": self.member.box,
            "session": self.session,
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


def standing(fleet: RealFleet) -> object:
    """What no stranger may change: the job's place, who belongs and is here, the era."""
    state = fleet.state()
    boxes = [(m.id, m.key, m.online, m.revoked) for m in fleet.store.members()]
    enlisted = sorted((e.box, e.rows) for e in fleet.store.enlisted("job"))
    return state.phase, state.turn, state.round, boxes, enlisted, fleet.store.fact("era")


def test_strangers_on_the_broker_change_nothing(fleet: RealFleet, enemy: Enemy) -> None:
    fleet.add_boxes("a", "b", "c")
    fleet.begin(task("first", boxes=3, rounds=1))
    fleet.until_over("first")
    fleet.begin(task("job", boxes=3, rounds=4, quorum=3), hold="a")
    before = standing(fleet)
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

    assert standing(fleet) == before
    fleet.let_go("a")
    fleet.until_over()
    assert {r.included for r in fleet.store.rounds("job")} == {3}
    check_history(fleet.store)
    check_history(fleet.store, "first")


def test_forged_parts_of_a_model_are_not_taken(fleet: RealFleet, enemy: Enemy) -> None:
    fleet.add_boxes("a", "b")
    fleet.begin(task("job", boxes=4, rounds=5), hold="b")
    fleet.brake("a")
    fleet.let_go("b")
    # From the first round of training on, the feature map is pulled as a blob.
    turn = fleet.until_waiting_for("a")
    chunk = enemy.until_heard("/blob/")[0]
    address = chunk.topic.rsplit("/", 1)[0]

    forged = {"c": bytes(len(chunk.payload)), "d": chunk.payload[:-1]}
    for name, payload in forged.items():
        enemy.say(f"{address}/m", bytes(32), retain=True)
        enemy.say(f"{address}/0", payload, retain=True)
        enemy.say(f"{address}/1", payload, retain=True)
        fleet.add_boxes(name)
        fleet.until(lambda name=name: name in {e.box for e in fleet.store.enlisted("job")})
        fleet.brake("b")
        fleet.let_go("a")
        turn = fleet.until_waiting_for("b")
        fleet.brake("a")
        fleet.let_go("b")
        fleet.until(lambda turn=turn: fleet.state().turn > turn)
        # A blob of one chunk has the chunk's own hash for a map.
        told = "a chunk map that does not match its address"
        assert fleet.log(name).count(told) == 1
        assert name in fleet.store.senders(turn)

    fleet.let_go("a")
    fleet.until_over()
    check_history(fleet.store)


def test_a_box_that_lies_spoils_nothing(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b")
    home = fleet.home / "liar"
    join(home, parse_token(make_token(fleet.coordinator_home, "liar", 1.0, "")), "liar", 20.0)
    fleet.begin(task("job", boxes=3, rounds=3), hold="a")
    with closing(Insider(home)) as liar:
        liar.until(lambda: "liar" in {e.box for e in fleet.store.enlisted("job")})
        fleet.brake("b")
        fleet.let_go("a")
        liar.until(lambda: liar.offers)
        offer = liar.offers[-1]
        good = honest(liar, offer)
        scales = 4 * blocks(len(good.payload), 64)
        nan = good.payload[:1] + b"\0\0\xc0\x7f" * (scales // 4) + good.payload[1 + scales :]
        lies = {
            "a scale is NaN": replace(good, payload=nan),
            "bytes; the layout takes": replace(good, payload=good.payload[:-1]),
            f"turn {offer.turn + 7} is over": replace(good, turn=offer.turn + 7),
            "made from another model": replace(good, model=bytes(32)),
            "rows": replace(good, rows=0),
            "an update without metrics": replace(good, metrics=None),
        }
        for number, lie in enumerate(lies.values()):
            liar.send(replace(lie, id=bytes([number]) * 16))
        liar.send(Pull(address=bytes(16), want=b"\xff" * 8192), offer)
        liar.give_birth(kem=bytes(1216))
        liar.give_birth(era=Era(2**31, bytes(8)), turn=2**40)
        liar.give_birth(box="a")
        said(fleet, f"refused from liar: an update for turn {offer.turn}", *lies)
        said(fleet, "asks for a blob that is not on offer", "a Offer from a box")
        said(
            fleet,
            "refused from liar: claims to remember more",
            "a birth that belongs to another box",
        )
        assert fleet.waiting_for() == {"b", "liar"}

        # It ends its turn with words meant to deceive whoever reads them.
        reason = "\x1b[2J\u202enwonk reven"
        liar.send(Report(turn=offer.turn, accepted=False, reason=reason, resources=Resources()))
        said(fleet, "liar declined round 1: ?[2J?nwonk reven")
    fleet.until(lambda: not fleet.store.box("liar").online)
    assert sorted(fleet.store.senders(offer.turn)) == ["a"]
    fleet.let_go("b")
    fleet.until_over()
    assert {r.included for r in fleet.store.rounds("job")} == {2}
    check_history(fleet.store)


def test_a_full_disk_costs_the_turn_and_no_more(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b", "c", "d")
    fleet.begin(task("job", boxes=4, rounds=4), hold="a")
    fleet.brake("b")
    outbox = fleet.home / "c" / "spool.journal"
    fleet.until(lambda: {"b", "c", "d"} <= set(fleet.store.senders(fleet.state().turn)))

    # The outbox of one box cannot grow; another box can write nothing at all, not even its log.
    limits = {"c": outbox.stat().st_size, "d": 0}
    for name, size in limits.items():
        resource.prlimit(fleet.pid(name), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    fleet.let_go("a")
    turn = fleet.until_waiting_for("b", waived=("c", "d"))
    for name in limits:
        fleet.until_said("coordinator", f"{name} declined round 1: its disk or its outbox is full")
    fleet.until_said("c", f"cannot write {outbox}: File too large")
    for name in limits:
        assert fleet.running(name)
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(fleet.pid(name), resource.RLIMIT_FSIZE, unlimited)

    fleet.let_go("b")
    fleet.until(lambda: fleet.took_part("c", turn) and fleet.took_part("d", turn))
    fleet.until_over()
    assert set(fleet.store.senders(turn)) == {"a", "b"}
    check_history(fleet.store)


def test_a_token_serves_once_and_an_owner_has_the_last_word(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b")
    fleet.add_boxes("frugal", extra="[policy]\nmax_steps = 1\n")
    token = parse_token(make_token(fleet.coordinator_home, "c", 1.0, ""))
    join(fleet.home / "c", token, "c", 20.0)
    with pytest.raises(RemoteError, match="this token was used already; ask for a new one"):
        join(fleet.home / "thief", token, "c", 20.0)
    said(fleet, "c was refused: this token was used already")

    fleet.begin(task("job", boxes=2, rounds=2))

    fleet.until_over()
    said(fleet, "frugal takes no part: 2 steps a round; this box's policy allows 1")
    assert {r.included for r in fleet.store.rounds("job")} == {2}
    check_history(fleet.store)


def honest(liar: Insider, offer: Offer) -> Update:
    """An update that would be taken."""
    assert liar.task is not None
    layout, training = classifier_layout(liar.task.model), liar.task.training
    scheme = Scheme(training.bits, training.block)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in layout}
    assert offer.model is not None
    return Update(
        id=bytes(16),
        turn=offer.turn,
        model=offer.model.digest,
        rows=32,
        payload=pack(zeros, layout, scheme, np.random.default_rng(0)),
        metrics=Metrics(
            first_loss=1.0,
            last_loss=1.0,
            validation_loss=1.0,
            validation_accuracy=0.5,
            validation_rows=8,
            steps=2,
        ),
    )
