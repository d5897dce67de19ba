"""A teacher that chooses with the emulator's knowledge, and writes down what it would have chosen.

At each round it draws futures from what could have been observed (`beliefs`), sees how asking each
client would go in each of them (`foresight`), trains everybody's update ahead (`gains`) and takes
the best set (`value`). Its soft targets are means over the futures. As `oracle` it sees the one
future that will be instead: no student can learn that, it is a ceiling.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, median
from typing import NamedTuple

import msgspec

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
from coordinator.selection.scorers import by_staleness
from coordinator.selection.stopping import progress_of
from coordinator.selection.words import edges_of
from firmware_sim.chance import seed_of, uniform
from firmware_sim.emulation import Emulation
from firmware_sim.foresight import Prospect
from firmware_sim.futures import Futures, steps_of_classes
from firmware_sim.gains import Gains, Updates
from firmware_sim.leads import Lead
from firmware_sim.prices import prices_of
from firmware_sim.rollouts import Course, Rollouts, sets_of
from firmware_sim.sensors import for_teacher
from firmware_sim.value import CLASSES, OVERHEAD_S, OWN, Asked, Future, Usual, Values, worth

_RANDOM, _STEPS = 71, 73


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
        rollouts: bool = False,
    ) -> None:
        """With a `lead`, that one's advice is followed, and only written down what were better.

        With `rollouts` sets are judged by some rounds ahead as well: `rollouts.py`.
        """
        self._emulation, self._by, self._write = emulation, by, write
        self._lead, self._rollouts = lead, rollouts
        self._futures = Futures(emulation, oracle=oracle)
        self._prices = prices_of(emulation.scenario.work.objective)
        fleet, job = emulation.fleet, emulation.accounts.job
        self._gains = Gains(fleet.store, fleet.workshop, job, for_teacher(emulation.seed))
        self._edges: Edges | None = None
        self._usual: Usual | None = None
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
        self._futures.opened(request.turn)
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
        boxes, steps = [c.box for c in found.covered], steps_of_classes(request)
        updates = self._gains.updates(state, request.turn, boxes, steps)
        self.losses.append(updates.loss)
        asks = self._futures.asks(found, request)
        ways = self._futures.ways(found, asks, request)
        ahead = [{each: way(each[0], ask) for each, ask in asks.items()} for way in ways]
        usual = self._usually(ahead, updates, boxes)
        asked, parts = _shares(found.covered), [count / request.pace.steps for count in steps]
        size, quorum, joins = max(1, found.size), state.rules.quorum, []
        rollouts = self._playing(state, request, updates, usual)
        stale = by_staleness(found.covered, request)
        for prospects, way, draw in zip(ahead, ways, self._futures.draws(request), strict=True):
            whose = self._futures.whose(found.covered, draw)
            future = Future(prospects, asked, whose, parts, size, quorum)
            values = Values(future, updates, self._prices, usual)
            best = values.best(boxes, least(found.size, request), found.overdue)
            told = values.joins(boxes, best)
            if rollouts:
                course = Course(future, way, asks, sorted(stale, key=lambda box: -stale[box]))
                told = rollouts.joins(told, sets_of(best, course, found.overdue, draw), course)
            joins.append(told)
        alone = {box: [worth(p[box, OWN], self._prices, usual) for p in ahead] for box in boxes}
        return Told(
            {box: fmean(told[box].chance for told in joins) for box in boxes},
            {box: fmean(values) for box, values in alone.items()},
            {box: fmean(p[box, OWN].delivered for p in ahead) for box in boxes},
            {box: _means([told[box].steps for told in joins]) for box in boxes},
        )

    def _playing(
        self, state: JobState, request: Request, updates: Updates, usual: Usual
    ) -> Rollouts | None:
        if not self._rollouts:
            return None
        train = partial(self._gains.from_model, state, request.turn)
        return Rollouts(updates, train, self._prices, usual)

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


def _means(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(fmean(column) for column in zip(*rows, strict=True))
