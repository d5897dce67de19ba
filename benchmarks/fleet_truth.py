"""One small fleet by two engines: virtual boards, and real processes under real limits.

Run by `benchmarks/fleet.py --truth`; it takes root for control groups, mosquitto or iotcore, some
minutes, and a machine with nothing else to do. Costs are measured here first, for the one circuit
that is trained and under the CPU quota of the slowest board, for which every round waits; the other
boards' quotas are busy meanwhile, as they are in a round, for cores slow each other. All quotas
together, with room for the coordinator and the broker, stay below this machine's cores.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from coordinator.taskmodel import Model, classifier_of
from firmware_sim import calibrate
from firmware_sim.boards import profiles
from firmware_sim.costs import Costs
from firmware_sim.emulation import Settings, emulate
from firmware_sim.holdings import holdings
from firmware_sim.limits import Limit, group
from firmware_sim.outcome import Result
from firmware_sim.population import populate
from firmware_sim.really import really
from firmware_sim.scenario import Scenario, parse
from proto.circuit import Classifier

CORE = 4.0
"""Raspberry Pi 4 cores that one core here is taken for: any number gives the same comparison."""
WITHIN = 0.2
SCENARIO = """
name = "truth"
lasts = "4m"

[[group]]
name = "desk"
count = 4
board = { pi-4 = 3, pi-3b-plus = 1 }
link = "ethernet"
rows = [60, 200]

[work.training]
steps = 2000

[work.rounds]
count = 3
quorum = 4
cohort = 4
gather = "20s"
deadline = "60s"
"""


def compare(seed: int = 0) -> dict[str, Any]:
    """Rounds, models and times of both engines, and whether they agree."""
    scenario = parse(SCENARIO)
    slowest, *others = _boards(scenario, seed)
    circuits = {"its circuit": _circuit(scenario, seed)}
    with _company(others):
        found = calibrate.measure_as(
            slowest, CORE, lambda _what: None, adapter=False, circuits=circuits
        )
    here = emulate(scenario, seed, Settings(costs=found))
    there = really(scenario, seed)
    return told(here, there, found)


def _circuit(scenario: Scenario, seed: int) -> Classifier:
    task = holdings(scenario, populate(scenario, seed), seed).task()
    assert isinstance(task.model, Model)
    data = task.data
    return classifier_of(task.model, data.components or len(data.columns), len(data.classes))


def _boards(scenario: Scenario, seed: int) -> list[str]:
    """Of all clients, the slowest first."""
    boards = [client.board for client in populate(scenario, seed)]
    return sorted(boards, key=lambda name: profiles()[name].speed)


@contextmanager
def _company(boards: Sequence[str]) -> Iterator[None]:
    """Processes that train all the while, each under the quota of one of these boards."""
    with ExitStack() as stack:
        for number, board in enumerate(boards):
            one = group(f"qfleet-company-{number}")
            stack.callback(one.remove)
            one.limit(Limit(profiles()[board].speed / CORE, 2048))
            child = subprocess.Popen([sys.executable, str(Path(__file__))])
            stack.callback(child.wait)
            stack.callback(child.kill)
            one.take(child.pid)
        yield


def told(virtual: Result, real: Result, costs: Costs) -> dict[str, Any]:
    """Times are of each round from its offers to its end, in seconds."""
    pairs = list(zip(virtual.rounds, real.rounds, strict=False))
    times = [(v.closed_s - v.opened_s, r.closed_s - r.opened_s) for v, r in pairs]
    ratio = sum(r for _, r in times) / sum(v for v, _ in times)
    same = [_outcome(row) for row in virtual.rounds] == [_outcome(row) for row in real.rounds]
    models = [[row.model for row in engine.rounds] for engine in (virtual, real)]
    return {
        "same_rounds": same,
        "same_models": models[0] == models[1],
        "model": next((digest for digest in reversed(models[1]) if digest), ""),
        "virtual_s": [round(v, 2) for v, _ in times],
        "processes_s": [round(r, 2) for _, r in times],
        "processes_to_virtual": round(ratio, 3),
        "agrees": same and models[0] == models[1] and abs(ratio - 1) <= WITHIN,
        "not_limited": real.cost["not_limited"],
        "start_s": costs.start_s,
    }


def _outcome(row: Any) -> tuple[object, ...]:
    return row.turn, row.kind, row.round, row.outcome, row.asked, row.included


if __name__ == "__main__":
    while True:  # company for who measures; ended by it
        calibrate.measure(CORE, lambda _what: None, adapter=False)
