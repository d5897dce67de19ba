"""A fleet learns to read: an adapter of a language model, and then a circuit taught by it.

Real processes over a real broker, as in `demo.py`. The adapter's job ends with files that other
programs can use; the first of them is read back and asked about rows that no box ever held.
"""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.operate import Follower, follow
from coordinator.submit import submit
from coordinator.taskadapter import AdapterModel
from coordinator.taskfile import Data, RoundsTable, TaskFile, Train
from coordinator.taskhybrid import HybridModel
from edge_client.dataset import Table
from edge_client.texts import load
from firmware_sim.processes import Processes, cpu_seconds
from firmware_sim.splits import dirichlet
from firmware_sim.telemetry import QUESTION, telemetry
from firmware_sim.text_judge import CIRCUIT, Rows, desk, verdict
from proto.errors import ConfigError
from quantization.runtime.find import KNOWN, find
from quantization.runtime.pull import pull

BASE = "smollm2-135m"
SMS_QUESTION = "{text}\nSpam?"
SMS_ROWS, SMS_TEST = 100, 40
SERVER_RATE = 0.02
"""Of Adam at the coordinator; a plain mean is taken whole."""
SKETCH = 123
"""Numbers of a text before the feature map: with sensors and classes as many as the map takes."""
ROWS, TEST = 80, 24
"""A box's rows, and test rows of the same kind: a base model reads each once, in 0.2 s of CPU."""


@dataclass(frozen=True, slots=True)
class Settings:
    clients: int = 4
    rounds: int = 5
    seed: int = 0
    broker: tuple[str, ...] = ("--kind", "auto")
    keep: Path | None = None
    out: Path = Path()
    """Folder for the exported adapter."""


def sms_rows(settings: Settings, source: Path) -> Rows:
    """Messages of a file (label and text), dealt unevenly; as many as the demo has time for."""
    whole = load(str(source), None, "text", ())
    many = settings.clients * (SMS_ROWS + SMS_TEST)
    index = np.random.default_rng(settings.seed).permutation(len(whole.y))[:many]
    words = tuple(whole.texts[row] for row in index.tolist())
    table = Table(whole.X[index], whole.y[index], (), whole.classes, words)
    share = SMS_TEST / (SMS_ROWS + SMS_TEST)
    split = dirichlet(table.y, settings.clients, 0.5, settings.seed, share)
    model = _model(SMS_QUESTION, 64)
    # Boxes of one class move the others little this way.
    training = Train(
        optimiser="sgd", steps=1, learning_rate=10.0, decay=0.95, batch=48, bits=4, block=128
    )
    return Rows("sms", table, split, model, training, "fedadam", teaches=False)


def telemetry_rows(settings: Settings) -> Rows:
    """Journals and sensors of emulated boards."""
    table, split = telemetry(settings.clients, ROWS, settings.seed, TEST)
    model = _model(QUESTION, 96)
    training = Train(
        optimiser="adamw",
        steps=8,
        learning_rate=0.01,
        decay=0.87,
        warmup=1,
        batch=16,
        bits=4,
        block=128,
    )
    return Rows("telemetry", table, split, model, training)


def _model(prompt: str, tokens: int) -> AdapterModel:
    """One block with many drawn features: it learns from a row in 5 ms of CPU, six in 40."""
    return AdapterModel(base=BASE, blocks=1, rank=64, alpha=128.0, prompt=prompt, tokens=tokens)


def tasks(rows: Rows, settings: Settings) -> tuple[TaskFile, ...]:
    """What the demo hands in: the adapter's job, and the circuit's where it teaches one."""
    quorum = max(1, (settings.clients + 1) // 2)
    data = Data(
        classes=rows.table.classes, columns=rows.table.columns, text="text", validation=0.25
    )
    table = RoundsTable(
        count=settings.rounds,
        cohort=settings.clients,
        quorum=quorum,
        deadline="20m",
        seed=settings.seed,
        aggregation=rows.aggregation,
        server_rate=SERVER_RATE if rows.aggregation == "fedadam" else None,
    )
    adapter = TaskFile(
        job=rows.name,
        data=data,
        model=rows.model,
        training=rows.training,
        rounds=table,
    )
    circuit = TaskFile(
        job=CIRCUIT,
        data=data,
        model=HybridModel(teacher="fleet", teacher_job=rows.name, sketch=SKETCH, labelled=True),
        training=Train(steps=10),
        rounds=RoundsTable(
            count=10, cohort=settings.clients, quorum=quorum, deadline="20m", seed=settings.seed
        ),
    )
    return (adapter, circuit) if rows.teaches else (adapter,)


def run(rows: Rows, settings: Settings, follower: Follower | None = None) -> dict[str, Any]:
    """Everything, from the first process to the verdict; no process is left behind."""
    if settings.clients < 1 or settings.rounds < 1:
        raise ConfigError("a demo takes at least one client and one round")
    # Before anything is started; at once where it is here.
    base = pull(rows.model.base) if rows.model.base in KNOWN else find(rows.model.base)
    began, spent = time.monotonic(), cpu_seconds()
    home = settings.keep or Path(tempfile.mkdtemp(prefix="qfleet-demo-"))
    try:
        with Processes(home, "demo", settings.broker) as fleet:
            store = fleet.start_coordinator()
            _start_boxes(fleet, rows, base)
            for file in tasks(rows, settings):
                submit(store, file, "demo", time.time())
                follow(store, file.job, follower)
        found = verdict(store, rows, settings.out, desk(base, home))
        found |= {"clients": settings.clients, "seed": settings.seed}
        store.close()
    finally:
        if settings.keep is None:
            shutil.rmtree(home, ignore_errors=True)
    found["cpu_s"] = round(cpu_seconds() - spent, 1)
    found["seconds"] = round(time.monotonic() - began, 1)
    return found


def _start_boxes(fleet: Processes, rows: Rows, base: Path) -> None:
    limits = f"\n[adapter]\nbase = {json.dumps(str(base))}\n"
    for number, index in enumerate(rows.split.boxes, 1):
        name = f"box-{number}"
        path = fleet.home / f"{name}.jsonl"
        write_jsonl(path, rows.table, index)
        fleet.join(name, str(path), "label", limits)
        fleet.start_box(name)


def write_jsonl(path: Path, table: Table, index: NDArray[np.intp]) -> None:
    """A box's own file: a line of JSON for each row, with its text, numbers and label."""
    lines = []
    for row in index.tolist():
        numbers = dict(zip(table.columns, table.X[row].tolist(), strict=True))
        told = {"text": table.texts[row], **numbers, "label": table.labels[row]}
        lines.append(json.dumps(told, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
