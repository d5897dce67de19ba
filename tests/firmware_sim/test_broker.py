"""What the in-memory broker does beyond the contract that it shares with the real ones."""

import pytest

from firmware_sim.broker import MemoryBroker
from firmware_sim.clock import Clock
from firmware_sim.link import Link
from firmware_sim.links import DOWN, UP
from proto.errors import LocalError
from proto.transport import Connected, Delivery, Disconnected, Incoming, Port, Will


class Client:
    """Notes when it was handed what; acks unless told not to."""

    def __init__(self, broker: MemoryBroker, client_id: str, *patterns: str, **options) -> None:
        self._clock = broker.clock
        self._acks = options.pop("acks", True)
        self.seen: list[tuple[float, Incoming]] = []
        self.port: Port = broker.connect(client_id, self.take, **options)
        self.port.subscribe(*patterns)

    def take(self, event: Incoming) -> None:
        self.seen.append((self._clock.now, event))
        if self._acks and isinstance(event, Delivery):
            self.port.ack(event)

    def payloads(self) -> list[bytes]:
        return [event.payload for _, event in self.seen if isinstance(event, Delivery)]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for _, event in self.seen]

    def reasons(self) -> list[str]:
        return [event.reason for _, event in self.seen if isinstance(event, Disconnected)]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(Clock(), Link(seed=1))


def test_nothing_is_handed_over_inside_a_call(broker: MemoryBroker) -> None:
    client = Client(broker, "a", "#")
    assert client.seen == []
    broker.clock.run()
    client.port.publish("x", b"1")
    assert client.kinds() == ["Connected"]
    broker.clock.run()
    assert client.payloads() == [b"1"]


def test_each_hop_takes_its_time() -> None:
    broker = MemoryBroker(Clock(), Link(seed=1, delay_s=0.1))
    client = Client(broker, "a", "#")
    broker.clock.run()
    assert client.seen == [(pytest.approx(0.2), Connected())]
    client.port.publish("x", b"")
    broker.clock.run(until=10.0)
    assert client.seen[-1][0] == pytest.approx(0.4)


def test_a_client_that_acks_nothing_gets_no_more_than_the_window(broker: MemoryBroker) -> None:
    greedy = Client(broker, "greedy", "x", acks=False)
    sender = Client(broker, "sender")
    broker.clock.run()
    for number in range(30):
        sender.port.publish("x", b"%d" % number)
    broker.clock.run()
    assert len(greedy.payloads()) == 20


def test_an_ack_held_back_holds_back_those_that_follow(broker: MemoryBroker) -> None:
    client = Client(broker, "a", "x", acks=False)
    broker.clock.run()
    for number in range(3):
        client.port.publish("x", b"%d" % number)
    broker.clock.run()
    for _, event in client.seen[2:]:
        assert isinstance(event, Delivery)
        client.port.ack(event)
    broker.clock.run()
    broker.kill("a")
    again = Client(broker, "a", "x")
    broker.clock.run()
    assert again.payloads() == [b"0", b"1", b"2"]


def test_overlapping_subscriptions_give_copies(broker: MemoryBroker) -> None:
    client = Client(broker, "a", "x/#", "x/+")
    broker.clock.run()
    client.port.publish("x/y", b"1")
    broker.clock.run()
    assert client.payloads() == [b"1", b"1"]


def test_a_duplicating_link_delivers_copies_and_loses_none() -> None:
    broker = MemoryBroker(Clock(), Link(seed=4, loss=0.3, duplicate=0.3, reorder=0.3))
    receiver, sender = Client(broker, "receiver", "x"), Client(broker, "sender")
    broker.clock.run(until=100.0)
    for number in range(200):
        sender.port.publish("x", b"%d" % number)
    broker.clock.run()
    assert set(receiver.payloads()) == {b"%d" % n for n in range(200)}
    assert len(receiver.payloads()) > 200
    assert receiver.payloads() != sorted(receiver.payloads(), key=int)


def test_nothing_overtakes_what_a_client_has_on_its_way() -> None:
    def arrivals(seed: int) -> list[tuple[float, bytes]]:
        wired = frozenset({"receiver"})
        broker = MemoryBroker(Clock(), Link(seed=seed, loss=0.5, retransmit_s=1.0, wired=wired))
        receiver, sender = Client(broker, "receiver", "x"), Client(broker, "sender")
        broker.clock.run(until=100.0)
        # At the very moment when the first would be there, had it to be sent twice.
        broker.clock.at(101.0, lambda: sender.port.publish("x", b"second"))
        sender.port.publish("x", b"first")
        broker.clock.run()
        return [(at, event.payload) for at, event in receiver.seen if isinstance(event, Delivery)]

    seen = [arrivals(seed) for seed in range(30)]
    assert [(101.0, b"first"), (101.0, b"second")] in seen
    assert all([payload for _, payload in came] == [b"first", b"second"] for came in seen)


def test_the_same_seed_gives_the_same_run() -> None:
    def trace() -> list[tuple[float, Incoming]]:
        link = Link(seed=9, delay_s=0.05, loss=0.3, duplicate=0.2, reorder=0.2)
        broker = MemoryBroker(Clock(), link)
        clients = [Client(broker, name, "x/#") for name in "abc"]
        broker.clock.at(50.0, lambda: link.cut("b"))
        broker.clock.at(60.0, lambda: link.mend("b"))
        broker.clock.at(70.0, broker.restart)
        for second in range(100):
            for number, client in enumerate(clients):
                topic = f"x/{number}"
                broker.clock.at(second, lambda c=client, t=topic: c.port.publish(t, b"."))
        broker.clock.run()
        return [entry for client in clients for entry in client.seen]

    assert trace() == trace()


def test_a_cut_link_is_told_leaves_a_will_and_comes_back(broker: MemoryBroker) -> None:
    link = Link(seed=1)
    broker = MemoryBroker(Clock(), link)
    watcher = Client(broker, "watcher", "will")
    victim = Client(broker, "victim", will=Will("will", b"gone"))
    broker.clock.run()
    link.cut("victim")
    broker.clock.run(until=30.0)
    assert victim.reasons() == ["the link is cut"]
    assert watcher.payloads() == [b"gone"]
    link.mend("victim")
    broker.clock.run(until=300.0)
    assert victim.kinds() == ["Connected", "Disconnected", "Connected"]


def test_what_was_on_its_way_when_the_link_was_cut_is_lost_or_comes_again() -> None:
    link = Link(seed=1, delay_s=1.0)
    broker = MemoryBroker(Clock(), link)
    receiver, sender = Client(broker, "receiver", "x"), Client(broker, "sender")
    broker.clock.run(until=10.0)
    sender.port.publish("x", b"lost on the way up")
    link.cut("sender")
    link.mend("sender")
    broker.clock.run(until=30.0)
    assert receiver.payloads() == []
    sender.port.publish("x", b"on the way down")
    broker.clock.run(until=31.5)
    link.cut("receiver")
    link.mend("receiver")
    broker.clock.run(until=60.0)
    assert receiver.payloads() == [b"on the way down"]


def test_a_power_cut_leaves_its_will_only_when_the_broker_notices(broker: MemoryBroker) -> None:
    watcher = Client(broker, "watcher", "will")
    Client(broker, "box", will=Will("will", b"gone"))
    broker.clock.run()
    broker.kill("box", after_s=45.0)
    broker.clock.run()
    assert [when for when, event in watcher.seen if isinstance(event, Delivery)] == [45.0]


def test_a_box_that_is_back_before_that_leaves_none(broker: MemoryBroker) -> None:
    watcher = Client(broker, "watcher", "will")
    Client(broker, "box", will=Will("will", b"gone"))
    broker.clock.run()
    broker.kill("box", after_s=45.0)
    Client(broker, "box", will=Will("will", b"gone"))
    broker.clock.run()
    assert watcher.payloads() == []


def test_a_broker_that_loses_its_state_forgets_what_was_retained(broker: MemoryBroker) -> None:
    sender = Client(broker, "sender")
    broker.clock.run()
    sender.port.publish("state", b"kept", retain=True)
    broker.clock.run()
    broker.restart()
    keeps = Client(broker, "keeps", "state")
    broker.clock.run()
    assert keeps.payloads() == [b"kept"]
    broker.restart(lose_state=True)
    loses = Client(broker, "loses", "state")
    broker.clock.run()
    assert loses.payloads() == []


def test_clients_keep_trying_while_the_broker_is_down(broker: MemoryBroker) -> None:
    client = Client(broker, "a")
    broker.clock.run()
    broker.stop()
    broker.clock.run(until=1000.0)
    assert client.reasons() == ["the broker has gone away", "nothing listens: the broker is down"]
    broker.start()
    broker.clock.run(until=1200.0)
    assert client.kinds()[-1] == "Connected"


def test_twins_do_not_fight_without_pause(broker: MemoryBroker) -> None:
    first = Client(broker, "twin")
    broker.clock.run()
    second = Client(broker, "twin")
    broker.clock.run(until=3600.0)
    assert first.reasons()[0] == "another client with the same id has connected"
    assert len(first.seen) + len(second.seen) < 200


def test_a_shared_subscription_passes_over_members_that_are_away(broker: MemoryBroker) -> None:
    here = Client(broker, "here", "$share/g/x")
    Client(broker, "away", "$share/g/x")
    sender = Client(broker, "sender")
    broker.clock.run()
    broker.kill("away")
    broker.clock.run()
    for number in range(4):
        sender.port.publish("x", b"%d" % number)
    broker.clock.run()
    assert here.payloads() == [b"0", b"1", b"2", b"3"]


def test_bytes_are_counted_by_client_direction_and_class(broker: MemoryBroker) -> None:
    sender = Client(broker, "sender")
    Client(broker, "one", "qf/v1/f/up/+/m")
    Client(broker, "two", "qf/#")
    broker.clock.run()
    sender.port.publish("qf/v1/f/up/sender/m", bytes(100))
    sender.port.publish("qf/v1/f/dev/sender/state", bytes(7))
    broker.clock.run()
    assert broker.traffic.bytes("sender", UP) == 107
    assert broker.traffic.bytes("sender", UP, "up") == 100
    assert broker.traffic.bytes(direction=DOWN) == 207
    assert broker.traffic.messages("two", DOWN) == 2
    assert broker.traffic.by_class()[UP, "dev/state"] == (1, 7)


def test_killing_a_stranger_is_a_mistake(broker: MemoryBroker) -> None:
    with pytest.raises(LocalError, match="stranger"):
        broker.kill("stranger")
