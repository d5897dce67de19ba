"""A real fleet on this machine: `coordinator` and `edge-client` processes, a real broker.

Used by the demo, the tests and the benchmarks. Whatever happens, `close` ends every process.
"""

import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import current_thread, main_thread
from types import TracebackType
from typing import Self

from coordinator.operate import make_token
from coordinator.patience import Patience
from coordinator.store import Store
from edge_client.config import write_data
from edge_client.join import join
from proto.errors import QfleetError, TransportError
from proto.joining import parse_token

START_S, TRIES = 30.0, 3
"""A box tries to join for so long and at least so often."""
STOP_S = 10.0
LOOK_S = 0.05
KEPT = ("QFLEET_CACHE", "QFLEET_GRAPHS")
"""Where models lie; all other settings of this process are not the boxes'."""


class Processes:
    """One fleet's processes, in the folder `home`."""

    def __init__(self, home: Path, name: str = "demo", broker: tuple[str, ...] = ()) -> None:
        """`broker` are flags for `coordinator start`; without any it starts its own on loopback."""
        self.home, self.name = home, name
        self._broker = broker
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.coordinator_home = home / "coordinator"
        self._on_term = signal.getsignal(signal.SIGTERM)
        self.before: dict[str, list[str]] = {}
        """Words before a process's command, by its name: what puts it into a namespace."""

    def __enter__(self) -> Self:
        if current_thread() is main_thread():
            # As Ctrl-C does, so that a fleet told to end leaves nobody behind.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        self.close()
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, self._on_term)

    def start_coordinator(
        self, module: str = "coordinator.daemon", extra: tuple[str, ...] = ()
    ) -> Store:
        """Start it (again); the store, open for looking, once its broker is known."""
        home = str(self.coordinator_home)
        words = ["--home", home, "--fleet", self.name, *self._broker, *extra]
        process = self._spawn("coordinator", module, words)
        patience = Patience(process.pid)
        ready = self.coordinator_home / "ready"
        while not patience.over:
            ended = process.poll() is not None  # asked first: it may be ready and end at once
            if ready.exists() and ready.read_text() == str(process.pid):
                return Store(self.coordinator_home / "qfleet.db")
            if ended:
                raise QfleetError(
                    f"the coordinator did not start: {self.last_words('coordinator')}"
                )
            time.sleep(LOOK_S)
        told = self.last_words("coordinator")
        raise TransportError(f"the coordinator started and does nothing: {told}")

    def join(self, name: str, source: str, target: str, extra: str = "", note: str = "") -> None:
        """A token, and the box joins over the broker.

        `extra` is appended to its edge.toml; `note` is what its owner says of it.
        """
        home = self.home / name
        write_data(home, source, target)
        if extra or note:
            path = home / "edge.toml"
            first = f"note = {note!r}\n" if note else ""
            path.write_text(first + path.read_text(encoding="utf-8") + extra, encoding="utf-8")
        token = parse_token(make_token(self.coordinator_home, name, 1.0, ""))
        deadline = time.monotonic() + START_S
        for tries in itertools.count(1):
            try:
                join(home, token, name, 20.0)
            except TransportError:
                # A broker with logins knows a token once the coordinator has told it.
                if time.monotonic() > deadline and tries >= TRIES:
                    raise
                time.sleep(LOOK_S)
            else:
                return

    def start_box(self, name: str, module: str = "edge_client.agent", *words: str) -> int:
        """Start a box that has joined; its process id."""
        return self._spawn(name, module, ["--home", str(self.home / name), *words]).pid

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End one process and wait until it is gone."""
        process = self._running[name]
        process.send_signal(number)
        process.wait(STOP_S)
        del self._running[name]  # not before: `close` must know whoever does not end

    def running(self, name: str) -> bool:
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def wait(self, name: str, seconds: float) -> int:
        """Wait until a process ends by itself; its exit code."""
        code = self._running[name].wait(seconds)
        del self._running[name]
        return code

    def last_words(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def close(self) -> None:
        """End everything: boxes first, so that they can say goodbye; then by force."""
        names = sorted(self._running, key=lambda name: name == "coordinator")
        for name in names:
            self._running[name].terminate()
        for name in names:
            process = self._running.pop(name)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, name: str, module: str, words: list[str]) -> "subprocess.Popen[bytes]":
        self.home.mkdir(parents=True, exist_ok=True)
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith("QFLEET_") or k in KEPT
        }
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.before.get(name, ()), sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._running[name] = process
        return process


def cpu_seconds() -> float:
    """CPU of this process and of all its ended descendants."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
