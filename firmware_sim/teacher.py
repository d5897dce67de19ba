"""A teacher that chooses with the emulator's knowledge, and writes down what it would have chosen.

At each round it draws futures from what could have been observed (`beliefs`), sees how asking each
client would go in each of them (`foresight`), trains everybody's update ahead (`gains`) and takes
the best set (`value`). Its soft targets are means over the futures. As `oracle` it sees the one
future that will be instead: no student can learn that, it is a ceiling.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from coordinator.jobstate import Consider, JobState, Open
from coordinator.rounds import step
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.edges import Edges
from coordinator.selection.examples import Client as Example
from coordinator.selection.examples import Decision
from coordinator.selection.features import features
from coordinator.selection.plan import Field, field_of, least
from coordinator.selection.request import Request
from coordinator.selection.scorers import AGENT
from coordinator.selection.steps import advised
from coordinator.selection.stopping import progress_of
from coordinator.selection.words import edges_of
from firmware_sim.beliefs import Belief, Seen, beliefs, drawn
from firmware_sim.chance import seed_of, uniform
from firmware_sim.emulation import Emulation
from firmware_sim.foresight import Ask, Prospect, foresee
from firmware_sim.gains import Gains, Updates
from firmware_sim.journal import EVERY_S, by_machines, by_people, let_out, noted, tail
from firmware_sim.leads import Lead
from firmware_sim.population import Client
from firmware_sim.prices import prices_of
from firmware_sim.sensors import for_teacher
from firmware_sim.value import CLASSES, OVERHEAD_S, OWN, Asked, Future, Join, Usual, Values, worth

FUTURES = 8
LOOK_BACK = 24
"""Lines of a journal among which those that were reported are looked for."""
_RANDOM, _WHOSE, _STEPS = 71, 72, 73


class Told(NamedTuple):
    """What a round's teaching came to, by box."""

    join: dict[str, float]
    worth: dict[str, float]
    finish: dict[str, float]
    steps: dict[str, tuple[float, ...]]
    """How often each class was best."""


class Teacher:
    """Advises one emulated fleet. `by` says whose scores it answers with (see `scores`)."""

    def __init__(
        self,
        emulation: Emulation,
        by: str = "teacher",
        *,
        oracle: bool = False,
        write: bool = True,
        lead: Lead | None = None,
    ) -> None:
        """With a `lead`, that one's advice is followed, and only written down what were better."""
        self._emulation, self._by, self._oracle, self._write = emulation, by, oracle, write
        self._lead = lead
        self._prices = prices_of(emulation.scenario.work.objective)
        fleet, job = emulation.fleet, emulation.accounts.job
        self._gains = Gains(fleet.store, fleet.workshop, job, for_teacher(emulation.seed))
        self._edges: Edges | None = None
        self._usual: Usual | None = None
        self._opened: dict[int, float] = {}
        """When each turn began."""
        self.decisions: list[Decision] = []
        self.losses: list[float] = []
        """Of the model each decision was made for, on the teacher's rows."""

    def advise(
        self, state: JobState, candidates: Sequence[Candidate], request: Request, now: float
    ) -> Advice:
        """Scores by `teacher`, join; by `worth`, that; by `random`, lots; else the hand rule's."""
        event = Consider(tuple(candidates), request.turn, request.bytes_each)
        if not any(isinstance(action, Open) for action in step(state, event, now)[1]):
            return Advice(remark="no round is opened yet")
        self._opened[request.turn] = self._emulation.fleet.clock.now
        self._edges = self._edges or edges_of(
            [features(c, request) for c in candidates], [c.resources.journal for c in candidates]
        )
        found = field_of(candidates, request)
        told = self._taught(state, found, request)
        if self._write:
            self.decisions.append(self._decision(state, found, request, told))
        if self._lead:
            return self._lead(state, candidates, request)
        return self._advice(found, told, request)

    def _advice(self, found: Field, told: Told, request: Request) -> Advice:
        """By whom it is that leads."""
        seed = seed_of(self._emulation.seed, "lots", request.turn)
        lots = {c.box: uniform(seed, _RANDOM, at) for at, c in enumerate(found.covered)}
        ways = {"teacher": told.join, "worth": told.worth, "random": lots}
        scores = ways.get(self._by)
        if scores is None:
            return Advice(remark=f"{self._by} leads")
        best = {box: shares.index(max(shares)) for box, shares in told.steps.items()}
        if self._by == "random":
            picks = [uniform(seed, _STEPS, at) for at in range(len(lots))]
            best = {box: int(p * len(CLASSES)) for box, p in zip(lots, picks, strict=True)}
        return Advice(scores=scores, steps=best)

    def thinking(self, _state: JobState, _now: float) -> bool:
        """Its answers are there at once."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    # --- one round ---

    def _taught(self, state: JobState, found: Field, request: Request) -> Told:
        boxes, steps = [c.box for c in found.covered], _steps(request)
        updates = self._gains.updates(state, request.turn, boxes, steps)
        self.losses.append(updates.loss)
        ahead = self._ahead(found, request)
        usual = self._usually(ahead, updates, boxes)
        asked, parts = _shares(found.covered), [count / request.pace.steps for count in steps]
        joins: dict[str, list[Join]] = {box: [] for box in boxes}
        for number, prospects in enumerate(ahead):
            whose = self._whose(found.covered, request, number)
            future = Future(prospects, asked, whose, parts, max(1, found.size), state.rules.quorum)
            values = Values(future, updates, self._prices, usual)
            best = values.best(boxes, least(found.size, request), found.overdue)
            for box, join in values.joins(boxes, best).items():
                joins[box].append(join)
        alone = {box: [p[box, OWN] for p in ahead] for box in boxes}
        return Told(
            {box: fmean(join.chance for join in told) for box, told in joins.items()},
            {b: fmean(worth(p, self._prices, usual) for p in ps) for b, ps in alone.items()},
            {box: fmean(p.delivered for p in ps) for box, ps in alone.items()},
            {box: _means([join.steps for join in told]) for box, told in joins.items()},
        )

    def _ahead(self, found: Field, request: Request) -> list[dict[Asked, Prospect]]:
        """How asking each would go in each class of steps, future by future."""
        asks = self._asks(found, request)
        if self._oracle:
            return [{each: self._foresee(each[0], ask, 0) for each, ask in asks.items()}]
        known = {c.box: self._beliefs(c, asks[c.box, OWN]) for c in found.covered}
        return [
            {each: self._supposed(each[0], known[each[0]], ask, draw) for each, ask in asks.items()}
            for draw in self._draws(request)
        ]

    def _whose(self, boxes: Sequence[Candidate], request: Request, number: int) -> dict[str, str]:
        """Whose update each box would send. Data of boxes that never sent one are anybody's."""
        whose = {c.box: c.box for c in boxes}
        new = [c.box for c in boxes if not c.past.delivered]
        if not self._oracle:
            seed = self._draws(request)[number]
            order = sorted(new, key=lambda box: uniform(seed, _WHOSE, self._client(box).number))
            whose.update(zip(new, order, strict=True))
        return whose

    def _draws(self, request: Request) -> list[int]:
        seed = self._emulation.seed
        return [seed_of(seed, "future", request.turn, number) for number in range(FUTURES)]

    def _supposed(self, box: str, known: Sequence[Belief], ask: Ask, draw: int) -> Prospect:
        fault = drawn(known, seed_of(draw, box))
        return self._foresee(box, ask, draw, replace(self._client(box), fault=fault))

    def _foresee(self, box: str, ask: Ask, draw: int, client: Client | None = None) -> Prospect:
        machine = self._emulation.machines[box]
        return foresee(client or machine.client, machine.to(ask.at), ask, draw)

    def _asks(self, found: Field, request: Request) -> dict[Asked, Ask]:
        return {
            (c.box, place): self._emulation.ask_of(
                c.box, count, request.bytes_each, request.deadline
            )
            for c in found.covered
            for place, count in enumerate(_steps(request))
        }

    def _client(self, box: str) -> Client:
        return self._emulation.machines[box].client

    # --- what could be known ---

    def _beliefs(self, candidate: Candidate, ask: Ask) -> list[Belief]:
        emulation, client = self._emulation, self._client(candidate.box)
        board = emulation.machines[candidate.box].to(ask.at)
        seen = self._seen(candidate, client, ask)
        return beliefs(
            emulation.scenario.hidden, board, seen, seed_of(emulation.seed, candidate.box)
        )

    def _seen(self, candidate: Candidate, client: Client, ask: Ask) -> Seen:
        scenario, told, past = self._emulation.scenario, candidate.resources, candidate.past
        slower, asked_at = None, self._opened.get(past.last_asked, ask.at)
        if past.seconds is not None:
            did = self._emulation.ask_of(candidate.box, past.steps or 1, 2 * ask.size, ask.deadline)
            healthy = self._foresee(candidate.box, did, 0, replace(client, fault=None))
            slower = max(0.1, past.seconds / max(1.0, healthy.seconds))
        lines = tail(client, ask.at, LOOK_BACK, by_machines(scenario.wordings))
        told_lines = {_ageless(line) for line in told.journal}
        known = [
            (ask.at - ask.at % EVERY_S - EVERY_S * back, line)
            for back, line in enumerate(reversed(lines))
            if _ageless(let_out(line)) in told_lines
        ]
        line = noted(client, ask.at, by_people(scenario.wordings)) if told.note else None
        return Seen(
            at=ask.at,
            lines=known[: len(told.journal)],
            note=line if line and line.text == told.note else None,
            noted=scenario.notes,
            ram_free_mib=told.ram_free_mib,
            misses=past.misses,
            slower=slower,
            asked_at=asked_at,
        )

    # --- what is usual ---

    def _usually(
        self, ahead: Sequence[Mapping[Asked, Prospect]], updates: Updates, boxes: Sequence[str]
    ) -> Usual:
        """Costs are those of ordinary clients at the first round, the gain is the present one."""
        gain = max(1e-4, updates.gain(frozenset((box, OWN) for box in boxes)))
        if self._usual is None:
            own = [f[box, OWN] for f in ahead for box in boxes]
            came = [p for p in own if p.delivered]
            self._usual = Usual(
                seconds=OVERHEAD_S + median(p.seconds for p in came) if came else 60.0,
                joules=max(1e-6, median(p.joules for p in came)) if came else 1.0,
                paid_bytes=max(1, max((p.paid_bytes for p in came), default=1)),
                gain=gain,
            )
        return self._usual._replace(gain=gain)

    # --- what is written down ---

    def _decision(self, state: JobState, found: Field, request: Request, told: Told) -> Decision:
        scenario = self._emulation.scenario
        return Decision(
            fleet=f"{scenario.name}/{self._emulation.seed}"[:100],
            round=state.round,
            cohort=max(1, found.size),
            objective=scenario.work.objective,
            prices=msgspec.structs.asdict(self._prices),
            edges=self._edges,
            progress=progress_of(state),
            clients=tuple(
                Example(
                    box=c.box,
                    features=features(c, request),
                    join=round(told.join[c.box], 4),
                    worth=round(told.worth[c.box], 4),
                    finish=round(told.finish[c.box], 4),
                    steps=tuple(round(share, 4) for share in told.steps[c.box]),
                    note=c.resources.note,
                    journal=c.resources.journal,
                )
                for c in found.covered
            ),
        )


def _shares(candidates: Sequence[Candidate]) -> dict[str, float]:
    mean = fmean(c.past.delivered for c in candidates)
    return {c.box: (c.past.delivered + 0.5) / (mean + 0.5) for c in candidates}


def _steps(request: Request) -> list[int]:
    """What the classes stand for; all the task's own where the agent does not set steps."""
    pace = request.pace
    if pace.regulation.rule != AGENT:
        return [pace.steps for _ in CLASSES]
    return [advised(place, pace) for place in CLASSES]


def _means(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(fmean(column) for column in zip(*rows, strict=True))


def _ageless(line: str) -> str:
    return line.partition(" ago: ")[2]
