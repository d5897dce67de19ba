"""Federated training on a noisy quantum computer, within a budget of executions.

    python benchmarks/noisy.py --json

breast_cancer, ten boxes, Dirichlet(0.3), the noise of FakeManilaV2 on Aer (needs the extras aer and
ibm). 30 rounds on the boxes' own simulators, then one on the machine, each box within 100 000
shots: at most a million executions over the whole fleet. Accuracy is the last model's on the
untouched test rows: measured on the noisy machine by 1024 shots a row, and worked out exactly. Raw
figures of each seed are kept in benchmarks/results and printed again while code and data are the
same.
"""

import argparse
import json
import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402 - it reads the variables when imported
from learning import CODE  # noqa: E402
from learning_fleet import TARGET, Fleet  # noqa: E402
from learning_runs import SPLIT  # noqa: E402
from msgspec.structs import replace  # noqa: E402
from saved import Found, code_key, data_key, kept, summary  # noqa: E402

from coordinator.taskfile import Data, Model, RoundsTable, TaskFile, Train, task_of  # noqa: E402
from edge_client.circuit.backends.chosen import workbench  # noqa: E402
from edge_client.config import Quantum  # noqa: E402
from edge_client.dataset import Table, load  # noqa: E402
from edge_client.kinds import features_of  # noqa: E402
from edge_client.train import evaluate  # noqa: E402
from firmware_sim.splits import deal, write_csv  # noqa: E402
from proto.circuit import classifier_layout  # noqa: E402
from proto.messages import Execution, Task  # noqa: E402
from quantization.arrays import Arrays  # noqa: E402
from quantization.pack import unpack  # noqa: E402
from quantization.scheme import EXACT  # noqa: E402

BOXES, ROUNDS, SIMULATED = 10, 31, 30
BUDGET = 1_000_000
"""Executions a job may take over the whole fleet."""
FLOOR = 0.90
SEEDS = 5
MODEL = Model(
    backend="aer",
    noise="FakeManilaV2",
    shots=32,
    shot_budget=BUDGET // BOXES,
    simulated_rounds=SIMULATED,
)
TRAIN = Train(steps=20, batch=4)


class Log(logging.Handler):
    """What the boxes' logs say of their jobs, added up; the lines of a round go on if asked."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = self.shots = 0
        self.queued = self.ran = 0.0
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("%d jobs, %d shots") and isinstance(record.args, tuple):
            jobs, shots, queued, ran, _ = record.args
            self.jobs += int(jobs)  # type: ignore[call-overload]
            self.shots += int(shots)  # type: ignore[call-overload]
            self.queued += float(queued)  # type: ignore[arg-type]
            self.ran += float(ran)  # type: ignore[arg-type]
            self.last = record.getMessage()


def run(table: Table, seed: int) -> Found:
    log = Log()
    logger = logging.getLogger("edge_client")
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _run(table, seed, Path(folder), log)
    finally:
        logger.removeHandler(log)


def _run(table: Table, seed: int, folder: Path, log: Log) -> Found:
    split = deal(SPLIT, table.y, BOXES, seed)
    sources = [folder / f"{number}.csv" for number in range(BOXES)]
    for path, rows in zip(sources, split.boxes, strict=True):
        write_csv(path, table, rows, TARGET)
    file = TaskFile(
        job="noisy",
        data=Data(classes=table.classes, columns=table.columns),
        model=MODEL,
        training=TRAIN,
        rounds=RoundsTable(count=ROUNDS),
    )
    task = task_of(file, "fleet", 1)
    homes = [str(folder / f"home-{number}") for number in range(BOXES)]
    fleet = Fleet(task, sources, ROUNDS, seed, homes=homes)
    features = fleet.fit_features()
    arrays = unpack(fleet.train(), classifier_layout(task.model), EXACT)
    trained = {"jobs": log.jobs, "shots": log.shots, "queued_s": log.queued, "ran_s": log.ran}
    z = features_of(task, table.X, features)
    test = np.concatenate(split.test)
    on_machine = replace(task.execution, shots=1024, shot_budget=0, simulated_rounds=0)
    return {
        "exact": _accuracy(replace(task, execution=Execution()), arrays, z[test], table.y[test]),
        "noisy": _accuracy(replace(task, execution=on_machine), arrays, z[test], table.y[test]),
        **trained,
        "log": log.last,
    }


def _accuracy(task: Task, arrays: Arrays, z: Any, y: Any) -> float:
    bench = workbench(task, Quantum(), "", b"test", 0)
    return evaluate(bench.model, arrays, z, y).accuracy


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds is at least 1")
    table = load("sklearn:breast_cancer")
    code = code_key((*CODE, "edge_client/circuit/backends/*.py", "benchmarks/noisy.py"))
    data = data_key((MODEL, TRAIN), table)
    runs = kept("noisy", code, data, arguments.seeds, partial(run, table))
    found: dict[str, Any] = {kind: summary([r[kind] for r in runs]) for kind in ("noisy", "exact")}
    found |= {name: [r[name] for r in runs] for name in ("jobs", "shots", "queued_s", "ran_s")}
    found |= {"budget": BUDGET, "log": runs[-1]["log"]}
    found["holds"] = found["noisy"]["mean"] >= FLOOR and max(found["shots"]) <= BUDGET
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:10} {value}")


if __name__ == "__main__":
    main()
