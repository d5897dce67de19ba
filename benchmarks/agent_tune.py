"""Constants of all methods, chosen on training fleets: `benchmarks/agent.py --tune`.

Each method's papers leave one or two numbers open; students have the bound below which they do not
ask. Every value of a small grid runs on fleets of `train-few-faults.toml` with the tests' horizon;
the one with the lowest mean of log time and log energy (halves) beside the hand rule's is kept in
benchmarks/suites/tuned.json.
"""

import hashlib
import json
import math
from functools import partial
from typing import Any

import msgspec
from agent_runs import CODE, LEARNED, STEPS, SUITES, Chosen, Policy, run_scenario
from agent_sums import both, interval
from agent_variants import VARIANTS
from msgspec.structs import replace
from saved import Found, code_key, kept

from coordinator.taskfile import Selection
from firmware_sim.scenario import Scenario, read

RULES, STUDENTS = (1010, 3), (1100, 12)
"""The first fleet and how many, of the papers' methods, and of students: fleets of training."""


def _selection(name: str, **values: float) -> Chosen:
    return {"selection": {name: values}}


_BOUNDS: list[Chosen] = [
    {"selection": {"least_score": 0.5}},
    *({"selection": {"least_score": b, "spare": 0}} for b in (0.45, 0.5, 0.99)),
]
GRID: dict[str, list[Chosen]] = {
    "fedcs": [_selection("fedcs", seconds=s) for s in (500.0, 900.0, 0.0)],
    "tifl": [_selection("tifl", tiers=n) for n in (3, 5)],
    "power-of-choice": [_selection("power_of_choice", draw=d) for d in (1.4, 3.0)],
    "oort": [
        _selection("oort", penalty=a, percentile=p)
        for a, p in ((2.0, 50.0), (4.0, 50.0), (2.0, 25.0))
    ],
    "eafl": [_selection("eafl", utility=f) for f in (0.25, 0.75)],
    "refl": [_selection("refl", window=w) for w in (2.0, 5.0)],
    "pyramidfl": [{"steps": {"rule": "slack", "most": m}} for m in (40, 80)],
    "fedcompass": [
        {"steps": {"rule": "compass", "least": a, "most": b}} for a, b in ((10, 40), (5, 20))
    ],
}


def tune() -> dict[str, Any]:
    """The table of all settings; the best of each method is written down."""
    students = dict.fromkeys(LEARNED, _BOUNDS)
    found = _tried("tuning", GRID, RULES) | _tried("tuning-students", students, STUDENTS)
    best = {}
    for name, rows in found.items():
        top = min(rows, key=lambda row: (row["ratio"]["mean"], not _usual(name, row["settings"])))
        if not _usual(name, top["settings"]):
            best[name] = top["settings"]
    for name in ("agent", *VARIANTS):  # they learned the same targets, and take long to run
        best[name] = _BOUNDS[_best_for_all([found[student] for student in LEARNED])]
    path = SUITES / "tuned.json"
    path.write_text(json.dumps(best, indent=2) + "\n", encoding="utf-8")
    return found


def _best_for_all(tables: list[list[dict[str, Any]]]) -> int:
    """The place of the setting whose ratio is the lowest in the geometric mean over students."""
    means = [math.prod(row["ratio"]["mean"] for row in rows) for rows in zip(*tables, strict=True)]
    return means.index(min(means))


def _tried(
    name: str, grid: dict[str, list[Chosen]], fleets: tuple[int, int]
) -> dict[str, list[dict[str, Any]]]:
    """Each setting's mean of log time and log energy, as a ratio to the hand rule's."""
    files = b"".join((SUITES / f"{n}.json").read_bytes() for n in grid if n in LEARNED)
    key = hashlib.sha256(json.dumps(grid).encode() + files).hexdigest()[:16]
    first, count = fleets
    runs = kept(f"agent/{name}", code_key(CODE), key, count, partial(_fleet, grid, first))
    table: dict[str, list[dict[str, Any]]] = {}
    for method, settings in grid.items():
        logs = [
            [both(fleet[f"{method}/{at}"], fleet["stalest"]) for fleet in runs]
            for at in range(len(settings))
        ]
        table[method] = [
            {"settings": setting, "ratio": interval(row)}
            for setting, row in zip(settings, logs, strict=True)
        ]
    return table


def _usual(name: str, setting: Chosen) -> bool:
    """Whether a method does the same without it."""
    selection = msgspec.convert(setting.get("selection", {}), Selection)
    steps = STEPS.get(name, {})
    return selection == Selection() and steps | setting.get("steps", {}) == steps


def _fleet(grid: dict[str, list[Chosen]], first: int, number: int) -> Found:
    scenario, seed = _scenario(), first + number
    found = {"stalest": run_scenario(scenario, Policy("stalest"), seed)}
    for name, settings in grid.items():
        for at, setting in enumerate(settings):
            file = SUITES / f"{name}.json" if name in LEARNED else None
            policy = Policy(name, file, json.dumps(setting))
            found[f"{name}/{at}"] = run_scenario(scenario, policy, seed)
    return found


def _scenario() -> Scenario:
    scenario, test = read(SUITES / "train-few-faults.toml"), read(SUITES / "journals.toml")
    rounds = replace(scenario.work.rounds, count=test.work.rounds.count)
    return replace(scenario, lasts=test.lasts, work=replace(scenario.work, rounds=rounds))
