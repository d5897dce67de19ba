"""Who trains next: every policy on fleets that none of them was tuned or trained on.

    python benchmarks/agent.py --json
    python benchmarks/agent.py --cells journals-10 --policies stalest,gbm=gbm.json,agent=a.gguf

Emulated fleets until a target accuracy. Ratios are to the hand rule `stalest` on the same fleets:
geometric means with 95 % intervals by bootstrap over fleets; a miss counts twice the horizon, hits
stand beside. `teacher` sees what no policy can, `oracle` the one future that comes: ceilings, not
rivals. Students are given as NAME=FILE; `linear`, `gbm`, `gbm-words` have theirs beside the suites.
Suites and their hashes: benchmarks/suites. Figures that are saved are not run again.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from agent_runs import CEILINGS, CELLS, FEWER, LEARNED, SUITES, Cell, Policy, figures, tuned  # noqa: E402
from agent_sums import summed  # noqa: E402
from agent_tune import tune  # noqa: E402
from agent_variants import VARIANTS  # noqa: E402

HAND_RULE = "stalest"
RULES = (
    HAND_RULE,
    FEWER,
    "random",
    "paper",
    "fedcs",
    "tifl",
    "power-of-choice",
    "oort",
    "pyramidfl",
    "eafl",
    "refl",
    "fedcompass",
    "fedbuff",
)
RATIOS = ("seconds", "energy_j", "bytes")


def main() -> None:
    made = [name for name in VARIANTS if (SUITES / f"{name}.json").is_file()]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--suites", default="numbers,journals,objectives,traces")
    parser.add_argument("--cells", default="", help="only these, such as journals-10")
    parser.add_argument("--policies", default=",".join((*RULES, *LEARNED, *made, *CEILINGS)))
    parser.add_argument("--fleets", type=int, default=20)
    parser.add_argument("--tune", action="store_true", help="choose the methods' constants anew")
    arguments = parser.parse_args()
    if arguments.tune:
        print(json.dumps(tune(), indent=1))
        return
    suites, cells = arguments.suites.split(","), list(filter(None, arguments.cells.split(",")))
    policies = [policy_of(text) for text in arguments.policies.split(",")]
    found = {
        cell.name: column(cell, policies, arguments.fleets)
        for cell in CELLS
        if cell.suite in suites and (not cells or cell.name in cells)
    }
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found)


def policy_of(text: str) -> Policy:
    name, _, file = text.partition("=")
    if not file and name in (*LEARNED, *VARIANTS):
        file = str(SUITES / f"{name}.json")
    own = tuned().get("agent" if name.startswith("agent") else name)
    settings = json.dumps(own) if own else ""
    return Policy(name, Path(file) if file else None, settings)


def column(cell: Cell, policies: list[Policy], fleets: int) -> dict[str, Any] | str:
    """Every policy of one cell, or why there are none."""
    if cell.suite == "traces" and not os.environ.get("QFLEET_TRACES"):
        return "QFLEET_TRACES names no folder of traces; left out"
    base = figures(cell, Policy(HAND_RULE), fleets)
    found = {}
    for policy in policies:
        if cell.suite == "traces" and policy.name in CEILINGS:
            continue  # a teacher's rows are made up; here the data are a fixed set
        found[policy.name] = figures(cell, policy, fleets)
    ceiling = found.get("teacher", [])
    return {name: summed(rows, base, ceiling) for name, rows in found.items()}


def show(found: dict[str, Any]) -> None:
    for name, rows in found.items():
        print(f"\n{name}")
        if isinstance(rows, str):
            print(f"  {rows}")
            continue
        print(
            f"  {'':16} hits  {'time':20} {'energy':20} {'bytes':20} priced  qpu s deaths"
            "  jain waste rounds   gap  own CPU s, J"
        )
        for policy, row in rows.items():
            print(f"  {policy:16} {line_of(row)}")


def line_of(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    spans = [f"{r['mean']:5.2f} [{r['low']:.2f}, {r['high']:.2f}]" for r in map(ratio.get, RATIOS)]
    return "  ".join(
        (
            f"{row['hits']:2}/{row['fleets']:2} {' '.join(spans)}",
            f"{ratio['priced']['mean']:.2f} {row['queue_s']:6.0f} {row['deaths']:6.1f}",
            f"{row['jain']:.2f} {row['waste']:.3f}  {row['rounds']:4.1f}  {gap(row):>4}",
            f"{row['advice_cpu_s']:6.1f} {row['advice_j']:4.0f}",
        )
    )


def gap(row: dict[str, Any]) -> str:
    """The share of the way to the teacher's time that was gone."""
    return f"{row['gap_closed']['seconds']:.0%}" if row["gap_closed"] else ""


if __name__ == "__main__":
    main()
