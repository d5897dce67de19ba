"""A broker in memory, on virtual time, with MQTT's promises and none of its mercies.

What real brokers were seen to do is done here too: overlapping subscriptions give copies, a
client that acks nothing gets 20 messages and no more, a retained message comes again with each
renewed subscription, and a session taken over sends no will (mosquitto 2.0.11). Not for threads.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from msgspec.structs import replace

from firmware_sim.clock import Clock
from firmware_sim.link import Link
from firmware_sim.links import DOWN, UP, Direction
from firmware_sim.memory_port import MemoryPort, Wire
from firmware_sim.topic_tree import TopicTree
from firmware_sim.traffic import Traffic
from proto.errors import LocalError
from proto.transport import Deliver, Delivery, Port, Will

_WINDOW = 20
_SHARED_PARTS = 3


class _Session:
    """What the broker keeps for one client id, whether it is connected or not."""

    __slots__ = ("owed", "sent", "unsent", "wire")

    def __init__(self) -> None:
        self.wire: Wire | None = None
        self.owed: dict[int, Delivery] = {}
        """By their tokens."""
        self.unsent: deque[Delivery] = deque()
        self.sent = 0
        """Of what is owed, so many were sent and await an ack."""

    def begin(self, wire: Wire, tokens: Iterator[int]) -> None:
        """All that is owed is owed again to the new connection, where old tokens say nothing."""
        self.wire = wire
        self.sent = 0
        again = [replace(delivery, token=next(tokens)) for delivery in self.owed.values()]
        self.owed = {delivery.token: delivery for delivery in again}
        self.unsent = deque(again)


class _Group:
    """A shared subscription: each message goes to one member, in turn."""

    __slots__ = ("members", "turn")

    def __init__(self) -> None:
        self.members: list[str] = []
        self.turn = 0

    def choose(self, sessions: dict[str, _Session]) -> str:
        """The next member that is connected, or else the next one."""
        self.turn += 1
        count = len(self.members)
        order = [self.members[(self.turn + offset) % count] for offset in range(count)]
        return next((name for name in order if sessions[name].wire is not None), order[0])


class MemoryBroker:
    """An MQTT broker on a `Clock`. `traffic` counts what passes, `clock` is shared with ports."""

    def __init__(self, clock: Clock, link: Link | None = None) -> None:
        self.clock = clock
        self.traffic = Traffic()
        self.tap: Callable[[str, bytes], None] | None = None
        """Told every topic and payload that is published: what a curious broker sees."""
        self._link = link or Link(seed=0)
        self._link.watch(self._cut)
        self._running = True
        self._tokens = count(1)
        self._ports: dict[str, MemoryPort] = {}
        self._present: list[partial[None]] = []
        """What happens at this very moment, in order: one event of the clock for all of it."""
        self._forget()

    def connect(self, client_id: str, deliver: Deliver, will: Will | None = None) -> Port:
        """A port that connects as soon as the clock runs; subscribe first, as with `MqttPort`.

        An id that is connected already is taken over, and the older port is told so.
        """
        port = self._ports[client_id] = MemoryPort(self, client_id, deliver, will)
        self.clock.after(0.0, port.attempt)
        return port

    def kill(self, client_id: str, after_s: float = 0.0) -> None:
        """End a client as `kill -9` does: its port falls silent, its will is published.

        A power cut tells the broker nothing; give the 1.5 keepalives it takes as `after_s`
        seconds. Raises LocalError for an id that never connected.
        """
        if client_id not in self._ports:
            raise LocalError(f"No client '{client_id}' has connected to this broker.")
        if (wire := self._ports[client_id].die()) is None:
            return
        ended = partial(self._ended, wire, with_will=True)
        self.clock.after(after_s, partial(self._control, wire.port, UP, ended))

    def stop(self) -> None:
        """Take the broker away; everybody notices at once and keeps trying."""
        self._running = False
        for session in self._sessions.values():
            self._sever(session.wire, "the broker has gone away")
            session.wire = None

    def start(self, *, lose_state: bool = False) -> None:
        """Bring it back: with its sessions and retained messages, or as empty as iotcore."""
        if lose_state:
            self._forget()
        self._running = True

    def restart(self, *, lose_state: bool = False) -> None:
        """Stop and start in one moment."""
        self.stop()
        self.start(lose_state=lose_state)

    # What follows is called by the ports.

    def out_of_reach(self, client_id: str) -> str:
        """Why a client cannot connect now, in words; empty when it can."""
        if not self._running:
            return "nothing listens: the broker is down"
        return "the link is cut" if self._link.is_cut(client_id) else ""

    def connecting(self, port: MemoryPort) -> Wire:
        ways = self.traffic.of(port.client_id, UP), self.traffic.of(port.client_id, DOWN)
        wire = Wire(port, self.clock.now, ways, at_once=self._link.at_once(port.client_id))
        self._control(port, UP, partial(self._accept, wire))
        return wire

    def said_goodbye(self, wire: Wire) -> None:
        self._control(wire.port, UP, partial(self._ended, wire, with_will=False))

    def subscribed(self, wire: Wire, patterns: tuple[str, ...]) -> None:
        self._reach(wire, partial(self._subscribe, wire, patterns))

    def unsubscribed(self, wire: Wire, patterns: tuple[str, ...]) -> None:
        self._reach(wire, partial(self._unsubscribe, wire, patterns))

    def acked(self, wire: Wire, token: int) -> None:
        if wire.at_once:
            self._acked(wire, token)
        else:
            self._reach(wire, partial(self._acked, wire, token))

    def published(self, wire: Wire, topic: str, payload: bytes, *, retain: bool) -> bool:
        """Take a publish; whether it is here already, and not on its way."""
        wire.up.add(topic, len(payload))
        if self.tap is not None:
            self.tap(topic, payload)
        if wire.at_once:  # on its way for no time: nothing comes in between
            self._route(topic, payload, retain=retain)
            return True
        wire.under_way += 1
        route = partial(self._arrived, wire, topic, payload, retain=retain)
        arrivals = self._link.arrivals(wire.client_id, UP, len(payload), self.clock.now)
        for number, when in enumerate(arrivals):
            self._at(when, partial(route, first=number == 0))
        return False

    def _forget(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._groups: dict[str, _Group] = {}
        self._subscriptions: TopicTree[str] = TopicTree()
        self._routes: dict[str, list[_Session]] = {}
        """Who gets a topic, as long as nobody subscribes anew."""
        self._retained: TopicTree[tuple[str, bytes]] = TopicTree()

    def _reach(self, wire: Wire, call: "partial[None]") -> None:
        """Have the broker do this once it is told, which may be at once."""
        now = self.clock.now
        when = self._link.arrival(wire.client_id, UP, 0, now)
        if when <= now:
            call()
        else:
            self.clock.at(when, call)

    def _control(self, port: MemoryPort, direction: Direction, call: "partial[None]") -> None:
        when = self._link.arrival(port.client_id, direction, 0, self.clock.now)
        self._at(when, call)

    def _at(self, when: float, call: "partial[None]") -> None:
        if when > self.clock.now:
            self.clock.at(when, call)
        else:
            self._soon(call)

    def _soon(self, call: "partial[None]") -> None:
        if not self._present:
            self.clock.soon(self._happen)
        self._present.append(call)

    def _happen(self) -> None:
        present, self._present = self._present, []
        for call in present:
            call()

    def _accept(self, wire: Wire) -> None:
        port = wire.port
        if reason := self.out_of_reach(port.client_id):
            self._sever(wire, reason)
            return
        session = self._sessions.setdefault(port.client_id, _Session())
        words = "another client with the same id has connected"
        self._sever(session.wire, words, taken_over=True)
        session.begin(wire, self._tokens)
        self._control(port, DOWN, partial(port.accepted, wire))
        self._pump(session)
        self._subscribe(wire, wire.patterns)

    def _subscribe(self, wire: Wire, patterns: tuple[str, ...]) -> None:
        client_id = wire.client_id
        session = self._sessions.get(client_id)
        if session is None or session.wire is not wire:
            return
        for pattern in patterns:
            if pattern.startswith("$share/"):
                self._join(client_id, pattern)
                continue
            self._subscriptions.put(pattern, client_id, client_id)
            self._routes.clear()
            for topic, payload in list(self._retained.for_pattern(pattern)):
                self._owe(session, topic, payload, retained=True)

    def _unsubscribe(self, wire: Wire, patterns: tuple[str, ...]) -> None:
        client_id = wire.client_id
        for pattern in patterns:
            group = self._groups.get(pattern)
            if group is None:
                self._subscriptions.take(pattern, client_id)
            elif client_id in group.members:
                group.members.remove(client_id)
                if not group.members:
                    del self._groups[pattern]
                    self._subscriptions.take(pattern.split("/", _SHARED_PARTS - 1)[2], pattern)

    def _join(self, client_id: str, pattern: str) -> None:
        group = self._groups.setdefault(pattern, _Group())
        if client_id not in group.members:
            group.members.append(client_id)
        self._subscriptions.put(pattern.split("/", _SHARED_PARTS - 1)[2], pattern, pattern)
        self._routes.clear()

    def _arrived(
        self, wire: Wire, topic: str, payload: bytes, *, retain: bool, first: bool
    ) -> None:
        if wire.severed:
            return
        if first:
            wire.under_way -= 1
        self._route(topic, payload, retain=retain)

    def _route(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if retain and payload:
            self._retained.put(topic, topic, (topic, payload))
        elif retain:
            self._retained.take(topic, topic)
        receivers = self._routes.get(topic)
        if receivers is None:
            receivers = self._receivers(topic)
        for session in receivers:
            self._owe(session, topic, payload, retained=False)

    def _receivers(self, topic: str) -> list[_Session]:
        """Who gets this message; whoever shares a subscription may not get the next one."""
        subscribers = list(self._subscriptions.for_topic(topic))
        groups = {name: self._groups[name] for name in subscribers if name in self._groups}
        chosen = {name: group.choose(self._sessions) for name, group in groups.items()}
        receivers = [self._sessions[chosen.get(name, name)] for name in subscribers]
        if not groups:
            self._routes[topic] = receivers
        return receivers

    def _owe(self, session: _Session, topic: str, payload: bytes, *, retained: bool) -> None:
        delivery = Delivery(topic, payload, retained, next(self._tokens))
        session.owed[delivery.token] = delivery
        wire = session.wire
        if wire is None or session.unsent or session.sent >= _WINDOW:
            session.unsent.append(delivery)
        else:
            self._send(session, wire, delivery)

    def _pump(self, session: _Session) -> None:
        """Send what the window allows."""
        wire = session.wire
        while wire is not None and session.unsent and session.sent < _WINDOW:
            self._send(session, wire, session.unsent.popleft())

    def _send(self, session: _Session, wire: Wire, delivery: Delivery) -> None:
        session.sent += 1
        topic, size = delivery.topic, len(delivery.payload)
        arrived = partial(wire.port.arrived, wire, delivery)
        if wire.at_once:
            wire.down.add(topic, size)
            self._soon(arrived)
            return
        for when in self._link.arrivals(wire.client_id, DOWN, size, self.clock.now):
            wire.down.add(topic, size)
            self._at(when, arrived)

    def _acked(self, wire: Wire, token: int) -> None:
        session = self._sessions.get(wire.client_id)
        if session is None or session.wire is not wire:
            return
        if session.owed.pop(token, None) is not None:
            session.sent -= 1
        if session.unsent:
            self._pump(session)

    def _ended(self, wire: Wire, *, with_will: bool) -> None:
        session = self._sessions.get(wire.client_id)
        if session is None or session.wire is not wire:
            return
        session.wire = None
        will = wire.port.will
        if with_will and will is not None:
            self._route(will.topic, will.payload, retain=True)

    def _cut(self, client_id: str) -> None:
        session = self._sessions.get(client_id)
        wire = session.wire if session else None
        if wire is not None:
            self._sever(wire, "the link is cut")
            self._ended(wire, with_will=True)

    def _sever(self, wire: Wire | None, reason: str, *, taken_over: bool = False) -> None:
        if wire is not None:
            wire.severed = True
            told = partial(wire.port.severed, wire, reason, taken_over=taken_over)
            self.clock.after(0.0, told)
