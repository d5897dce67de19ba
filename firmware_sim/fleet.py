"""A whole fleet in one process, on virtual time: the real service, the real boxes, no network.

Everything but the broker and the clock is what runs in the field: tables, sealing, store, spool.
"""

import shutil
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path

from coordinator import admission
from coordinator.agent.advisor import Agent
from coordinator.considering import Advisor
from coordinator.keys import make_keys
from coordinator.recording import Recorder
from coordinator.service import Service, Start
from coordinator.store import Store
from coordinator.submit import submit
from coordinator.taskfile import TaskFile
from edge_client.box import Box, Expelled, Setting
from edge_client.config import EdgeConfig
from edge_client.labour import carry_out
from edge_client.membership import Membership, load_member, save_member
from edge_client.requests import Request, Result
from firmware_sim.broker import MemoryBroker
from firmware_sim.clock import Clock
from firmware_sim.link import Link
from firmware_sim.watched import Watch, WatchedBox, WatchedService
from proto.errors import QfleetError
from proto.identity import Identity
from proto.joining import open_answer, request
from proto.messages import Resources
from proto.sealing import KemPair
from proto.transport import Incoming

START = 1_700_000_000.0
"""What the fleet's clocks show when virtual time is 0, in seconds since 1970."""
MAX_BATCH = 64
LEAST_WAIT = 0.001
"""Seconds of virtual time that pass at least before a turn that was asked for."""


class Inline:
    """Training in this process; its result comes after `seconds` of virtual time."""

    def __init__(self, clock: Clock, deliver: Callable[[Result], None], seconds: float) -> None:
        self._clock, self._deliver, self._seconds = clock, deliver, seconds
        self._era = 0

    def submit(self, request_: Request) -> None:
        self._clock.after(self._seconds, partial(self._finish, request_, self._era))

    def cancel(self) -> None:
        self._era += 1

    def _finish(self, request_: Request, era: int) -> None:
        if era == self._era:
            self._deliver(carry_out(request_))


class Actor:
    """Something that takes what comes to it in turn, and wakes when it asked to.

    `take` is given what came, and returns when it is due a turn whatever comes, by a clock that
    showed `start` when virtual time was 0; infinity where only an arrival can change anything.
    """

    def __init__(
        self, clock: Clock, take: Callable[[list[Incoming | Result]], float], start: float = 0.0
    ) -> None:
        self._clock, self._take, self._start = clock, take, start
        self._inbox: list[Incoming | Result] = []
        self._alive = True
        self._called = False
        self._due = inf
        self._wakes_at, self._covered = -1.0, inf
        """The next timer, and from when on it surely comes before whatever may be due."""

    def put(self, thing: Incoming | Result) -> None:
        self._inbox.append(thing)
        if not self._called:  # else a turn at this very moment is on its way
            self._called = True
            self._clock.soon(self._turn)

    def turn_after(self, seconds: float) -> None:
        self._clock.after(seconds, self._turn)

    def stop(self) -> None:
        self._alive = False

    def _turn(self) -> None:
        if not self._alive:
            return
        self._called = False
        batch, self._inbox = self._inbox, []
        if len(batch) > MAX_BATCH:
            batch, self._inbox = batch[:MAX_BATCH], batch[MAX_BATCH:]
        self._due = due = self._take(batch)
        if self._inbox:
            self._called = True
            self._clock.soon(self._turn)
        elif due < self._covered or self._wakes_at <= self._clock.now:
            self._rest()

    def _rest(self) -> None:
        """Set a timer for when it is due. One is enough: an earlier one sets another in time."""
        clock, due = self._clock, self._due
        if due == inf:
            return
        now = clock.now
        wait = due - (self._start + now)
        when = now + max(LEAST_WAIT, wait)
        if self._wakes_at <= now or when < self._wakes_at:
            self._wakes_at, self._covered = when, due + LEAST_WAIT
            clock.at(when, self._wake)

    def _wake(self) -> None:
        """A timer went off; what it was set for may have been done meanwhile."""
        if self._inbox or self._due <= self._start + self._clock.now:
            self._turn()
        elif self._alive:
            self._rest()


class Fleet:
    """Coordinator, boxes and broker in `home`, driven by `clock`."""

    def __init__(
        self,
        home: Path,
        link: Link | None = None,
        name: str = "sim",
        broker: type[MemoryBroker] = MemoryBroker,
    ) -> None:
        self.home, self.name = home, name
        self.clock = Clock()
        self.broker = broker(self.clock, link)
        self.keys = make_keys(home / "coordinator", name, START)
        self.boxes: dict[str, Box] = {}
        self.service: Service | None = None
        self.store: Store | None = None
        self.expelled: set[str] = set()
        self.watch: Watch | None = None
        """Told of every event of both tables, if set before anything starts."""
        self.record: Recorder | None = None
        """Where the coordinator records its rounds, likewise."""
        self.advisor: Advisor = Agent(beside=False)
        self._actors: dict[str, Actor] = {}

    def wall(self) -> float:
        return START + self.clock.now

    def client_id(self, box: str) -> str:
        """What a box is called at the broker."""
        return f"{self.name}-{box}-box"

    # --- the coordinator ---

    def start_coordinator(self) -> Store:
        """Start it, or start it again on what its store holds."""
        store = self.open_store()
        fleet = admission.Fleet(self.name, self.keys, "")
        self.store = store
        start = Start(store, fleet, self.wall, record=self.record, advisor=self.advisor)
        self._serve_by(WatchedService(start, self.watch) if self.watch else Service(start))
        return store

    def _serve_by(self, service: Service) -> None:
        actor = Actor(self.clock, partial(_serve, service), START)
        port = self.broker.connect(f"{self.name}-coordinator", actor.put, service.will)
        service.attach(port)
        self.service = service
        self._actors["coordinator"] = actor
        actor.turn_after(0.0)

    def open_store(self) -> Store:
        """A connection of one's own to the coordinator's store, as its commands have."""
        return Store(self.home / "coordinator" / "qfleet.db")

    def kill_coordinator(self) -> None:
        """As kill -9: nothing more is written or sent."""
        self._actors.pop("coordinator").stop()
        self.broker.kill(f"{self.name}-coordinator")
        assert self.store is not None
        self.store.close()

    def submit(self, file: TaskFile) -> None:
        """Hand a task in from outside the coordinator, as `coordinator run` does."""
        store = self.open_store()
        submit(store, file, self.name, self.wall())
        store.close()

    @property
    def running(self) -> set[str]:
        """Boxes by name, and "coordinator"."""
        return set(self._actors)

    # --- boxes ---

    def add_box(self, name: str, config: EdgeConfig) -> None:
        """Join by a token, as on a real box, and start."""
        assert self.store is not None
        home = self.home / name
        token = admission.new_token("mqtt://memory", self.name, self.keys)
        admission.invite(self.store, token, name, self.wall() + 3600)
        identity, kem = Identity.generate(), KemPair()
        ask = request(token, name, identity, kem)
        fleet = admission.Fleet(self.name, self.keys, "")
        _, answer, _ = admission.admit(self.store, fleet, ask, self.wall())
        admitted, _, record = open_answer(answer, token, ask, kem)
        if isinstance(admitted, str):
            raise QfleetError(admitted)
        member = Membership(
            fleet=self.name,
            box=name,
            root=token.root,
            url=token.url,
            username=name,
            password=admitted.password,
            ca="",
        )
        save_member(home, member, identity, record)
        self.start_box(name, config)

    def start_box(
        self, name: str, config: EdgeConfig, seconds: float = 1.0, clock_off: float = 0.0
    ) -> Box:
        """Start a box that has joined. Its training takes `seconds` of virtual time."""
        home = self.home / name
        member, identity = load_member(home)
        setting = Setting(
            home=home,
            member=member,
            identity=identity,
            config=config,
            now=lambda: self.clock.now,
            clock=lambda: self.wall() + clock_off,
            resources=Resources,
        )
        box = WatchedBox(setting, None, self.watch) if self.watch else Box(setting)
        actor = Actor(self.clock, partial(self._live, name, box))
        box.attach(
            self.broker.connect(self.client_id(name), actor.put, box.will),
            Inline(self.clock, actor.put, seconds),
        )
        self.boxes[name], self._actors[name] = box, actor
        return box

    def kill_box(self, name: str) -> None:
        """As kill -9 on the box."""
        self._actors.pop(name).stop()
        self.broker.kill(self.client_id(name))
        del self.boxes[name]

    def _live(self, name: str, box: Box, batch: list[Incoming | Result]) -> float:
        try:
            for thing in batch:
                box.handle(thing)
        except Expelled:  # what ends the agent's process
            self.expelled.add(name)
            self.kill_box(name)
            return inf
        due = box.due()
        if due <= self.clock.now:
            box.tick()
            due = box.due()
        return due

    # --- time ---

    def run(self, until: Callable[[], bool], limit: float = 3600.0) -> None:
        """Let time pass until something is true. Raises QfleetError after `limit` seconds."""
        end = self.clock.now + limit
        while not until():
            if self.clock.now > end or not self.clock.step():
                raise QfleetError(f"did not happen within {limit:.0f} s of virtual time")

    def copy_store(self, path: Path) -> None:
        assert self.store is not None
        self.store.copy_to(path)

    def restore_store(self, path: Path) -> None:
        """Put an older copy in place of the store (of a coordinator that is not running)."""
        home = self.home / "coordinator"
        for old in home.glob("qfleet.db*"):
            old.unlink()
        shutil.copyfile(path, home / "qfleet.db")


def _serve(service: Service, batch: list[Incoming | Result]) -> float:
    if batch:
        service.handle(batch)  # type: ignore[arg-type]
    service.tick()
    return service.due
