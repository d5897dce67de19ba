"""`fleet teach`: emulated fleets to a decisions.jsonl, in parallel, resumable.

Every fleet is a scenario with a seed; its decisions are one part of the file, written when the
fleet's job is over. A file that is there is gone on with: fleets it holds are not run again.
"""

import itertools
import logging
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from coordinator.decisionsfile import line_of, read_decisions
from coordinator.selection.advice import SHARES
from coordinator.selection.examples import FORMAT, VERSION, Decision, Header
from coordinator.selection.scorers import AGENT
from coordinator.taskfile import Steps
from firmware_sim.begun import begun
from firmware_sim.emulation import Emulation, Settings
from firmware_sim.futures import FUTURES
from firmware_sim.leads import known_lead, known_scenario, lead_of
from firmware_sim.prices import aims, prices_of
from firmware_sim.scenario import Scenario, read
from firmware_sim.teacher import Teacher
from proto.errors import ConfigError

DRIVERS = ("teacher", "stalest", "teacher", "random")
"""Whose choices lead from round to round, fleet by fleet: students must know others' mistakes."""
LATER = 3
"""Further rounds that are looked at for whether it was time to stop ..."""
LITTLE = 0.01
"""... and by how much of its loss a model must get better in them."""
POLL = 10.0
EVEN = 0.5
"""A teacher's `join` is above it for those it would ask, below it for the others."""


class How(NamedTuple):
    """How a fleet is taught."""

    objectives: bool = True
    """Whether fleets get all taught objectives in turn, or only their scenario's."""
    lead: Path | None = None
    """A student whose choices lead from round to round in place of DRIVERS'."""
    rollouts: bool = False
    """Whether sets are judged by some rounds ahead as well."""


class Asked(NamedTuple):
    """What is to be taught."""

    scenarios: tuple[Path, ...]
    output: Path
    fleets: int
    """Of each scenario."""
    first: int = 0
    """The first seed."""
    processes: int = 1
    """Fleets that run side by side."""
    how: How = How()


class Fleet(NamedTuple):
    """One fleet to run."""

    scenario: Scenario
    seed: int
    driver: str
    how: How = How()

    @property
    def name(self) -> str:
        return f"{self.scenario.name}/{self.seed}"


def teach(asked: Asked, tell: Callable[[str, int, int], None]) -> dict[str, object]:
    """Write the file; told each fleet's name, how many are done and how many there are.

    Raises ConfigError.
    """
    fleets = fleets_of(asked)
    done = begun(asked.output, _header(asked, fleets))
    left = [fleet for fleet in fleets if fleet.name not in done]
    count = len(fleets) - len(left)
    with asked.output.open("ab") as file:
        for name, decisions in _all(left, asked.processes):
            file.write(b"".join(map(line_of, decisions)))
            file.flush()
            count += 1
            tell(name, count, len(fleets))
    return summary(asked.output)


def fleets_of(asked: Asked) -> list[Fleet]:
    """Every scenario with each of its seeds, seed by seed. Raises ConfigError."""
    fleets: list[Fleet] = []
    sentences = sorted(sentence for aim in aims().values() for sentence in aim.taught)
    scenarios = [read(path) for path in asked.scenarios]
    for number, scenario in itertools.product(range(asked.fleets), scenarios):
        prices_of(scenario.work.objective)
        # Each time around begins one sentence later, so that all scenarios come by all of them.
        turn = len(fleets) + len(fleets) // len(sentences)
        own = scenario.work.objective
        objective = sentences[turn % len(sentences)] if asked.how.objectives else own
        work = replace(scenario.work, objective=objective)
        driver = DRIVERS[number % len(DRIVERS)]
        told = replace(scenario, work=work)
        fleets.append(Fleet(told, asked.first + number, driver, asked.how))
    if len({fleet.name for fleet in fleets}) < len(fleets):
        raise ConfigError("two scenarios have the same name: their fleets could not be told apart")
    return fleets


def decisions_of(fleet: Fleet) -> list[Decision]:
    """What the teacher would have chosen in each of its rounds."""
    for name in ("edge_client", "coordinator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # emulated troubles are results
    teachers: list[Teacher] = []
    how = fleet.how
    lead = lead_of(how.lead) if how.lead else None

    def advisor(emulation: Emulation) -> Teacher:
        teachers.append(Teacher(emulation, fleet.driver, lead=lead, rollouts=how.rollouts))
        return teachers[0]

    settings = Settings(traced=False, poll=POLL, advisor=advisor)
    Emulation(led(fleet.scenario), fleet.seed, settings).run()
    taught = teachers[0]
    stops = when_to_stop(taught.losses)
    return [replace(d, stop=s) for d, s in zip(taught.decisions, stops, strict=True)]


def led(scenario: Scenario) -> Scenario:
    """With a teacher in the agent's place, who sets steps and how many are asked as well."""
    own = scenario.work.training.steps
    steps = Steps(rule=AGENT, most=max(100, math.ceil(max(SHARES) * own)))
    selection = replace(scenario.work.selection, least_score=EVEN, spare=0, alike=0.0)
    rounds = replace(scenario.work.rounds, policy=AGENT)
    work = replace(scenario.work, steps=steps, selection=selection, rounds=rounds)
    return replace(scenario, work=work)


def when_to_stop(losses: Sequence[float]) -> list[float | None]:
    """For each round, whether those after it were hardly worth their cost; None near the end."""
    found: list[float | None] = []
    for at in range(len(losses)):
        after = losses[at + 1 : at + 1 + LATER]
        if len(after) < LATER:
            found.append(None)
            continue
        best = min(losses[: at + 1])
        gained = (best - min(after)) / max(best, 1e-9)
        found.append(round(min(1.0, max(0.0, 1 - gained / (2 * LITTLE))), 3))
    return found


def summary(path: Path) -> dict[str, object]:
    """What a file holds. Raises ConfigError."""
    header, decisions = read_decisions(path)
    rounds, boxes, fleets = 0, 0, set()
    for decision in decisions:
        rounds, boxes = rounds + 1, boxes + len(decision.clients)
        fleets.add(decision.fleet)
    return {
        "file": str(path),
        "teacher": header.teacher,
        "fleets": len(fleets),
        "decisions": rounds,
        "boxes": boxes,
    }


def _all(fleets: Sequence[Fleet], processes: int) -> Iterator[tuple[str, list[Decision]]]:
    if processes <= 1:
        yield from ((fleet.name, decisions_of(fleet)) for fleet in fleets)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(_taught, fleets)


def _taught(fleet: Fleet) -> tuple[str, list[Decision]]:
    return fleet.name, decisions_of(fleet)


def _header(asked: Asked, fleets: Sequence[Fleet]) -> Header:
    """What a file of these fleets begins with. Raises ConfigError where nobody can lead them."""
    how = asked.how
    told = [f"hindsight, {FUTURES} futures", *["rollouts"] * how.rollouts]
    told += [f"led by {known_lead(how.lead)}"] if how.lead else []
    told += [] if how.objectives else ["the scenarios' own objectives alone"]
    return Header(
        format=FORMAT,
        version=VERSION,
        teacher=", ".join(told),
        seed=asked.first,
        scenarios=tuple(map(known_scenario, map(read, asked.scenarios))),
        steps=_steps(fleets),
    )


def _steps(fleets: Sequence[Fleet]) -> tuple[int, ...]:
    """What the classes stand for, where that is the same in all scenarios."""
    own = {fleet.scenario.work.training.steps for fleet in fleets}
    if len(own) > 1:
        return ()
    return tuple(math.floor(share * min(own) + 0.5) for share in SHARES)
