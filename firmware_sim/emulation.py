"""A scenario on virtual time: boards, links, lives and faults round a virtual fleet.

`emulate` is the engine `virtual`: a scenario and a seed in, what came of it out.
"""

import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from coordinator.considering import Advisor
from coordinator.service import POLL
from coordinator.taskfile import seconds
from edge_client.config import EdgeConfig
from edge_client.dataset import Table
from edge_client.requests import Assignment, Request, Result
from firmware_sim import effort
from firmware_sim.accounts import Accounts
from firmware_sim.behaviour import queue_s
from firmware_sim.boards import ram_free_mib
from firmware_sim.chance import uniform
from firmware_sim.costs import Costs, shipped
from firmware_sim.director import Director
from firmware_sim.foresight import KILLED_S, Ask
from firmware_sim.hidden import survives_s
from firmware_sim.holdings import Holdings, holdings
from firmware_sim.journal import by_machines, by_people, let_out, note, tail
from firmware_sim.link import Link
from firmware_sim.lives import Lives
from firmware_sim.machine import Machine
from firmware_sim.outcome import Result as Outcome
from firmware_sim.population import ailing, populate, readings
from firmware_sim.results import Run, newest, summed
from firmware_sim.scenario import Scenario
from firmware_sim.virtual import Plan, VirtualFleet, Work, seldom_collected
from firmware_sim.virtual_stage import VirtualStage
from firmware_sim.watched import Watches
from firmware_sim.workshop import Source, Workshop
from proto.codec import decode_signed
from proto.messages import Resources, Task

NAME = "fleet"
SPREAD_S = 0.02
"""Between one client's first start and the next one's."""
_CRASH, _LOSES = 31, 32

Tell = Callable[[int, int], None]
"""Told rounds done and rounds in all, for a progress bar."""


class Settings(NamedTuple):
    """How a run is watched, and what work costs; all but the latter leaves its result as it is."""

    trace: Path | None = None
    record: Path | None = None
    traced: bool = True
    together: bool = True
    tell: Tell | None = None
    costs: Costs | None = None
    """What work costs a board, of this machine's calibration; the shipped figures when None."""
    poll: float = POLL
    """Seconds between the coordinator's looks at its store; fewer are faster to emulate."""
    until_target: bool = False
    """End as soon as a round's model reaches the target."""
    advisor: "Callable[[Emulation], Advisor] | None" = None
    """Makes who advises the policy `agent` in place of a language model."""
    workshop: Callable[[Source], Workshop] | None = None
    """Makes where boxes train, in place of this process alone; results are the same."""


PLAIN = Settings()


def emulate(scenario: Scenario, seed: int, settings: Settings = PLAIN) -> Outcome:
    """The whole run. The same scenario and seed give the same outcome but for its `cost`."""
    began = time.process_time()
    with seldom_collected():
        outcome = Emulation(scenario, seed, settings).run()
    return _with_cost(outcome, time.process_time() - began)


class Emulation:
    """One run: what surrounds the boxes, and the stage a script plays on."""

    def __init__(self, scenario: Scenario, seed: int, settings: Settings = PLAIN) -> None:
        self.scenario, self.seed, self._settings = scenario, seed, settings
        self._costs = settings.costs or shipped()
        self.clients = populate(scenario, seed)
        self.holdings: Holdings = holdings(scenario, self.clients, seed)
        self.machines = {client.name: Machine(client) for client in self.clients}
        ids = {f"{NAME}-{c.name}-box": c.line for c in self.clients}
        link = Link(seed, wired=frozenset({f"{NAME}-coordinator"}), lines=ids)
        plan = Plan(
            self,
            seed=seed,
            sealed=scenario.sealing == "real",
            together=settings.together,
            link=link,
            traced=settings.traced,
            trace=settings.trace,
            record=settings.record,
            poll=settings.poll,
        )
        self.fleet = VirtualFleet(plan, NAME)
        if settings.workshop:
            self.fleet.workshop = settings.workshop(self)
        self.accounts = Accounts(self.fleet, self.machines, settings.tell)
        self._clock = self.fleet.clock
        self._tasks: dict[bytes, Task] = {}
        self._read: set[str] = set()
        """Boxes whose trunk has read their rows, where an adapter's costs are paid."""
        self._waited: dict[str, int] = {}
        """Seconds each box's last job waited for its quantum processor."""
        self._lives = Lives(self.fleet, self.machines, link)
        self._stage = VirtualStage(self.fleet, self.clients, self.machines, self._lives)
        director = self._director = Director(scenario.script, self.clients, seed, self._clock)
        watches = [w for w in (self.fleet.trace, self.accounts) if w is not None]
        self.fleet.watch = Watches([*watches, director] if director.waits else watches)
        if settings.advisor:
            self.fleet.advisor = settings.advisor(self)

    def run(self) -> Outcome:
        """Start everybody, let rounds go by, sum up."""
        fleet = self.fleet
        fleet.start_coordinator()
        fleet.submit(self.holdings.task())
        for at, client in enumerate(self.clients):
            fleet.add_box(client.name)
            self._clock.at(at * SPREAD_S, partial(self._lives.begin, client.name))
        self._director.begin(self._stage)
        ends = None
        if self._settings.until_target:
            measure = partial(newest, fleet.store, NAME, self.holdings.test)
            self.accounts.reached, ends = (self.scenario.work.target, measure), self.accounts.hit
        fleet.run_job(self.accounts.job, seconds(self.scenario.lasts), ends)
        fleet.advisor.close()
        if fleet.trace:
            fleet.trace.close()
        began = fleet.wall() - self._clock.now
        run = Run("virtual", self.scenario, self.seed, self.clients, self.holdings, began)
        return replace(
            summed(fleet.store, run, self.accounts.spent),
            ended_s=self._clock.now,
            events=fleet.broker.traffic.count,
            trace=fleet.trace.digest() if fleet.trace else "",
        )

    # --- what surrounds a box (virtual.World) ---

    def rows(self, box: str) -> Table:
        return self.holdings.rows(self.machines[box].client, self._clock.now)

    def version(self, box: str) -> int:
        return self.holdings.version(self.machines[box].client, self._clock.now)

    def resources(self, box: str) -> Resources:
        machine, now, scenario = self.machines[box], self._clock.now, self.scenario
        words, lines = "", tuple[str, ...]()
        if scenario.notes:
            words = note(machine.client, now, by_people(scenario.wordings))
        if scenario.journals:
            written = tail(machine.client, now, families=by_machines(scenario.wordings))
            lines = tuple(let_out(line) for line in reversed(written))
        board = readings(machine.client, machine.to(now), now, words)
        return replace(board, qpu_queue_s=self._waited.get(box), journal=lines)

    def begins(self, box: str, request: Request) -> Work:
        machine, now = self.machines[box], self._clock.now
        task, rows = self._task(request), self.machines[box].client.rows
        if self.holdings.tables:
            rows = len(self.holdings.tables[machine.client.number - 1].y)
        self._lives.foresee(box)
        bad = ailing(machine.client, now)
        free = ram_free_mib(machine.to(now), bad.ram_mib)
        asked = self.scenario.work
        manner = effort.Manner(asked.effort, asked.costs_like == "adapter", box in self._read)
        needs = asked.memory_mib or effort.memory_mib(self._costs, task, rows, manner)
        if isinstance(request, Assignment):
            self.accounts.begins(box)
            machine.busy = needs > free
        if needs > free:
            return Work(KILLED_S, killed=True)
        warm = self._costs.start_s if now < self._lives.warm.get(box, 0.0) else 0.0
        if not isinstance(request, Assignment):
            return Work(machine.slow * (effort.work_s(self._costs, task, request, rows) - warm))
        waits = queue_s(machine.client.life, now)
        self.accounts.queued += waits
        if machine.client.life.behaviour.queue_s:
            self._waited[box] = round(waits)
        work = effort.work_s(self._costs, task, request, rows, manner) - warm
        self._read.add(box)
        ends = machine.begin(now, work)
        self._lives.foresee(box)
        draw = uniform(machine.client.seed, _CRASH, int(now))
        if (lives := survives_s(bad.crash_per_h, draw)) < ends - now:
            self._lives.crash(box, lives)
        return Work(ends - now + waits)

    def ask_of(self, box: str, steps: int, size: int, deadline: float) -> Ask:
        """What it would be to ask this box now for so many steps; `size` is its traffic's bytes."""
        client, now, work = self.machines[box].client, self._clock.now, self.scenario.work
        task = decode_signed(self.fleet.store.job(self.accounts.job).task, Task)
        manner = effort.Manner(work.effort, work.costs_like == "adapter", box in self._read)
        rows = client.rows
        if self.holdings.tables:
            rows = len(self.holdings.tables[client.number - 1].y)
        needs = work.memory_mib or effort.memory_mib(self._costs, task, rows, manner)
        seconds_ = effort.training_s(self._costs, task, steps, rows, manner)
        return Ask(now, self.machines[box].slow * seconds_, size // 2, needs, deadline)

    def ends(self, box: str, request: Request) -> None:
        if isinstance(request, Assignment):
            self.machines[box].rest(self._clock.now)
            self.accounts.ends(box)
            self._lives.foresee(box)
        self._lives.warm[box] = self._clock.now + EdgeConfig().linger

    def sends(self, box: str, result: Result) -> Result:
        machine, now = self.machines[box], self._clock.now
        bad = ailing(machine.client, now).loses_update
        full = bool(bad) and uniform(machine.client.seed, _LOSES, int(now)) < bad
        self.fleet.disk(box).full = full
        return self._stage.spoilt(box, result)

    def _task(self, request: Request) -> Task:
        if request.task not in self._tasks:
            self._tasks[request.task] = effort.task_of(request)
        return self._tasks[request.task]


def _with_cost(outcome: Outcome, cpu_s: float) -> Outcome:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return replace(outcome, cost={"cpu_s": round(cpu_s, 3), "rss_mb": round(peak, 1)})
