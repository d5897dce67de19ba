"""The method of LLM-QFL (arXiv 2505.18656) against plain quantum federated learning, arm by arm.

    python benchmarks/llm_qfl.py --json

Ten clients hold SMS messages dealt by Dirichlet(0.5); a third of all is an untouched test split.
All arms train the same circuit (4 qubits, 21 numbers) on the same trunk features; a seed deals the
messages, draws the first models and trains the teacher, and pairs all arms. Per arm:

  accuracy      on the test rows, of the job's last model
  evaluations   loss-and-gradient evaluations of all clients
  rounds, bytes until the job ended; bytes of sealed offers and updates
  idle_s        time that asked clients waited for the slowest of their round (modelled, see Clock)
  to_target     the same until the fleet's validation loss is within 2 % of plain training's best:
                how many seeds got there, and their ratios to plain (below 1 is better)

Figures are kept in benchmarks/results and printed from there while code and data are the same.
Where code has changed one seed is run again: if it gives the same figures, all are kept. The
messages are not part of this repository: --data names the file (label, tab, text; the UCI SMS Spam
Collection).
"""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

from llm_qfl_rounds import Case, Clock, Point, rounds  # noqa: E402 - numpy reads them when imported
from saved import RESULTS, code_key, kept, ratio, summary  # noqa: E402

from coordinator.jobstate import Rules  # noqa: E402
from coordinator.taskfile import (  # noqa: E402
    Data,
    RoundsTable,
    Steps,
    TaskFile,
    Train,
    rules_of,
    task_of,
)
from coordinator.taskhybrid import HybridModel  # noqa: E402
from proto.messages import Task  # noqa: E402

SEEDS = 5
ROUNDS, STEPS, CAP, JUMP = 12, 5, 50, 15
"""The paper's regulators grow from 10 steps to 100, its hybrid by 30 at most; here half of each."""
COHORT = 3
SLACK = 1.02
CODE = (
    "benchmarks/llm_qfl*.py",
    "coordinator/aggregation.py",
    "coordinator/folding.py",
    "coordinator/selection/*.py",
    "edge_client/circuit/*.py",
    "edge_client/hybrid/reading.py",
    "edge_client/hybrid/temperature.py",
    "edge_client/optimise.py",
    "edge_client/optimisers/*.py",
    "edge_client/train.py",
    "firmware_sim/boards.py",
    "firmware_sim/boards.toml",
    "firmware_sim/splits.py",
    "proto/ansatz.py",
    "proto/circuit.py",
    "quantization/*.py",
)
RULES = ("incremental", "dynamic-weighted", "logarithmic", "adaptive", "hybrid")
FIGURES = ("accuracy", "evaluations", "rounds", "bytes", "idle_s", "waiting_s", "busy_s", "span_s")
"""waiting_s counts clients that were not asked, too; span_s is the job's length."""
SPENT = ("evaluations", "rounds", "bytes", "idle_s", "waiting_s", "busy_s", "span_s")

Arm = dict[str, Any]


def arms() -> dict[str, Arm]:
    """By name: keys of `[model]`, `[steps]` and `[rounds]` that differ from plain training."""
    taught = {"share": 0.5, "warmth": 2.0}
    paper = {rule: {"steps": {"rule": rule, "most": CAP, "jump": JUMP}} for rule in RULES}
    lower = {
        f"{rule}, may lower": {
            "steps": {"rule": rule, "lower": True, "most": 2 * STEPS, "jump": STEPS}
        }
        for rule in RULES
    }
    chosen = {"policy": "paper", "cohort": COHORT}
    stops = {"gap": 0.05, "plateau": 0.01}
    return {
        "plain": {},
        **paper,
        **lower,
        "distillation": {"model": taught},
        "selection: paper": {"rounds": chosen},
        "selection: random": {"rounds": {"policy": "random", "cohort": COHORT}},
        "selection: stalest": {"rounds": {"policy": "stalest", "cohort": COHORT}},
        "stop: gap or plateau": {"rounds": stops},
        "stop: patience": {"rounds": {"patience": 3}},
        "all together, the paper's rule": {
            "model": taught,
            "steps": paper["adaptive"]["steps"],
            "rounds": {**chosen, **stops},
        },
        "all together, ours": {
            "model": taught,
            "steps": lower["adaptive, may lower"]["steps"],
            "rounds": {**chosen, "patience": 3},
        },
        "selection, may lower, patience": {
            "steps": lower["adaptive, may lower"]["steps"],
            "rounds": {**chosen, "patience": 3},
        },
        "stalest and patience": {"rounds": {"policy": "stalest", "cohort": COHORT, "patience": 3}},
    }


def job(arm: Arm, seed: int) -> tuple[Task, Rules]:
    """The task and rules of an arm, as a task file would give them."""
    file = TaskFile(
        job="benchmark",
        data=Data(classes=("ham", "spam"), columns=(), text="text", components=4),
        model=HybridModel(teacher="own", **{"share": 0.0, **arm.get("model", {})}),
        training=Train(steps=STEPS, learning_rate=0.1),
        steps=Steps(**arm.get("steps", {})),
        rounds=RoundsTable(count=ROUNDS, seed=seed, **arm.get("rounds", {})),
    )
    return task_of(file, "benchmark", 1), rules_of(file)


def run(case: Case, names: list[str]) -> dict[str, Any]:
    """One seed: each arm's points, and why it ended."""
    found = {}
    for name in names:
        task, rules = job(arms()[name], case.seed)
        points, why = rounds(case, task, rules, Clock())
        found[name] = {"why": why, "points": [[round(v, 6) for v in p] for p in points]}
    return found


def measured(data: Path, seeds: int) -> list[dict[str, Any]]:
    """Raw figures by seed: those saved that still hold, the others worked out now."""

    def run_seed(seed: int) -> dict[str, Any]:
        if not data.is_file():
            raise SystemExit(f"no saved figures hold for this code, and no {data}: see --help")
        from llm_qfl_cases import cases

        case = next(cases(data, [seed]))
        return {"baselines": case.baselines, "arms": run(case, list(arms()))}

    return kept("llm_qfl", code_key(CODE), _digest(data), seeds, run_seed)


def _digest(data: Path) -> str:
    """Of the messages; where they are not here, of those the saved figures are of."""
    if data.is_file():
        return hashlib.sha256(data.read_bytes()).hexdigest()[:16]
    saved = RESULTS / "llm_qfl.json"
    return str(json.loads(saved.read_text())["stamp"][1]) if saved.exists() else ""


def spent(points: list[Point]) -> dict[str, float]:
    """What a job had taken after these rounds."""
    last = points[-1]
    return {
        "accuracy": last.accuracy,
        "evaluations": last.gradients,
        "rounds": len(points),
        "bytes": last.bytes,
        "idle_s": last.idle_s,
        "waiting_s": last.all_idle_s,
        "busy_s": last.busy_s,
        "span_s": last.span_s,
    }


def reached(points: list[Point], target: float) -> list[Point] | None:
    """The rounds until the fleet's validation loss is at the target; None where it never is."""
    for number, point in enumerate(points, 1):
        if point.loss <= target:
            return points[:number]
    return None


def report(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and intervals of every arm, and its ratios to plain training over the same seeds."""
    curves = {
        name: [[Point(*p) for p in seed["arms"][name]["points"]] for seed in seeds]
        for name in seeds[0]["arms"]
    }
    targets = [SLACK * min(p.loss for p in points) for points in curves["plain"]]
    base = [reached(points, goal) for points, goal in zip(curves["plain"], targets, strict=True)]
    whole = [spent(points) for points in curves["plain"]]
    out: dict[str, Any] = {"seeds": len(seeds), "arms": {}}
    out["baselines"] = {
        name: summary([seed["baselines"][name] for seed in seeds]) for name in seeds[0]["baselines"]
    }
    for name, by_seed in curves.items():
        totals = [spent(points) for points in by_seed]
        arm: dict[str, Any] = {f: summary([t[f] for t in totals], 3) for f in FIGURES}
        pairs = list(zip(totals, whole, strict=True))
        arm["ratio"] = {f: ratio([t[f] / w[f] for t, w in pairs]) for f in SPENT}
        changes = [t["accuracy"] - w["accuracy"] for t, w in pairs]
        arm["accuracy_minus_plain"] = summary(changes)
        hits = [reached(points, goal) for points, goal in zip(by_seed, targets, strict=True)]
        pairs = [(spent(h), spent(b)) for h, b in zip(hits, base, strict=True) if h and b]
        arm["to_target"] = {"hits": len(pairs)}
        if pairs:
            arm["to_target"] |= {f: ratio([h[f] / b[f] for h, b in pairs]) for f in SPENT}
        out["arms"][name] = arm
    return {**out, **claim(out["arms"])}


def claim(found: dict[str, Any]) -> dict[str, Any]:
    """Whether the whole method cuts idle time by 30 %, at what accuracy, and what a rule does."""
    method = found["all together, ours"]
    simple = found["stalest and patience"]
    return {
        "idle_cut": round(1 - method["ratio"]["idle_s"]["mean"], 3),
        "accuracy_change": method["accuracy_minus_plain"],
        "idle_cut_of_30_percent_shown": method["ratio"]["idle_s"]["high"] <= 0.7,
        "loss_of_accuracy_shown": method["accuracy_minus_plain"]["high"] < 0,
        "idle_cut_by_stalest_and_patience": round(1 - simple["ratio"]["idle_s"]["mean"], 3),
    }


def show(found: dict[str, Any]) -> None:
    print(f"{found['seeds']} seeds; mean and 95 % interval. Beside the circuits:")
    for name, of in found["baselines"].items():
        print(f"  {name:22} {of['mean']:.3f} ({of['low']:.3f} to {of['high']:.3f})")
    head = f"{'arm':32}{'accuracy':>25}{'evaluations':>13}{'rounds':>8}{'kB':>8}{'idle s':>9}"
    print(f"{head}   to the target, ratio to plain: hits, evaluations, rounds, bytes, idle")
    for name, arm in found["arms"].items():
        of = arm["accuracy"]
        line = f"{name:32}{of['mean']:9.3f} ({of['low']:.3f} to {of['high']:.3f})"
        line += f"{arm['evaluations']['mean']:11.0f}{arm['rounds']['mean']:8.1f}"
        line += f"{arm['bytes']['mean'] / 1000:8.0f}{arm['idle_s']['mean']:9.0f}   "
        line += f"{arm['to_target']['hits']}"
        for figure in ("evaluations", "rounds", "bytes", "idle_s"):
            if to := arm["to_target"].get(figure):
                line += f"  {to['mean']:.2f} ({to['low']:.2f} to {to['high']:.2f})"
        print(line)
    cut, change = found["idle_cut"], found["accuracy_change"]
    print(
        f"all together against plain: idle time cut by {100 * cut:.0f} %, accuracy changed by "
        f"{change['mean']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f}); "
        f"stalest and patience cut it by {100 * found['idle_cut_by_stalest_and_patience']:.0f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--data", type=Path, default=Path("sms_spam.tsv"), help="the messages")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds is at least 1")
    found = report(measured(arguments.data, arguments.seeds))
    print(json.dumps(found)) if arguments.json else show(found)


if __name__ == "__main__":
    main()
