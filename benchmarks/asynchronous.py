"""Asynchronous rounds (FedBuff) against synchronous ones, on a fleet whose boxes differ in speed.

    python benchmarks/asynchronous.py --json

The fleet is benchmarks/asynchronous.toml: 24 Pis on Wi-Fi and 6 Pi Zeros on LTE, each with its own
kind of rows; emulated by the code that runs in the field. Synchronous cohorts of 8 by lots and by
the hand rule; asynchronous with 8 at work and 4 updates a step, by lots (FedBuff) and by the hand
rule. All end at the target. Time is the fleet's, not this machine's. Ratios are paired by seed:
geometric means with 95 % intervals by Student's t. Raw figures are kept in benchmarks/results and
printed again while code and data are the same.
"""

import argparse
import hashlib
import json
import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

from agent_runs import CODE  # noqa: E402 - numpy reads the variables when imported
from msgspec.structs import replace  # noqa: E402
from saved import Found, code_key, kept, ratio, summary  # noqa: E402

from firmware_sim.emulation import Settings, emulate  # noqa: E402
from firmware_sim.outcome import jain, participation, reached, total  # noqa: E402
from firmware_sim.scenario import Scenario, read, with_policy  # noqa: E402

SCENARIO = Path(__file__).with_name("asynchronous.toml")
SEEDS = 20
BASELINE = "random"
MEASURES = ("seconds", "energy_j", "bytes", "updates")


def policies(scenario: Scenario) -> dict[str, Scenario]:
    fedbuff = with_policy(scenario, "fedbuff")
    return {
        BASELINE: with_policy(scenario, BASELINE),
        "stalest": with_policy(scenario, "stalest"),
        "fedbuff": fedbuff,
        "fedbuff, stalest": with_policy(fedbuff, "stalest"),
    }


def run(scenario: Scenario, seed: int) -> Found:
    """What each policy took until the target."""
    found = {}
    settings = Settings(traced=False, until_target=True)
    for name, one in policies(scenario).items():
        result = emulate(replace(one, sealing="costed"), seed, settings)
        hit = reached(result)
        spent = total(result, hit)
        found[name] = {
            "hit": hit is not None,
            "seconds": spent.seconds,
            "energy_j": spent.energy_j,
            "bytes": spent.bytes,
            "updates": sum(participation(result)),
            "steps": spent.rounds,
            "wasted": spent.wasted_j / spent.energy_j,
            "jain": jain(participation(result)),
        }
    return found


def table(runs: list[Found]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in runs[0]:
        rows = [one[name] for one in runs]
        found[name] = {
            "hits": f"{sum(row['hit'] for row in rows)} of {len(rows)}",
            "minutes": summary([row["seconds"] / 60 for row in rows], 1),
            "steps": summary([row["steps"] for row in rows], 1),
            "wasted": summary([row["wasted"] for row in rows], 3),
            "jain": summary([row["jain"] for row in rows], 2),
        }
        if name != BASELINE:
            found[name] |= {
                f"{what}_to_{BASELINE}": ratio(
                    [one[name][what] / one[BASELINE][what] for one in runs]
                )
                for what in MEASURES
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error("--seeds is at least 2")
    logging.disable(logging.CRITICAL)  # emulated troubles are results
    scenario = read(SCENARIO)
    data = hashlib.sha256(SCENARIO.read_bytes()).hexdigest()[:16]
    ours = ("coordinator/buffered.py", "coordinator/folding.py", "coordinator/jobs.py")
    code = code_key((*CODE, *ours, "benchmarks/asynchronous.py"))
    runs = kept("asynchronous", code, data, arguments.seeds, partial(run, scenario))
    found = {"seeds": arguments.seeds, "policies": table(runs)}
    if arguments.json:
        print(json.dumps(found))
        return
    for name, figures in found["policies"].items():
        print(name)
        for what, value in figures.items():
            print(f"    {what:20} {value}")


if __name__ == "__main__":
    main()
