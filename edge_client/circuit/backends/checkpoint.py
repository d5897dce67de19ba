"""What jobs gave and what they cost, on disk: a box that was killed repeats no finished job.

Training is the same whenever it runs from the same start, so results are enough to resume it: it
runs again, and each job it asks for is answered from here as far as the journal goes.
"""

from pathlib import Path

import numpy as np
from msgspec import Struct, msgpack

from edge_client.circuit.backends.machine import Float64s
from edge_client.journal import Journal
from proto.errors import LocalError

PIECE = 128 * 1024
"""Bytes of a result in one record."""


class _Spent(Struct, frozen=True, array_like=True, tag=1):
    """The job's shots in all, written before they are spent: a crash must not forget them."""

    shots: int


class _Piece(Struct, frozen=True, array_like=True, tag=2):
    """A part of a job's values, float32; `left` parts follow."""

    key: bytes
    points: int
    left: int
    data: bytes


class BudgetSpent(LocalError):
    """The shots this box may spend on a job are used up."""


class Checkpoint:
    """One task's journal on this box, or memory alone where `path` is None.

    turn: names the present round; what other rounds left is dropped, but not what they cost.
    """

    def __init__(self, path: Path | None, turn: bytes, budget: int) -> None:
        self._budget = budget
        self._turn = turn
        self._spent = 0
        self._known: dict[bytes, Float64s] = {}
        self._journal = Journal(path) if path else None
        if self._journal:
            self._replay(self._journal)

    def find(self, key: bytes) -> Float64s | None:
        """Values (points, observables) of a finished job of this turn."""
        return self._known.get(self._turn + key)

    def spend(self, shots: int) -> None:
        """Raises BudgetSpent, and spends nothing, where the budget has no room for them."""
        if self._budget and self._spent + shots > self._budget:
            raise BudgetSpent(
                f"the shot budget is used up: {self._spent} of {self._budget} shots are spent and "
                f"the next job needs {shots}; raise model.shot_budget in a new job"
            )
        self._spent += shots
        if shots:
            self._write(_Spent(self._spent))

    def keep(self, key: bytes, values: Float64s) -> None:
        """Remember a finished job."""
        self._known[self._turn + key] = values
        data = values.astype(np.float32).tobytes()
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        for number, piece in enumerate(pieces, 1):
            left = len(pieces) - number
            self._write(_Piece(self._turn + key, len(values), left, piece))

    def close(self) -> None:
        if self._journal:
            self._journal.close()

    def _write(self, record: _Spent | _Piece) -> None:
        if self._journal:
            self._journal.append(msgpack.encode(record))

    def _replay(self, journal: Journal) -> None:
        begun, stale = b"", False
        kept: list[bytes] = []
        for data in journal.replay():
            record = msgpack.decode(data, type=_Spent | _Piece)
            if isinstance(record, _Spent):
                self._spent = record.shots
                continue
            if not record.key.startswith(self._turn):
                stale = True
                continue
            kept.append(data)
            begun += record.data
            if not record.left:
                values = np.frombuffer(begun, np.float32).reshape(record.points, -1)
                self._known[record.key], begun = values.astype(np.float64), b""
        if stale:
            journal.rewrite([msgpack.encode(_Spent(self._spent)), *kept])
