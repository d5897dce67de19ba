"""One small fleet by two engines: virtual boards, and real processes under real limits.

Run by `benchmarks/fleet.py --truth`; it takes root for control groups, mosquitto or iotcore, some
minutes, and a machine with nothing else to do. Costs are measured here first, for the one circuit
that is trained and under the CPU quota of the slowest board, for which every round waits. All
quotas together, with room for the coordinator and the broker, stay below this machine's cores.
"""

from typing import Any

from coordinator.taskmodel import Model
from firmware_sim import calibrate
from firmware_sim.boards import profiles
from firmware_sim.costs import Costs
from firmware_sim.emulation import Settings, emulate
from firmware_sim.limits import Limit, under
from firmware_sim.outcome import Result
from firmware_sim.population import populate
from firmware_sim.really import really
from firmware_sim.scenario import Scenario, parse

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
count = 2
quorum = 4
cohort = 4
gather = "20s"
deadline = "60s"
"""


def compare(seed: int = 0) -> dict[str, Any]:
    """Rounds, models and times of both engines, and whether they agree."""
    scenario = parse(SCENARIO)
    model = scenario.work.model
    assert isinstance(model, Model)
    with under("qfleet-calibrate", Limit(_slowest(scenario, seed) / CORE, 2048)):
        found = calibrate.measure(CORE, lambda _what: None, adapter=False, models=[model])
    here = emulate(scenario, seed, Settings(costs=found))
    there = really(scenario, seed)
    return told(here, there, found)


def _slowest(scenario: Scenario, seed: int) -> float:
    """The speed of the slowest board: the less of a core it has, the colder its caches."""
    return min(profiles()[client.board].speed for client in populate(scenario, seed))


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
