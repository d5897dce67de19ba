"""What Qfleet weighs: memory and CPU of idle processes, import, --help, size of the install.

    python benchmarks/footprint.py --json

Real processes: a coordinator with its broker and two boxes that have finished a circuit job; looked
at after `--settle` seconds of idling. The install is measured in a fresh virtual environment.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from coordinator.submit import submit
from coordinator.taskfile import Data, RoundsTable, TaskFile
from firmware_sim.processes import Processes

REPOSITORY = Path(__file__).resolve().parents[1]
FORBIDDEN = ("torch", "qiskit", "pennylane", "scipy", "onnxruntime", "llama_cpp")
MIB = 2**20
WATCH_S = 20.0


def idle(settle: float) -> dict[str, object]:
    """Memory and CPU of the processes, `settle` seconds after a finished job."""
    columns = ("a", "b", "c", "d", "e")
    task = TaskFile(
        job="one",
        data=Data(classes=("no", "yes"), columns=columns),
        rounds=RoundsTable(count=1, cohort=2, quorum=2),
    )
    home = Path(tempfile.mkdtemp(prefix="qfleet-footprint-"))
    with Processes(home) as fleet:
        store = fleet.start_coordinator()
        for number in range(2):
            X = np.random.default_rng(number).normal(size=(60, 5))
            rows = [",".join(map(repr, x.tolist())) + f",{'yes' if x[0] > 0 else 'no'}" for x in X]
            path = home / f"{number}.csv"
            path.write_text(",".join(columns) + ",label\n" + "\n".join(rows))
            fleet.join(f"box-{number}", str(path), "label")
            fleet.start_box(f"box-{number}")
        submit(store, task, fleet.name, time.time())
        while store.job("one").phase != "finished":
            time.sleep(0.1)
        time.sleep(max(0.0, settle - WATCH_S))
        box, coordinator = (psutil.Process(fleet.pid(n)) for n in ("box-0", "coordinator"))
        before = [sum(p.cpu_times()[:2]) for p in (box, coordinator)]
        time.sleep(WATCH_S)
        after = [sum(p.cpu_times()[:2]) for p in (box, coordinator)]
        percent = [100 * (b - a) / WATCH_S for a, b in zip(before, after, strict=True)]
        store.close()
        return {
            "client_rss_mib": round(box.memory_info().rss / MIB, 1),
            "client_processes": 1 + len(box.children(recursive=True)),
            "client_cpu_percent": round(percent[0], 3),
            "coordinator_rss_mib": round(coordinator.memory_info().rss / MIB, 1),
            "coordinator_cpu_percent": round(percent[1], 3),
            "broker_rss_mib": round(
                sum(p.memory_info().rss for p in coordinator.children(recursive=True)) / MIB, 1
            ),
        }


def cpu_of(words: list[str]) -> float:
    """CPU seconds of a command, the least of five runs (the first ones warm the disk)."""
    runs = []
    for _ in range(5):
        before = os.times()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/")
        after = os.times()
        runs.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    return min(runs)


def loaded_by(module: str) -> list[str]:
    """Heavy packages that an import brings."""
    found = f"[m for m in {FORBIDDEN} if m in sys.modules]"
    code = f"import json, sys, {module}; print(json.dumps({found}))"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPOSITORY
    ).stdout
    return list(json.loads(output))


def installed() -> float:
    """MB that a base install adds to an empty virtual environment."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv/bin/python"
        subprocess.run([sys.executable, "-m", "venv", Path(folder) / "venv"], check=True)
        packages = next(Path(folder).glob("venv/lib/*/site-packages"))
        before = size(packages)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", REPOSITORY / "constraints.txt", REPOSITORY], check=True)
        return (size(packages) - before) / 1e6


def size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settle", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    command = Path(sys.executable).with_name("edge-client")
    result = {
        **idle(arguments.settle),
        "import_cpu_s": round(cpu_of([sys.executable, "-c", "import edge_client.agent"]), 3),
        "import_loads": loaded_by("edge_client.agent"),
        "help_cpu_s": round(cpu_of([str(command), "--help"]), 3),
        "python_cpu_s": round(cpu_of([sys.executable, "-c", "pass"]), 3),
        "install_mb": round(installed(), 1),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
