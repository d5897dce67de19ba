"""Fleets of thousands in one process, on virtual time: the real shells and tables, no disk.

Boxes keep what must survive on emulated disks, the coordinator in a store in memory; frames are
sealed, or only as large as if they were. The same seed gives the same run, to the byte.
"""

import gc
import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from signal import SIGKILL
from typing import Protocol

import msgspec

from coordinator import admission
from coordinator.agent.advisor import Agent
from coordinator.considering import Advisor
from coordinator.jobstate import Phase
from coordinator.keys import RECORD_LIFE, Keys
from coordinator.recording import Recorder
from coordinator.service import POLL, Service, Start
from coordinator.submit import submit
from coordinator.taskfile import TaskFile
from edge_client.box import Box, Setting
from edge_client.config import Data, EdgeConfig
from edge_client.dataset import Table
from edge_client.membership import Membership, Memory
from edge_client.requests import Request, Result
from edge_client.worker import lost
from firmware_sim.broker import MemoryBroker
from firmware_sim.clock import Clock
from firmware_sim.costed import COSTED, NoIdentity
from firmware_sim.fleet import START, Actor, Fleet
from firmware_sim.link import Link
from firmware_sim.memory_kit import Disk, in_memory
from firmware_sim.memory_store import MemoryStore
from firmware_sim.trace import Trace
from firmware_sim.watched import Watch, WatchedBox, WatchedService
from firmware_sim.workshop import Workshop
from proto.identity import Identity, sign
from proto.locks import REAL
from proto.messages import Era, KeyRecord, Resources


class Work(msgspec.Struct, frozen=True):
    """How a piece of work goes on its board."""

    seconds: float
    """Of virtual time; inf when it never ends."""
    killed: bool = False
    """The system ends the training process then, for want of memory."""


class World(Protocol):
    """What surrounds the boxes, each known by its name."""

    def rows(self, box: str) -> Table:
        """The box's own rows, as they are now."""

    def version(self, box: str) -> int:
        """Another number once the rows are others."""

    def resources(self, box: str) -> Resources: ...

    def begins(self, box: str, request: Request) -> Work: ...

    def ends(self, box: str, request: Request) -> None:
        """The work is done, was given up, or died."""

    def sends(self, box: str, result: Result) -> Result:
        """What the box makes of a result before it leaves; an honest one leaves it alone."""


@dataclass(frozen=True, slots=True)
class Still:
    """A world where all work takes the same time and nothing happens."""

    rows_of: Callable[[str], Table]
    seconds: float = 1.0

    def rows(self, box: str) -> Table:
        return self.rows_of(box)

    def version(self, _box: str) -> int:
        return 0

    def resources(self, _box: str) -> Resources:
        return Resources()

    def begins(self, _box: str, _request: Request) -> Work:
        return Work(self.seconds)

    def ends(self, _box: str, _request: Request) -> None:
        """Nobody minds."""

    def sends(self, _box: str, result: Result) -> Result:
        return result


@dataclass(frozen=True, slots=True)
class Plan:
    """What a virtual fleet is made of. `sealed`: really, or only what it costs in bytes."""

    world: World
    seed: int = 0
    sealed: bool = False
    together: bool = True
    """Train a cohort's circuits in one go; the result is the same."""
    link: Link | None = None
    traced: bool = False
    trace: Path | None = None
    record: Path | None = None
    """Where to record rounds for a replay."""
    poll: float = POLL
    """Seconds between the coordinator's looks at its store."""


class Labour:
    """One box's place to train."""

    def __init__(self, fleet: "VirtualFleet", box: str, deliver: Callable[[Result], None]) -> None:
        self._world, self._workshop, self._clock = fleet.plan.world, fleet.workshop, fleet.clock
        self._box, self._deliver = box, deliver
        self._current: dict[int, tuple[Request, bool]] = {}
        """What is under way by number, and whether the system will end it."""
        self._count = 0

    def submit(self, request: Request) -> None:
        work = self._world.begins(self._box, request)
        if not work.killed:
            self._workshop.begin(request)
        self._count = count = self._count + 1
        self._current[count] = request, work.killed
        if work.seconds != inf:
            self._clock.after(work.seconds, partial(self._finish, count))

    def cancel(self) -> None:
        for request, _ in self._current.values():
            self._workshop.drop(request)
            self._world.ends(self._box, request)
        self._current.clear()

    def _finish(self, number: int) -> None:
        if number not in self._current:
            return  # it was given up
        request, killed = self._current.pop(number)
        if killed:
            result = lost(request, -SIGKILL)
        else:
            result = self._world.sends(self._box, self._workshop.result(request))
        self._world.ends(self._box, request)
        self._deliver(result)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for garbage cycles less often: a fleet makes many values, and they die by themselves.

    Above all among what has lived for long, which is the whole fleet: such a look costs the more,
    the more boxes there are.
    """
    before = gc.get_threshold()
    gc.set_threshold(250 * before[0], before[1], 100 * before[2])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class VirtualFleet(Fleet):
    """A fleet whose boxes are added by name; `plan` says where their rows are."""

    def __init__(self, plan: Plan, name: str = "sim") -> None:
        self.plan, self.name = plan, name
        self.home = Path()
        self.clock = Clock()
        self._chance = random.Random(f"{plan.seed}/ids")  # noqa: S311 - repeatable
        self.broker = MemoryBroker(self.clock, plan.link)
        self.keys = self._make_keys()
        self.boxes: dict[str, Box] = {}
        self.service: Service | None = None
        self.store: MemoryStore = self._make_store()
        self.expelled: set[str] = set()
        self.workshop = Workshop(plan.world, together=plan.together)
        self.trace = Trace(self.clock, plan.trace) if plan.traced or plan.trace else None
        self.watch: Watch | None = self.trace
        if self.trace:
            self.broker.tap = self.trace.wire
        self.locks = REAL if plan.sealed else COSTED
        self.advisor: Advisor = Agent(beside=False)
        self._actors: dict[str, Actor] = {}
        self._disks: dict[str, Disk] = {}
        self._identities: dict[str, Identity] = {}
        self._labours: dict[str, Labour] = {}

    # --- the coordinator ---

    def start_coordinator(self) -> MemoryStore:
        fleet = admission.Fleet(self.name, self.keys, "")
        record = Recorder(self.plan.record) if self.plan.record else None
        start = Start(
            self.store,
            fleet,
            self.wall,
            locks=self.locks,
            record=record,
            advisor=self.advisor,
            poll=self.plan.poll,
        )
        service = WatchedService(start, self.watch) if self.watch else Service(start)
        self._serve_by(service)
        return self.store

    def open_store(self) -> MemoryStore:
        return self.store

    def submit(self, file: TaskFile) -> None:
        """Hand a task in; its key comes from the seed."""
        submit(self.store, file, self.name, self.wall())
        self.store.change_job(file.job, key=self._bytes("job", file.job, 32))
        self.store.touch()

    def finished(self, job: str) -> bool:
        """Whether the job's rounds are over, one way or the other."""
        row = self.store.job(job)
        return row is not None and row.value.phase in (Phase.FINISHED, Phase.STOPPED)

    def run_job(self, job: str, limit: float, enough: Callable[[], bool] | None = None) -> None:
        """Let time pass until the job is over, `enough`, or up to `limit` seconds of it."""
        clock, row, over = self.clock, self.store.job(job), (Phase.FINISHED, Phase.STOPPED)
        seen = None
        while clock.now <= limit:
            if row.value is not seen:
                seen = row.value
                if seen.phase in over:
                    break
            if not clock.step() or (enough is not None and enough()):
                break

    # --- boxes ---

    def add_box(self, name: str, config: EdgeConfig | None = None) -> None:  # noqa: ARG002
        """A box that has joined, not started yet."""
        if self.plan.sealed:
            self._identities[name] = Identity(self._bytes("box", name, 32))
        else:
            self._identities[name] = NoIdentity(name)
        self.store.add_box(name, self._identities[name].public)
        memory = Memory(record=self.keys.record_bytes, serial=self.keys.record.serial)
        self._disks[name] = Disk(memory)

    def start_box(
        self,
        name: str,
        config: EdgeConfig | None = None,
        seconds: float = 0.0,  # noqa: ARG002 - the plan says it
        clock_off: float = 0.0,
    ) -> Box:
        identity, disk = self._identities[name], self._disks[name]
        setting = Setting(
            home=self.home,
            member=self._member(name),
            identity=identity,
            config=config or EdgeConfig(data=Data(source=name)),
            now=partial(getattr, self.clock, "now"),  # no function of ours: it is asked often
            clock=lambda: self.wall() + clock_off,
            resources=partial(self.plan.world.resources, name),
            draw=self._chance.randbytes,
        )
        kit = in_memory(disk, setting.member, identity, self.keys.identity.public, self.locks)
        box = WatchedBox(setting, kit, self.watch) if self.watch else Box(setting, kit)
        actor = Actor(self.clock, partial(self._live, name, box))
        port = self.broker.connect(self.client_id(name), actor.put, box.will)
        self._labours[name] = Labour(self, name, actor.put)
        box.attach(port, self._labours[name])
        self.boxes[name], self._actors[name] = box, actor
        return box

    def kill_box(self, name: str) -> None:
        """As kill -9; its training dies with it."""
        super().kill_box(name)
        self._labours.pop(name).cancel()

    def disk(self, name: str) -> Disk:
        return self._disks[name]

    # --- chance, from the seed alone ---

    def _bytes(self, kind: str, name: str, count: int) -> bytes:
        return hashlib.sha256(f"{self.plan.seed}/{kind}/{name}".encode()).digest()[:count]

    def _make_keys(self) -> Keys:
        root, own = (Identity(self._bytes("key", who, 32)) for who in ("root", "coordinator"))
        expires = int(START) + RECORD_LIFE
        record = KeyRecord(fleet=self.name, serial=1, key=own.public, expires=expires)
        secret = self._bytes("key", "broker", 32)
        return Keys(root.public, root, own, record, sign(record, root), secret)

    def _make_store(self) -> MemoryStore:
        store = MemoryStore()
        era = Era(number=1, nonce=self._bytes("era", "1", 8))
        store.set_fact("era", msgspec.msgpack.encode(era))
        return store

    def _member(self, name: str) -> Membership:
        return Membership(
            fleet=self.name,
            box=name,
            root=self.keys.root_public,
            url="mqtt://memory",
            username=name,
            password="",
            ca="",
        )
