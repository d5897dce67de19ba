"""Runs of `benchmarks/agent.py`: one policy on one fleet of one suite, until the target."""

import hashlib
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace
from saved import ROOT, Found, code_key, kept

from coordinator.selection.scorers import AGENT
from coordinator.taskfile import Selection, Steps, seconds
from coordinator.weightsfile import read_weights
from firmware_sim.emulation import NAME, Emulation, Settings
from firmware_sim.hidden import FAULTS
from firmware_sim.outcome import jain, participation, reached, total
from firmware_sim.prices import aims, prices_of
from firmware_sim.results import newest
from firmware_sim.scenario import Scenario, read, with_policy
from firmware_sim.sensors import for_the_end
from firmware_sim.teacher import Teacher

SUITES = ROOT / "benchmarks" / "suites"
PREVALENCES = (0, 5, 10, 20, 40)
"""Per cent of boxes with a hidden fault, in the suite `journals`; its file has 10."""
POLL = 10.0
STEPS = {"pyramidfl": ("oort", "slack"), "fedcompass": ("stalest", "compass")}
"""Methods that are a rule for whom and one for how much."""
LEARNED = ("linear", "gbm", "gbm-words")
CODE = (
    "coordinator/selection/*.py",
    "coordinator/rounds.py",
    "coordinator/considering.py",
    "edge_client/news.py",
    "firmware_sim/[a-jl-v]*.py",
    "benchmarks/agent_runs.py",
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


class Policy(NamedTuple):
    """By name, with a student's file where it needs one."""

    name: str
    file: Path | None = None


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


def figures(cell: Cell, policy: Policy, fleets: int) -> list[Found]:
    """Of the first so many fleets; saved ones are not run again."""
    digest = hashlib.sha256((SUITES / f"{cell.suite}.toml").read_bytes())
    digest.update((SUITES.parent.parent / "firmware_sim" / "journal.toml").read_bytes())
    if policy.file:
        digest.update(policy.file.read_bytes())
    name = f"agent/{cell.name}-{policy.name}"
    (ROOT / "benchmarks" / "results" / "agent").mkdir(exist_ok=True)
    data = digest.hexdigest()[:16]
    return kept(name, code_key(CODE), data, fleets, partial(run, cell, policy))


def run(cell: Cell, policy: Policy, seed: int) -> Found:
    """One fleet until its target, or its end."""
    for name in ("edge_client", "coordinator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # emulated troubles are results
    scenario, advisor = under(scenario_of(cell, seed), policy)
    settings = Settings(traced=False, poll=POLL, until_target=True, advisor=advisor)
    emulation = Emulation(scenario, seed, settings)
    outcome = emulation.run()
    at = reached(outcome)
    spent, hit = total(outcome, at), at is not None
    horizon = seconds(scenario.lasts)
    final = None
    if scenario.work.data == "sensors":
        final = newest(emulation.fleet.store, NAME, for_the_end(seed))
    return {
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


def under(
    scenario: Scenario, policy: Policy
) -> tuple[Scenario, Callable[[Emulation], Teacher] | None]:
    """The scenario with its policy, and the teacher where that is one."""
    name = policy.name
    if name in ("teacher", "oracle"):
        return with_policy(scenario, AGENT), partial(Teacher, oracle=name == "oracle", write=False)
    if name in STEPS:
        rule, steps = STEPS[name]
        own = scenario.work.training.steps
        table = Steps(rule=steps, least=max(1, own // 2), most=2 * own)
        scenario = replace(scenario, work=replace(scenario.work, steps=table))
        return with_policy(scenario, rule), None
    if name in LEARNED:
        assert policy.file is not None
        kind = "linear" if name == "linear" else "gbm"
        return with_policy(scenario, kind, read_weights(policy.file)), None
    if name.startswith(AGENT) and policy.file:
        selection = Selection(weights=str(policy.file.resolve()))
        scenario = replace(scenario, work=replace(scenario.work, selection=selection))
    return with_policy(scenario, AGENT if name.startswith(AGENT) else name), None


def priced(row: Found, base: Found) -> float:
    """What the objective makes of a run beside the hand rule's, as a logarithm."""
    prices = prices_of(row["objective"])
    return (
        prices.time * _log(row, base, "seconds")
        + prices.energy * _log(row, base, "energy_j")
        + prices.bytes * _log(row, base, "paid_bytes", 1000.0)
        - prices.fairness * _log(row, base, "jain")
    )


def _log(row: Found, base: Found, key: str, floor: float = 1e-9) -> float:
    return math.log((row[key] + floor) / (base[key] + floor))


def interval(logs: list[float]) -> dict[str, float]:
    """Geometric mean of ratios with its 95 % interval by bootstrap over fleets."""
    values = np.array(logs)
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    found = {"mean": values.mean(), "low": low, "high": high}
    return {name: round(math.exp(value), 3) for name, value in found.items()}


def summed(rows: list[Found], base: list[Found]) -> dict[str, Any]:
    """One policy in one cell beside the hand rule on the same fleets."""
    pairs = list(zip(rows, base, strict=True))
    ratios = {
        key: interval([_log(row, other, key) for row, other in pairs])
        for key in ("seconds", "energy_j", "bytes")
    }
    mean = {
        key: round(sum(row[key] for row in rows) / len(rows), 3)
        for key in ("paid_bytes", "queue_s", "rounds", "deaths", "jain", "waste")
    }
    known = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    return {
        "fleets": len(rows),
        "hits": sum(row["hit"] for row in rows),
        "ratio": ratios | {"priced": interval([priced(row, other) for row, other in pairs])},
        **mean,
        "accuracy": round(sum(known) / len(known), 4) if known else None,
    }
