"""The main job, end to end: a broker, a coordinator and boxes as processes train one circuit.

The rows are scikit-learn's breast_cancer or those of another source, dealt unevenly; a quarter is
kept back, and only this harness ever sees it.
"""

import math
import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from coordinator.agent.engine import BASE
from coordinator.operate import Follower, follow
from coordinator.reports import decisions
from coordinator.store import Store
from coordinator.submit import submit
from coordinator.taskfile import Data, TaskFile, Train, read
from edge_client.dataset import Table, load
from firmware_sim.judge import judge
from firmware_sim.processes import Processes, cpu_seconds
from firmware_sim.splits import Split, deal, write_csv
from proto.errors import ConfigError, QfleetError
from quantization.runtime.pull import pull

ROWS = "sklearn:breast_cancer"
TARGET = "diagnosis"
JOB = "demo"
ASKED = 0.75
"""Share of the boxes that a round asks where a policy is to choose."""
NOTE = "supply too weak, falls over under load"
"""What one box's owner says of it then."""


@dataclass(frozen=True, slots=True)
class Settings:
    clients: int = 8
    rounds: int | None = None
    """None: as many as the task says, 15 where there is no file."""
    seed: int = 0
    broker: str = "auto"
    """Which broker to start: auto, mosquitto, iotcore; or the mqtt:// URL of one that runs."""
    keep: Path | None = None
    """Keep everything the run leaves in this folder."""
    task: Path | None = None
    """A task file to train instead, but for the boxes it asks and its quorum."""
    data: str = ROWS
    """Whose rows are dealt: a file, or one of scikit-learn's examples."""
    split: str = "dirichlet:0.5"
    """How they are dealt: iid, dirichlet:<alpha>, class or size."""
    policy: str = ""
    """Who chooses boxes, and not all are asked; empty asks all in every round."""


def task(table: Table, settings: Settings) -> TaskFile:
    """The task file the demo hands in (examples/breast_cancer.toml is the same in words)."""
    data = Data(classes=table.classes, columns=table.columns, components=4)
    given = (
        read(settings.task)
        if settings.task
        else TaskFile(job=JOB, data=data, training=Train(batch=0))
    )
    if given.training.personal_head:
        raise ConfigError("training.personal_head: no one model is the fleet's, so none is judged")
    share = ASKED if settings.policy else 1.0
    cohort = max(1, math.ceil(share * settings.clients))
    rounds = replace(
        given.rounds,
        count=given.rounds.count if settings.rounds is None else settings.rounds,
        cohort=cohort,
        quorum=max(1, (cohort + 1) // 2),
        seed=settings.seed,
        policy=settings.policy or given.rounds.policy,
    )
    return replace(given, job=JOB, rounds=rounds)


def run(settings: Settings, follower: Follower | None = None) -> dict[str, Any]:
    """Everything, from the first process to the verdict; no process is left behind."""
    if settings.clients < 1 or (settings.rounds is not None and settings.rounds < 1):
        raise ConfigError("a demo takes at least one client and one round")
    # What this process spent before, a set-up it was started by for one, is not the demo's.
    began, spent = time.monotonic(), cpu_seconds()
    table = load(settings.data)
    split = deal(settings.split, table.y, settings.clients, settings.seed)
    file = task(table, settings)
    home = settings.keep or Path(tempfile.mkdtemp(prefix="qfleet-demo-"))
    try:
        with Processes(home, JOB, broker_flags(settings.broker)) as fleet:
            store = fleet.start_coordinator()
            _start_boxes(fleet, table, split, NOTE if settings.policy else "")
            submit(store, file, JOB, time.time())
            follow(store, JOB, follower)
            verdict = judge(store, JOB, table, split)
            history = _history(store, verdict.by_round)
            broker = (store.fact("broker") or b"").decode()
            told = decisions(store, JOB) if settings.policy else []
            store.close()
    finally:
        if settings.keep is None:
            shutil.rmtree(home, ignore_errors=True)
    updates = sum(r["updates"] for r in history)
    up, down = (sum(r[key] for r in history) for key in ("bytes_up", "bytes_down"))
    return {
        "clients": settings.clients,
        "rounds": file.rounds.count,
        "seed": settings.seed,
        "accuracy": verdict.by_round[-1],
        "pooled_accuracy": verdict.pooled,
        "worst_decile": verdict.worst_decile,
        "broker": broker,
        "sizes": [len(part) for part in split.boxes],
        "test_rows": sum(len(part) for part in split.test),
        "updates": updates,
        "bytes_up": up,
        "bytes_down": down,
        "bytes_per_update": round(up / updates, 1),
        "cpu_s": round(cpu_seconds() - spent, 1),
        "seconds": round(time.monotonic() - began, 1),
        "history": history,
        "policy": file.rounds.policy,
        "decisions": told,
    }


def broker_flags(broker: str) -> tuple[str, ...]:
    """What `coordinator start` is told of a broker's kind or URL."""
    return ("--broker", broker) if "://" in broker else ("--kind", broker)


def _start_boxes(fleet: Processes, table: Table, split: Split, note: str) -> None:
    """The last one has the note."""
    for number, rows in enumerate(split.boxes, 1):
        name = f"box-{number}"
        path = fleet.home / f"{name}.csv"
        write_csv(path, table, rows, TARGET)
        fleet.join(name, str(path), TARGET, note=note if number == len(split.boxes) else "")
        fleet.start_box(name)


def _history(store: Store, accuracies: tuple[float, ...]) -> list[dict[str, Any]]:
    """Training rounds, each with the test accuracy of the model it gave."""
    done = [r for r in store.rounds(JOB) if r.kind == 1 and r.outcome == "done"]
    return [
        {
            "round": r.round,
            "accuracy": accuracy,
            "updates": r.included,
            "bytes_up": r.bytes_up,
            "bytes_down": r.bytes_down,
        }
        for r, accuracy in zip(done, accuracies[1:], strict=True)
    ]


def model_missing() -> str:
    """Fetch the agent's base model where it is not here; a line for people where that fails."""
    try:
        for library in ("onnxruntime", "tokenizers", "gguf"):
            if find_spec(library) is None:
                raise ConfigError("pip install 'qfleet[adapter]' brings what it runs on")
        pull(BASE)
    except QfleetError as error:
        return f"No agent, the hand rule chooses: {error}"
    return ""
