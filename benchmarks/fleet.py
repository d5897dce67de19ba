"""What emulated fleets cost: CPU, memory, and how both grow with the number of clients.

    python benchmarks/fleet.py --json
    python benchmarks/fleet.py --truth                    # virtual beside real, limited processes
    python benchmarks/fleet.py --flower ENV/bin/python    # Flower beside it, from an environment
                                                          # with `pip install 'flwr[simulation]'`

Every case runs in a process of its own, with one thread, on code compiled beforehand, as pip
leaves it. The real box and coordinator code runs with a store in memory; circuits are really
trained. The cost of a client's event is all CPU after the imports, by the messages that passed the
broker; `tiny` circuits train in no time, so that the machinery alone is seen. `loop_s`, the CPU
seconds of five million turns of an empty loop at that moment, is the yardstick of the machine: 0.2
to 0.25 where it is quiet.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__)
LARGE = (10_000, 20, 100)
SIZES = (100, 300, 1000, 3000, 10_000)
TRIES = 5
COMPILED = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="leave the large fleets out")
    parser.add_argument("--truth", action="store_true", help="only compare two engines' times")
    parser.add_argument("--save", action="store_true", help="keep the figures in results/")
    parser.add_argument("--flower", help="a Python with flwr[simulation], for figures beside")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(_case(**json.loads(arguments.case))))
        return
    if arguments.truth:
        from fleet_truth import compare

        _give("fleet-truth", compare(), arguments)
        return
    result = _all(quick=arguments.quick)
    if arguments.flower:
        result["flower"] = {
            f"{c}x{r}": _run(
                [arguments.flower, str(HERE.with_name("fleet_flower.py")), str(c), str(r)]
            )
            for c, r in ((10, 5), (100, 20))
        }
    _give("fleet", result, arguments)


def _give(name: str, result: dict[str, Any], arguments: argparse.Namespace) -> None:
    print(json.dumps(result, indent=None if arguments.json else 2))
    if arguments.save:
        path = HERE.parent / "results" / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _all(*, quick: bool) -> dict[str, Any]:
    _here(clients=10, rounds=1, cohort=10)  # what was not compiled yet is now
    small = _here(clients=10, rounds=5, cohort=10)
    costed = _middle(clients=100, rounds=20, cohort=100, tiny=True)
    sealed = _middle(clients=100, rounds=20, cohort=100, tiny=True, sealed=True)
    result = {
        "small_cpu_s": small["process_s"],
        "updates_per_s": costed["updates_per_s"],
        "updates_per_s_sealed": sealed["updates_per_s"],
        "loop_s": costed["loop_s"],
        "small": small,
        "tiny": costed,
        "tiny_sealed": sealed,
    }
    if quick:
        return result
    sizes = {n: _here(clients=n, rounds=20, cohort=min(n, 100)) for n in SIZES}
    bare = {n: _here(clients=n, rounds=20, cohort=min(n, 100), tiny=True) for n in SIZES}
    large = sizes[LARGE[0]]
    return result | {
        "cpu_s": large["process_s"],
        "rss_mb": large["rss_mb"],
        "exponent": round(_exponent(sizes), 3),
        "us_per_client_event": {n: row["us_per_event"] for n, row in sizes.items()},
        "exponent_tiny": round(_exponent(bare), 3),
        "us_per_client_event_tiny": {n: row["us_per_event"] for n, row in bare.items()},
        "large": large,
        "large_sealed": _here(clients=LARGE[0], rounds=LARGE[1], cohort=LARGE[2], sealed=True),
    }


def _exponent(sizes: dict[int, dict[str, Any]]) -> float:
    """b of the least-squares fit cost per client-event = a n^b."""
    x = [math.log(n) for n in sizes]
    y = [math.log(row["us_per_event"]) for row in sizes.values()]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    rise = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return rise / sum((a - mx) ** 2 for a in x)


def _middle(**case: Any) -> dict[str, Any]:
    """Of a few runs the one in the middle."""
    return sorted((_here(**case) for _ in range(TRIES)), key=_rate)[TRIES // 2]


def _rate(row: dict[str, Any]) -> float:
    return float(row["updates_per_s"])


def _here(**case: Any) -> dict[str, Any]:
    return _run([sys.executable, str(HERE), "--case", json.dumps(case)])


def _run(words: list[str]) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=COMPILED)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row | {"process_s": round(spent - row.pop("yardstick_s", 0.0), 3)}


def _case(
    clients: int, rounds: int, cohort: int, *, tiny: bool = False, sealed: bool = False
) -> dict[str, Any]:
    """One fleet. `tiny`: two features, four angles, one step, where the machinery is the point."""
    import logging

    import numpy as np

    from coordinator.taskfile import Data, RoundsTable, TaskFile, Train
    from coordinator.taskmodel import Model
    from edge_client.dataset import Table
    from firmware_sim.virtual import Plan, Still, VirtualFleet, seldom_collected

    logging.disable()
    imported, features = time.process_time(), 2 if tiny else 4
    columns = tuple(f"x{number}" for number in range(features))

    def rows(box: str) -> Table:
        X = np.random.default_rng(int(box[1:])).normal(size=(25 if tiny else 40, features))
        return Table(X, (X[:, 0] + X[:, 1] > 0).astype(np.int64), columns, ("low", "high"))

    stack = ExitStack()
    stack.enter_context(seldom_collected())  # as `fleet run` does
    fleet = VirtualFleet(Plan(Still(rows, 0.1), sealed=sealed))
    store = fleet.start_coordinator()
    for number in range(clients):
        fleet.add_box(f"b{number}")
        fleet.clock.at(number * 0.01, lambda name=f"b{number}": fleet.start_box(name))
    # Everybody is there and shares keys before there is anything to do.
    fleet.clock.run(until=clients * 0.01 + 5.0)
    fleet.submit(
        TaskFile(
            job="bench",
            data=Data(classes=("low", "high"), columns=columns, components=0),
            model=Model(reps=1 if tiny else 3),
            training=Train(steps=1 if tiny else 20),
            rounds=RoundsTable(count=rounds, quorum=max(1, cohort // 2), cohort=cohort),
        )
    )
    # What comes before the first round is a cost of its own: keys are exchanged, rows looked at.
    while not store.rounds("bench"):
        fleet.clock.step()
    began = time.process_time()
    fleet.run_job("bench", 1e9)
    spent = time.process_time() - began
    stack.close()
    events = fleet.broker.traffic.count
    included = sum(row.included for row in store.rounds("bench") if row.kind == 1)
    whole, loop_s = time.process_time(), _yardstick()
    return {
        "clients": clients,
        "rounds": rounds,
        "updates": included,
        "updates_per_s": round(included / spent),
        "events": events,
        "us_per_event": round((whole - imported) / events * 1e6, 1),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "loop_s": round(loop_s, 3),
        "yardstick_s": time.process_time() - whole,
    }


def _yardstick() -> float:
    began, total = time.process_time(), 0
    for number in range(5_000_000):
        total += number & 3
    return time.process_time() - began


if __name__ == "__main__":
    main()
