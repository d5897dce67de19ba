"""Who trains next: every policy on fleets that none of them was tuned or trained on.

    python benchmarks/agent.py --json
    python benchmarks/agent.py --cells journals-10 --policies stalest,gbm=gbm.json,agent=a.gguf

Emulated fleets until a target accuracy. Ratios are to the hand rule `stalest` on the same fleets:
geometric means with 95 % intervals by bootstrap over fleets; a miss counts twice the horizon, hits
stand beside. `teacher` sees what no policy can, `oracle` the one future that comes: ceilings, not
rivals. Students are given as NAME=FILE; `linear`, `gbm`, `gbm-words` have theirs beside the suites;
`agent-fedbuff` is the agent in asynchronous rounds.
Below each suite the agent's ratio to every student, fleet by fleet. Suites and their hashes:
benchmarks/suites. Figures that are saved are not run again, and with `--saved` nothing else is; of
the others each policy in a suite is one process of `--processes`.
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from agent_runs import (  # noqa: E402
    BUFFERED,
    CEILINGS,
    CELLS,
    FEWER,
    LEARNED,
    SUITES,
    Cell,
    Policy,
    figures,
    saved_figures,
    tuned,
)
from agent_sums import duel, summed  # noqa: E402
from agent_tune import tune  # noqa: E402
from agent_variants import VARIANTS  # noqa: E402
from saved import Found  # noqa: E402

from coordinator.selection.scorers import AGENT  # noqa: E402
from proto.errors import ConfigError  # noqa: E402

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
RIVALS = (*LEARNED, *VARIANTS, "fedbuff")
"""Whom the agent is set beside directly."""
RATIOS = ("seconds", "energy_j", "bytes")
DUEL = (("time", "seconds"), ("energy", "energy_j"), ("priced", "priced"))
Runs = dict[tuple[Cell, Policy], list[Found]]


def main() -> None:
    parser = parser_of()
    arguments = parser.parse_args()
    if arguments.tune:
        print(json.dumps(tune(), indent=1))
        return
    suites, names = arguments.suites.split(","), list(filter(None, arguments.cells.split(",")))
    cells = [c for c in CELLS if c.suite in suites and (not names or c.name in names)]
    if not cells or {*names} - {c.name for c in cells}:
        parser.error(f"no such cell; there are {', '.join(c.name for c in CELLS)}")
    if min(arguments.fleets, arguments.processes) < 1:
        parser.error("--fleets and --processes are whole numbers from 1")
    try:
        policies = [policy_of(text) for text in arguments.policies.split(",")]
    except ConfigError as error:
        parser.error(str(error))
    if arguments.saved:
        runs = all_saved(cells, policies, arguments.fleets)
    else:
        runs = all_of(cells, policies, arguments.fleets, arguments.processes)
    found = {cell.name: column(cell, policies, runs) for cell in cells}
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found)


def parser_of() -> argparse.ArgumentParser:
    made = [name for name in VARIANTS if (SUITES / f"{name}.json").is_file()]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--suites", default="numbers,journals,objectives,traces")
    parser.add_argument("--cells", default="", help="only these, such as journals-10")
    parser.add_argument("--policies", default=",".join((*RULES, AGENT, *LEARNED, *made, *CEILINGS)))
    parser.add_argument("--fleets", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1, help="policies that run side by side")
    parser.add_argument("--saved", action="store_true", help="run nothing: what is saved alone")
    parser.add_argument("--tune", action="store_true", help="choose the methods' constants anew")
    return parser


def policy_of(text: str) -> Policy:
    """Raises ConfigError for a name that is no policy's, and for a file that is not there."""
    name, _, file = text.partition("=")
    known = (*RULES, AGENT, BUFFERED, *LEARNED, *VARIANTS, *CEILINGS)
    if name not in known and not (file and name.startswith(AGENT)):
        accepted = f"{', '.join(known)}, and {AGENT}-ANYTHING=FILE"
        raise ConfigError(f"no policy {name!r}; accepted: {accepted}")
    if not file and name in (*LEARNED, *VARIANTS):
        file = str(SUITES / f"{name}.json")
    if file and not Path(file).is_file():
        raise ConfigError(f"{name} has no file {file}")
    own = tuned().get(AGENT if name.startswith(AGENT) else name)
    settings = json.dumps(own) if own else ""
    return Policy(name, Path(file) if file else None, settings)


def all_of(cells: Sequence[Cell], policies: list[Policy], fleets: int, processes: int) -> Runs:
    """Each policy, and the hand rule, in each cell that can be run.

    Figures do not hang on how many processes share them.
    """
    # Those whose answers take long come first, or the last to begin would be alone in the end.
    slow = sorted(policies, key=lambda p: not p.name.startswith((AGENT, *CEILINGS)))
    asked = [(*pair, fleets) for pair in pairs(cells, slow) if not left_out(pair[0])]
    if processes == 1:
        return {(cell, policy): figures(cell, policy, fleets) for cell, policy, fleets in asked}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = pool.starmap(figures, asked, chunksize=1)
    return {(cell, policy): rows for (cell, policy, _), rows in zip(asked, done, strict=True)}


def all_saved(cells: Sequence[Cell], policies: list[Policy], fleets: int) -> Runs:
    """What was run before and is still of the same data; told where by other code."""
    found: Runs = {}
    for cell, policy in pairs(cells, policies):
        rows, of_this_code = saved_figures(cell, policy, fleets)
        if rows:
            found[cell, policy] = rows
            if not of_this_code:
                print(f"{cell.name}, {policy.name}: saved by other code", file=sys.stderr)
    return found


def pairs(cells: Sequence[Cell], policies: Sequence[Policy]) -> list[tuple[Cell, Policy]]:
    """Who runs where, the hand rule everywhere."""
    asked = dict.fromkeys([*policies, Policy(HAND_RULE)])
    return [(cell, policy) for policy in asked for cell in cells if fits(cell, policy)]


def left_out(cell: Cell) -> str:
    """Why a cell cannot be run; empty if it can."""
    if cell.suite == "traces" and not os.environ.get("QFLEET_TRACES"):
        return "QFLEET_TRACES names no folder of traces; left out"
    return ""


def fits(cell: Cell, policy: Policy) -> bool:
    """A teacher's rows are made up; those of `traces` are a fixed set."""
    return cell.suite != "traces" or policy.name not in CEILINGS


def column(cell: Cell, policies: list[Policy], runs: Runs) -> dict[str, Any] | str:
    """Every policy of one cell, or why there are none."""
    base = runs.get((cell, Policy(HAND_RULE)))
    if base is None:
        return left_out(cell) or "nothing of it is saved"
    found = {p.name: runs[cell, p] for p in policies if (cell, p) in runs}
    ceiling = found.get("teacher", [])
    table = {name: summed(rows, base, ceiling) for name, rows in found.items()}
    for name, rows in found.items():
        if name.startswith(AGENT):
            rivals = {r: duel(rows, found[r]) for r in RIVALS if r in found}
            table[name]["beside"] = rivals
    return table


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
        for policy, row in rows.items():
            for rival, ratio in row.get("beside", {}).items():
                told = "  ".join(f"{what} {span(ratio[key])}" for what, key in DUEL)
                print(f"  {policy} / {rival:16} {told}")


def span(ratio: dict[str, float]) -> str:
    return f"{ratio['mean']:5.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def line_of(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    spans = [span(ratio[key]) for key in RATIOS]
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
