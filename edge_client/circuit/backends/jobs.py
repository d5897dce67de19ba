"""Jobs on a machine: counted, within the budget, kept when finished, tried again when they fail."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edge_client.circuit.backends.checkpoint import Checkpoint
from edge_client.circuit.backends.machine import Float64s, JobFailed, Machine, Measured

PAUSES = (2.0, 8.0, 30.0, 120.0)
"""Seconds before a failed job is tried again; after the last the round is given up."""

logger = logging.getLogger("edge_client")


class Spent(NamedTuple):
    """What jobs took: those run here (not taken from the journal), and seconds of each kind."""

    jobs: int = 0
    shots: int = 0
    queued: float = 0.0
    ran: float = 0.0


class Jobs:
    """Runs jobs of one round one after the other; `shots` counts what its results took.

    `spent` is what was run and paid for now, without what a resumed round finds in the journal.
    """

    def __init__(
        self,
        machine: Machine,
        shots: int,
        checkpoint: Checkpoint,
        seed: int = 0,
        *,
        pauses: Sequence[float] = PAUSES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._machine = machine
        self._per_point = shots
        self._checkpoint = checkpoint
        self._seed = seed
        self._pauses = pauses
        self._sleep = sleep
        self._number = 0
        self.shots = 0
        self.spent = Spent()

    def run(self, angles: Float64s) -> Float64s:
        """All points of one step in one job: (..., angles) to values (..., observables).

        Raises BudgetSpent, and JobFailed when no try gave a result.
        """
        points = np.ascontiguousarray(angles.reshape(-1, angles.shape[-1]))
        self._number += 1
        key = self._key(points)
        self.shots += len(points) * self._per_point
        values = self._checkpoint.find(key)
        if values is None:
            values = self._measure(points, int.from_bytes(key[:4], "big"))
            self._checkpoint.keep(key, values)
        return values.reshape(*angles.shape[:-1], -1)

    def _key(self, points: Float64s) -> bytes:
        """Of all that a result depends on; `number` keeps the draws of equal jobs apart."""
        digest = hashlib.sha256(f"{self._seed}/{self._number}/{self._per_point}/".encode())
        digest.update(points.tobytes())
        return digest.digest()[:16]

    def _measure(self, points: Float64s, seed: int) -> Float64s:
        for attempt, pause in enumerate((*self._pauses, None), 1):
            # A try whose result never came may have been run, and paid for, all the same.
            self._checkpoint.spend(len(points) * self._per_point)
            try:
                done = self._machine(points, self._per_point, seed % 2**31)
            except JobFailed as error:
                if pause is None:
                    raise
                text = "job %d failed (try %d), again in %.0f s: %s"
                logger.warning(text, self._number, attempt, pause, error)
                self._sleep(pause)
            else:
                self._tell(len(points), done)
                # As a resumed round will read them: its steps are then the same to the bit.
                return done.values.astype(np.float32).astype(np.float64)
        raise AssertionError("unreachable")

    def tell_all(self) -> None:
        """The round's jobs in one line of the log."""
        jobs, shots, queued, ran = self.spent
        text = "%d jobs, %d shots; %.1f s in the queue, %.2f s running; %d from the journal"
        logger.info(text, jobs, shots, queued, ran, self._number - jobs)

    def _tell(self, points: int, done: Measured) -> None:
        jobs, shots, queued, ran = self.spent
        took = points * self._per_point
        self.spent = Spent(jobs + 1, shots + took, queued + done.queued, ran + done.ran)
        logger.info(
            "job %d: %d points, %d shots each; %.1f s in the queue, %.2f s running",
            self._number,
            points,
            self._per_point,
            done.queued,
            done.ran,
        )
