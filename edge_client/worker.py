"""The child process that trains: its memory goes back when it ends, and it may be killed.

Requests and results are length-prefixed MessagePack on its standard streams. It stays warm for a
while, because the next round often follows soon, and then ends by itself.
"""

import logging
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from edge_client.requests import Assignment, Broken, Finding, Inspection, Request, Result
from proto.errors import LocalError

LENGTH = struct.Struct(">I")
MAX_MESSAGE = 64 * 1024 * 1024
Child = subprocess.Popen[bytes]
Letters = queue.SimpleQueue[bytes]
Deliver = Callable[[Result], None]
logger = logging.getLogger("edge_client")


class Worker:
    """Starts the child when there is work. Results come by `deliver`, from another thread."""

    def __init__(self, deliver: Deliver, linger: float) -> None:
        self._deliver = deliver
        self._linger = linger
        self._child: Child | None = None
        self._letters: Letters = queue.SimpleQueue()
        self._waiting: list[Request] = []
        self._retried: set[bytes] = set()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def submit(self, request: Request) -> None:
        """Hand a request over; its result comes by `deliver`, also when the child dies."""
        with self._lock:
            self._rest()
            self._waiting.append(request)
            if self._child is None:
                self._start()
            self._letters.put(msgspec.msgpack.encode(request))

    def cancel(self) -> None:
        """Kill the child and forget what it had; nothing is delivered for it."""
        with self._lock:
            self._waiting = [r for r in self._waiting if isinstance(r, Inspection)]
            again, child = list(self._waiting), self._child
            self._waiting.clear()
            self._child = None
        if child is not None:
            child.kill()
            child.wait()
        for request in again:
            self.submit(request)

    def close(self) -> None:
        with self._lock:
            self._rest()
            self._waiting.clear()
            child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()

    def _start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge_client.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        # A pipe holds 64 KiB: a child that is busy or paused must not hold up who serves the link.
        self._letters = queue.SimpleQueue()
        for work in (self._read, _feed):
            ends = (self._child, self._letters)
            threading.Thread(target=work, args=ends, daemon=True).start()

    def _read(self, child: Child, letters: Letters) -> None:
        while data := read(_stream(child.stdout)):
            result: Result = msgspec.msgpack.decode(data, type=Result)
            with self._lock:
                current = child is self._child
                if current and self._waiting:
                    self._waiting.pop(0)
                if current and not self._waiting:
                    self._rest()
                    self._timer = threading.Timer(self._linger, self._dismiss, (child,))
                    self._timer.daemon = True
                    self._timer.start()
            if current:
                self._deliver(result)
        self._ended(child, letters)

    def _ended(self, child: Child, letters: Letters) -> None:
        code = child.wait()
        _stream(child.stdout).close()
        letters.put(b"")
        with self._lock:
            if child is not self._child:
                return
            self._child = None
            cut_short, self._waiting = self._waiting, []
        for request in cut_short:
            if isinstance(request, Inspection) and request.task not in self._retried:
                self._retried.add(request.task)  # once: it may not have been its fault
                self.submit(request)
            else:
                self._deliver(lost(request, code))

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _dismiss(self, child: Child) -> None:
        """End an idle child: it leaves when its input closes."""
        with self._lock:
            if child is not self._child or self._waiting:
                return
            self._letters.put(b"")
            self._child = None


def _feed(child: Child, letters: Letters) -> None:
    """Write what is put until an empty letter, then close the pipe: the child leaves."""
    stream = _stream(child.stdin)
    try:
        while data := letters.get():
            write(stream, data)
    except OSError:
        logger.debug("the pipe to the training process broke; its reader tells")
    finally:
        with suppress(OSError):  # what the child never read
            stream.close()


def lost(request: Request, code: int) -> Result:
    """What becomes of a request whose training process ended with this code."""
    why = f"the training process ended with code {code}"
    if code == -signal.SIGKILL:
        why = "the training process was killed; perhaps this box ran out of memory"
    if isinstance(request, Inspection):
        return Finding(request.task, 0, why)
    assert isinstance(request, Assignment)
    return Broken(request.offer.turn, why)


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def write(stream: IO[bytes], data: bytes) -> None:
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def read(stream: IO[bytes]) -> bytes:
    """One message; empty at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return b""
    (length,) = LENGTH.unpack(head)
    if length > MAX_MESSAGE:
        raise LocalError(f"a request of {length} bytes")
    data = stream.read(length)
    return data if len(data) == length else b""


def main() -> None:
    """Serve requests until the input closes. Only here are numpy and the engine loaded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent decides when we end
    # Where memory runs out it is the training that dies, not the agent that would tell of it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    requests, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing a library prints may get between the results
    # What long jobs tell, and nothing of what libraries tell, goes to the agent's log.
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(told)
    logger.setLevel(logging.INFO)
    from edge_client.labour import carry_out  # noqa: PLC0415 - heavy, for the child alone

    while data := read(requests):
        request: Request = msgspec.msgpack.decode(data, type=Request)
        write(results, msgspec.msgpack.encode(carry_out(request)))


if __name__ == "__main__":
    main()
