"""The same small world over three transports: peers, a broker, and the ways in which they fail."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol, TypeVar

from coordinator.broker_process import BrokerProcess
from firmware_sim.broker import MemoryBroker
from firmware_sim.clock import Clock
from firmware_sim.link import Link
from proto.broker_url import BrokerUrl, MqttSettings
from proto.mqtt import MqttPort
from proto.transport import Delivery, Incoming, Port, Will
from tests.contracts.tcp_proxy import TcpProxy

E = TypeVar("E", bound=Incoming)
Use = Callable[[Port], None]
PATIENCE_S = 10.0
QUIET_S = 0.3
_numbers = count()


@dataclass
class Peer:
    """A port, and what it was handed."""

    client_id: str
    port: Port
    inbox: "queue.SimpleQueue[Incoming]"


def _nothing(_port: Port) -> None:
    """What most do before they connect."""


class World(Protocol):
    base: str
    """A root for topics that no other test uses; client ids get it too."""

    def peer(
        self, client_id: str, *patterns: str, will: Will | None = None, first: Use = _nothing
    ) -> Peer:
        """A peer that has begun to connect; `first` is done with its port before that."""

    def next(self, peer: Peer, patience_s: float = PATIENCE_S) -> Incoming | None:
        """The next thing handed to the peer, or None if it stays quiet for so long."""

    def kill(self, peer: Peer) -> None:
        """End a peer as kill -9 does."""

    def cut(self, peer: Peer) -> None:
        """Break a peer's link for a moment."""

    def restart_broker(self) -> None:
        """Stop the broker and start it again; whether it remembers is its own affair."""


def expect(
    world: World, peer: Peer, kind: type[E], *, such: Callable[[E], bool] | None = None
) -> E:
    """The next event of a kind (and such that), skipping others; fails if it does not come."""
    while (event := world.next(peer)) is not None:
        if isinstance(event, kind) and (such is None or such(event)):
            return event
    raise AssertionError(f"{peer.client_id} was never handed a {kind.__name__}")


def deliveries(world: World, peer: Peer, count: int) -> list[Delivery]:
    """So many deliveries, each acked before the next is awaited."""
    taken = []
    for _ in range(count):
        taken.append(expect(world, peer, Delivery))
        peer.port.ack(taken[-1])
    return taken


def silence(world: World, peer: Peer) -> list[Delivery]:
    """The deliveries that came until the peer was quiet: none, one hopes."""
    rest = []
    while (event := world.next(peer, QUIET_S)) is not None:
        if isinstance(event, Delivery):
            rest.append(event)
    return rest


class MemoryWorld:
    base = "qf/v1/test"

    def __init__(self, link: Link | None = None) -> None:
        self.clock = Clock()
        self.link = link or Link(seed=0)
        self.broker = MemoryBroker(self.clock, self.link)

    def peer(
        self, client_id: str, *patterns: str, will: Will | None = None, first: Use = _nothing
    ) -> Peer:
        inbox: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
        port = self.broker.connect(client_id, inbox.put, will)
        port.subscribe(*patterns)
        first(port)
        return Peer(client_id, port, inbox)

    def next(self, peer: Peer, patience_s: float = PATIENCE_S) -> Incoming | None:
        horizon = self.clock.now + 100 * patience_s
        while peer.inbox.empty() and self.clock.now < horizon and self.clock.step():
            pass
        return None if peer.inbox.empty() else peer.inbox.get()

    def kill(self, peer: Peer) -> None:
        self.broker.kill(peer.client_id)

    def cut(self, peer: Peer) -> None:
        self.clock.run(self.clock.now + 1.0)
        self.link.cut(peer.client_id)
        self.link.mend(peer.client_id)

    def restart_broker(self) -> None:
        self.clock.run(self.clock.now + 1.0)
        self.broker.restart(lose_state=True)

    def close(self) -> None:
        self.clock.run()


class RealWorld:
    """Peers over real TCP, each through a proxy of its own, so that it can die abruptly."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.broker = broker
        self.base = f"qf/v1/test{next(_numbers)}"
        self._proxies: dict[int, TcpProxy] = {}
        self._ports: list[MqttPort] = []

    def peer(
        self, client_id: str, *patterns: str, will: Will | None = None, first: Use = _nothing
    ) -> Peer:
        inbox: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
        client_id = f"{self.base.replace('/', '-')}-{client_id}"
        proxy = TcpProxy((self.broker.url.host, self.broker.url.port))
        port = MqttPort(quick_settings(self.broker.url, client_id, proxy.port, will), inbox.put)
        port.subscribe(*patterns)
        first(port)
        self._proxies[id(port)] = proxy
        self._ports.append(port)
        return Peer(client_id, port.open(), inbox)

    def next(self, peer: Peer, patience_s: float = PATIENCE_S) -> Incoming | None:
        try:
            return peer.inbox.get(timeout=patience_s)
        except queue.Empty:
            return None

    def kill(self, peer: Peer) -> None:
        self._proxies[id(peer.port)].cut(refuse=True)
        peer.port.close()

    def cut(self, peer: Peer) -> None:
        self._proxies[id(peer.port)].cut()

    def restart_broker(self) -> None:
        self.broker.restart()

    def close(self) -> None:
        for port in self._ports:
            port.close()
        for proxy in self._proxies.values():
            proxy.close()


def quick_settings(
    url: BrokerUrl, client_id: str, port: int = 0, will: Will | None = None
) -> MqttSettings:
    """Settings that reconnect within a test's patience; `port` leads through a proxy."""
    return MqttSettings(
        url=replace(url, port=port or url.port),
        client_id=client_id,
        will=will,
        reconnect_first_s=0.05,
        reconnect_longest_s=0.4,
    )
