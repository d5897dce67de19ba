"""A fleet of real processes for tests: rows, jobs, brakes, waits, and what must hold at the end.

Nothing here sleeps for a fixed time: `until` looks again and again. A round is held by stopping
the training process of one box (`hold`), so that a fault lands where the test wants it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from coordinator.jobstate import JobState, Phase
from coordinator.store import Row, Store
from coordinator.submit import submit
from coordinator.taskfile import Data, Model, RoundsTable, TaskFile, Train
from firmware_sim.processes import Processes
from proto.messages import TRAIN
from tests.waiting import PATIENCE, Value, until

SLACK = 20.0
"""Seconds that a round may close after its deadline on a busy machine."""
COLUMNS = tuple("abcdefghijklmnopqrst")
"""Enough that a box's moments take more bytes than anything else it writes."""


def write_rows(path: Path, seed: int, rows: int = 40) -> None:
    """Rows of one box: two classes that a line parts, with a little noise of its own."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, len(COLUMNS))) + 0.1 * seed
    level = np.where(X[:, 0] + X[:, 1] > 0.1 * seed, "high", "low")
    lines = [",".join([*map(repr, x.tolist()), y]) for x, y in zip(X, level, strict=True)]
    path.write_text("\n".join([",".join([*COLUMNS, "level"]), *lines]) + "\n")


def task(job: str, boxes: int, rounds: int, **table: Any) -> TaskFile:
    """A job that takes a moment a round; rounds start when all boxes are there, or soon after."""
    values = {"count": rounds, "cohort": boxes, "quorum": 2, "deadline": "2m", "gather": "0.3s"}
    return TaskFile(
        job=job,
        data=Data(classes=("low", "high"), columns=COLUMNS, components=2),
        model=Model(reps=1),
        training=Train(steps=2),
        rounds=RoundsTable(**values | table),
    )


class RealFleet(Processes):
    """Processes, and a look into the coordinator's store."""

    store: Store

    def __init__(self, home: Path, broker: tuple[str, ...] = ()) -> None:
        super().__init__(home, "test", broker)
        self.names: list[str] = []

    # --- starting ---

    def coordinate(self, module: str = "coordinator.daemon", extra: tuple[str, ...] = ()) -> None:
        """Start the coordinator (again)."""
        self.forget_store()
        self.store = self.start_coordinator(module, extra)

    def forget_store(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def close(self) -> None:
        super().close()
        self.forget_store()

    def add_boxes(self, *names: str, extra: str = "") -> None:
        """Boxes with rows of their own join and start."""
        for name in names:
            path = self.home / f"{name}.csv"
            write_rows(path, seed=len(self.names))
            self.join(name, str(path), "level", extra)
            self.start_box(name)
            self.names.append(name)

    def begin(self, file: TaskFile, hold: str = "") -> None:
        """Hand a task in; rounds start once every running box has enlisted.

        With `hold`, the first round is held by that box.
        """
        job = file.job
        with self.store.unit():
            submit(self.store, file, self.name, time.time())
            self.store.change_job(job, asked="stop")
        running = {name for name in self.names if self.running(name)}
        self.until(lambda: {e.box for e in self.store.enlisted(job)} >= running)
        self.until(lambda: self.row(job).phase == "stopped")
        if hold:
            self.brake(hold)
        self.store.change_job(job, asked="resume")
        if hold:
            self.until_waiting_for(hold, job)

    # --- looking ---

    def state(self, job: str = "job") -> JobState:
        return msgspec.json.decode(self.row(job).state, type=JobState)

    def row(self, job: str = "job") -> Row:
        row = self.store.job(job)
        assert row is not None
        return row

    def done(self, job: str = "job") -> list[Row]:
        """Training rounds that count."""
        rounds = self.store.rounds(job)
        return [r for r in rounds if r.kind == TRAIN and r.outcome == "done"]

    def waiting_for(self, job: str = "job") -> set[str]:
        """Boxes the open round has no update from."""
        state = self.state(job)
        if state.phase is not Phase.COLLECTING:
            return set()
        return {m.box for m in state.members} - set(self.store.senders(state.turn))

    def took_part(self, box: str, after: int) -> bool:
        """Whether an update of this box is in a round after that turn."""
        done = (r.turn for r in self.done() if r.turn > after)
        return any(box in self.store.senders(turn) for turn in done)

    def story(self) -> str:
        """All that was said: in the store's log and by the processes."""
        said = "\n".join(row.text for row in self.store.said("", 0))
        texts = (f"--- {path.name}\n{path.read_text()}" for path in sorted(self.home.glob("*.log")))
        return "\n".join([said, *texts])

    def log(self, name: str) -> str:
        """What one process has said; `coordinator` or a box."""
        return (self.home / f"{name}.log").read_text()

    def until(self, condition: Callable[[], Value], limit: float = PATIENCE) -> Value:
        return until(condition, self.story, limit)

    def until_said(self, name: str, *texts: str) -> None:
        """Wait until one process has said each of these."""
        for text in texts:
            until(lambda t=text: t in self.log(name), lambda t=text: f"{t!r}: {self.story()}")

    def until_over(self, job: str = "job", limit: float = 2 * PATIENCE) -> None:
        self.until(lambda: self.row(job).phase == "finished", limit)

    # --- faults ---

    def workers(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.pid(name)).children()

    def brake(self, *names: str) -> None:
        """Stop the training processes of boxes: the next round that asks them is held.

        Brake the next box before this one is let go, and no round slips through between them.
        """
        for name in names:
            for worker in self.until(lambda name=name: self.workers(name)):
                worker.suspend()

    def until_waiting_for(self, name: str, job: str = "job", waived: Collection[str] = ()) -> int:
        """Wait until a round lacks an update of this box alone, or of those waived; its turn."""
        self.until(lambda: self.waiting_for(job) - set(waived) == {name})
        return self.state(job).turn

    def let_go(self, name: str) -> None:
        for worker in self.workers(name):
            worker.resume()

    def crash(self, name: str) -> None:
        """As pulling a box's plug: its agent and its training process are gone at once."""
        workers = self.workers(name)
        self.kill(name)
        for worker in workers:
            worker.kill()


def check_history(
    store: Store, job: str = "job", revoked: Collection[str] = (), slack: float = SLACK
) -> None:
    """What must hold of every job, whatever happened on the way."""
    row = store.job(job)
    assert row is not None
    rules = msgspec.json.decode(row.state, type=JobState).rules
    rounds = store.rounds(job)
    done = [r for r in rounds if r.outcome == "done"]
    trained = [r.round for r in done if r.kind == TRAIN]
    assert trained == list(range(1, len(trained) + 1))
    if row.phase == "finished":
        assert len(trained) == rules.rounds
        assert [r.kind for r in done] == sorted(r.kind for r in done)
        assert all(r.outcome in ("done", "missed") for r in rounds)
    for r in done:
        senders = [m.box for m in store.metrics(r.turn)]
        assert len(senders) == len(set(senders))
        # What a box sent before it was revoked is in no round that closed later.
        assert r.included in (len(senders), len(set(senders) - set(revoked)))
        assert r.included >= rules.quorum
    for r in rounds:
        assert r.closed is None or r.closed - r.opened <= rules.deadline + slack
    models = store.model_history(job)
    assert len({m.turn for m in models}) == len(models) == 1 + len(trained)


def command(name: str, *words: str, code: int = 0) -> str:
    """Run `coordinator ...` or `edge-client ...`; what it printed."""
    module = name.replace("-", "_")
    program = f"from {module}.cli import main; main()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QFLEET_")}
    ran = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment,
        check=False,
    )
    assert ran.returncode == code, f"{words}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def spoken(name: str, *words: str, code: int = 0) -> Any:
    """The same with --json, read."""
    return json.loads(command(name, *words, "--json", code=code))


def gone(processes: Collection[psutil.Process], limit: float = 20.0) -> None:
    """Wait until none of these runs any more."""
    until(lambda: not alive(processes), lambda: alive(processes), limit)


def alive(processes: Collection[psutil.Process]) -> list[str]:
    """Those that still run, by their command lines."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


def descendants(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def kill_hard(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
