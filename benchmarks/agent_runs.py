"""Runs of `benchmarks/agent.py`: one policy on one fleet of one suite, until the target."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from agent_variants import VARIANTS, variant_of
from msgspec.structs import replace
from saved import ROOT, Found, code_key, held, kept

from coordinator.agent.engine import SHIPPED, judge_beside, stop_beside
from coordinator.considering import Advisor
from coordinator.jobstate import JobState
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.request import Request
from coordinator.selection.scorers import AGENT
from coordinator.taskfile import Selection, Steps, seconds
from coordinator.weightsfile import read_weights
from firmware_sim.emulation import NAME, Emulation, Settings
from firmware_sim.hidden import FAULTS
from firmware_sim.leads import AGENT_CODE
from firmware_sim.outcome import jain, participation, reached, total
from firmware_sim.prices import aims
from firmware_sim.results import newest
from firmware_sim.scenario import FEDBUFF, Scenario, read, with_policy
from firmware_sim.sensors import for_the_end
from firmware_sim.teach import led
from firmware_sim.teacher import Teacher

SUITES = ROOT / "benchmarks" / "suites"
PREVALENCES = (0, 5, 10, 20, 40)
"""Per cent of boxes with a hidden fault, in the suite `journals`; its file has 10."""
POLL = 10.0
FEWER = "stalest-fewer"
"""The hand rule with cohorts of no more than the quorum: what asking fewer saves by itself."""
WHOM = {"pyramidfl": "oort", "fedcompass": "stalest", FEWER: "stalest", "gbm-words": "gbm"}
STEPS = {
    "pyramidfl": {"rule": "slack", "least": 10, "most": 40},
    "fedcompass": {"rule": "compass", "least": 10, "most": 40},
}
"""Methods that are a rule for whom and one for how much; half and twice the suites' 20 steps."""
BUFFERED = f"{AGENT}-fedbuff"
"""The agent chooses who fills FedBuff's places, in place of lots."""
CEILINGS = ("teacher", "oracle")
LEARNED = ("linear", "gbm", "gbm-words")
CODE = (
    "coordinator/selection/*.py",
    "coordinator/rounds.py",
    "coordinator/buffered.py",
    "coordinator/considering.py",
    "edge_client/news.py",
    "firmware_sim/[a-jl-v]*.py",
    "firmware_sim/*.toml",
    "benchmarks/agent_runs.py",
    "benchmarks/agent_variants.py",
)


class Cell(NamedTuple):
    """One column of a suite: its scenario at one prevalence of faults."""

    suite: str
    name: str
    prevalence: int | None = None


CELLS = (
    Cell("numbers", "numbers"),
    *(Cell("journals", f"journals-{p:02}", p) for p in PREVALENCES),
    Cell("objectives", "objectives"),
    Cell("traces", "traces"),
)


Chosen = dict[str, Any]
"""Tables `selection` and `steps` of a task file, where a method's own are not their defaults."""


class Policy(NamedTuple):
    """By name, with a student's file where it needs one, and constants (JSON) where they differ."""

    name: str
    file: Path | None = None
    settings: str = ""


class Timed:
    """An advisor whose CPU time is taken."""

    def __init__(self, inner: Advisor) -> None:
        self._inner, self.seconds = inner, 0.0

    def thinking(self, state: JobState, now: float) -> bool:
        return self._inner.thinking(state, now)

    def advise(
        self, state: JobState, candidates: Sequence[Candidate], request: Request, now: float
    ) -> Advice | None:
        began = time.process_time()
        found = self._inner.advise(state, candidates, request, now)
        self.seconds += time.process_time() - began
        return found

    def close(self) -> None:
        self._inner.close()


def scenario_of(cell: Cell, seed: int) -> Scenario:
    """The fleet's scenario, before a policy is set."""
    scenario = read(SUITES / f"{cell.suite}.toml")
    if cell.prevalence is not None:
        names = [name.replace("-", "_") for name in FAULTS]
        shares = {n: getattr(scenario.hidden, n) * cell.prevalence / 10 for n in names}
        scenario = replace(scenario, hidden=replace(scenario.hidden, **shares))
    if cell.suite == "objectives":
        unseen = [sentence for aim in aims().values() for sentence in aim.held_out]
        work = replace(scenario.work, objective=unseen[seed % len(unseen)])
        scenario = replace(scenario, work=work)
    return scenario


@cache
def tuned() -> Chosen:
    """Constants of the methods, by name, as `--tune` found them."""
    path = SUITES / "tuned.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}  # type: ignore[no-any-return]


def figures(cell: Cell, policy: Policy, fleets: int) -> list[Found]:
    """Of the first so many fleets; saved ones are not run again."""
    name = name_of(cell, policy)
    return kept(name, code_of(policy), data_of(cell, policy), fleets, partial(run, cell, policy))


def saved_figures(cell: Cell, policy: Policy, fleets: int) -> tuple[list[Found], bool]:
    """Of as many fleets as were ever run, and whether by this very code."""
    return held(name_of(cell, policy), code_of(policy), data_of(cell, policy), fleets)


def name_of(cell: Cell, policy: Policy) -> str:
    return f"agent/{cell.name}-{policy.name}"


def code_of(policy: Policy) -> str:
    """A key of the code that a run goes through: the agent's own, too, where an agent decides."""
    return code_key((*CODE, *AGENT_CODE) if policy.name.startswith(AGENT) else CODE)


def data_of(cell: Cell, policy: Policy) -> str:
    """A key of all that a run reads: the suite, what journals say, a student and its constants."""
    digest = hashlib.sha256((SUITES / f"{cell.suite}.toml").read_bytes())
    digest.update((SUITES.parent.parent / "firmware_sim" / "journal.toml").read_bytes())
    if file := policy.file or (SHIPPED if policy.name in (AGENT, BUFFERED) else None):
        for part in filter(Path.is_file, (file, judge_beside(file), stop_beside(file))):
            digest.update(part.read_bytes())
    digest.update(policy.settings.encode())
    return digest.hexdigest()[:16]


def run(cell: Cell, policy: Policy, seed: int) -> Found:
    """One fleet of a cell until its target, or its end."""
    return run_scenario(scenario_of(cell, seed), policy, seed)


def run_scenario(scenario: Scenario, policy: Policy, seed: int) -> Found:
    """One fleet until its target, or its end."""
    for name in ("edge_client", "coordinator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # emulated troubles are results
    scenario, advisor = under(scenario, policy), None
    if policy.name in VARIANTS and policy.file:
        advisor = partial(variant_of, policy.file)
    if policy.name in CEILINGS:
        advisor = partial(Teacher, oracle=policy.name == "oracle", write=False)
    settings = Settings(traced=False, poll=POLL, until_target=True, advisor=advisor)
    emulation = Emulation(scenario, seed, settings)
    timed = emulation.fleet.advisor = Timed(emulation.fleet.advisor)
    outcome = emulation.run()
    at = reached(outcome)
    spent, hit = total(outcome, at), at is not None
    horizon = seconds(scenario.lasts)
    final = None
    if scenario.work.data == "sensors":
        final = newest(emulation.fleet.store, NAME, for_the_end(seed))
    found = {
        "hit": hit,
        # A miss counts twice the horizon, and twice all that was spent.
        "seconds": round(spent.seconds, 1) if hit else 2 * horizon,
        "energy_j": round(spent.energy_j * (1 if hit else 2)),
        "bytes": spent.bytes * (1 if hit else 2),
        "paid_bytes": spent.paid_bytes * (1 if hit else 2),
        "queue_s": round(spent.queue_s),
        "rounds": spent.rounds,
        "deaths": spent.battery_deaths,
        "jain": round(jain(participation(outcome)), 3),
        "waste": round(spent.wasted_j / spent.energy_j, 4) if spent.energy_j else 0.0,
        "accuracy": None if final is None else round(final, 4),
        "objective": scenario.work.objective,
    }
    if policy.name.startswith(AGENT):
        found["advice_s"] = round(timed.seconds, 2)
    return found


def under(scenario: Scenario, policy: Policy) -> Scenario:
    """The scenario with its policy."""
    name = policy.name
    if name in CEILINGS:
        work = replace(led(scenario).work, steps=scenario.work.steps)
        return replace(scenario, work=work)  # with other steps it did no better on training fleets
    chosen = json.loads(policy.settings or "{}")
    work = scenario.work
    told = dict(chosen.get("selection", {}))
    if name.startswith(AGENT) and policy.file:
        told["weights"] = str(policy.file.resolve())
    rounds = with_policy(scenario, FEDBUFF).work.rounds if name == BUFFERED else work.rounds
    if name == FEWER:
        rounds = replace(rounds, cohort=rounds.quorum)
    work = replace(
        work,
        selection=msgspec.convert(told, Selection),
        steps=msgspec.convert(STEPS.get(name, {}) | chosen.get("steps", {}), Steps),
        rounds=rounds,
    )
    weights = read_weights(policy.file) if policy.file and name in LEARNED else None
    rule = AGENT if name.startswith(AGENT) or name in VARIANTS else WHOM.get(name, name)
    return with_policy(replace(scenario, work=work), rule, weights)
