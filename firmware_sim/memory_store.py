"""The coordinator's store in memory, for emulated fleets: what `Store` promises, without a disk.

A transaction cannot fail here, so there is nothing to roll back; what was written outlives the
coordinator that is killed, because the fleet keeps this object. A test runs one fleet on both.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from coordinator.jobstate import JobState
from coordinator.store import Store
from coordinator.updates import Kept
from proto.messages import TRAIN, Metrics


class _JobRow(SimpleNamespace):
    """A job; its state is encoded only when somebody reads it as bytes."""

    value: JobState

    @property
    def state(self) -> bytes:
        return msgspec.json.encode(self.value)

    @property
    def phase(self) -> str:
        return self.value.phase.value


class MemoryStore(Store):
    """Rows in dictionaries, by the same method names."""

    def __init__(self) -> None:
        self._facts: dict[str, bytes] = {}
        self._boxes: dict[str, SimpleNamespace] = {}
        self._jobs: dict[str, _JobRow] = {}
        self._enlisted: dict[tuple[str, str], SimpleNamespace] = {}
        self._rounds: dict[int, SimpleNamespace] = {}
        self._turns: dict[int, dict[str, Kept]] = {}
        self._ids: set[bytes] = set()
        self._frames: set[tuple[bytes, int]] = set()
        self._models: dict[tuple[str, str], list[SimpleNamespace]] = {}
        self._last: dict[str, dict[str, int]] = {}
        self._log: list[SimpleNamespace] = []
        self._changes = 0

    def close(self) -> None:
        """What was written stays."""

    @contextmanager
    def unit(self) -> Iterator[None]:
        yield

    def changes(self) -> int:
        return self._changes

    def touch(self) -> None:
        """Have the coordinator look for what others asked for."""
        self._changes += 1

    def copy_to(self, path: Path) -> None:
        raise NotImplementedError(f"a fleet in memory cannot be copied to {path}")

    # --- small facts ---

    def fact(self, name: str) -> bytes | None:
        return self._facts.get(name)

    def set_fact(self, name: str, value: bytes) -> None:
        self._facts[name] = value

    # --- who belongs ---

    def add_box(self, box: str, key: bytes) -> None:
        """A box that has joined; how it did is not emulated here."""
        self._boxes[box] = SimpleNamespace(
            id=box, key=key, revoked=False, online=False, seen=None, resources=None, release=None
        )

    def box(self, box: str) -> Any:
        return self._boxes.get(box)

    def members(self) -> list[Any]:
        return sorted(self._boxes.values(), key=lambda row: row.id)

    def change_box(self, box: str, **values: object) -> int:
        if (row := self._boxes.get(box)) is None:
            return 0
        row.__dict__.update(values)
        return 1

    def save_boards(self, boards: Sequence[Mapping[str, object]]) -> None:
        for board in boards:
            box = str(board["of"])
            self.change_box(box, seen=board["seen"], resources=board["resources"])

    def all_offline(self) -> None:
        for row in self._boxes.values():
            row.online = False

    # --- updates ---

    def add_update(self, update: Kept) -> bool:
        box, frame = update.box, (update.epoch, update.sequence)
        sent = self._turns.setdefault(update.turn, {})
        if update.id in self._ids or box in sent or frame in self._frames:
            return False
        self._ids.add(update.id)
        self._frames.add(frame)
        sent[box] = update
        return True

    def knows_update(self, id_: bytes) -> bool:
        return id_ in self._ids

    def senders(self, turn: int) -> list[str]:
        return sorted(self._turns.get(turn, ()))

    def answered(self, turn: int) -> list[str]:
        # What a turn asked for is counted in it or in a later one.
        later = [sent for of, sent in self._turns.items() if of >= turn]
        return sorted(box for sent in later for box, row in sent.items() if row.made == turn)

    @contextmanager
    def updates(self, turn: int) -> Iterator[Iterator[Kept]]:
        yield iter([row for row in self.metrics(turn) if row.payload is not None])

    def drop_payloads(self, turn: int) -> int:
        sent = self._turns.get(turn, {})
        for row in sent.values():
            row.payload = None  # type: ignore[assignment]  # as the table has it
        return len(sent)

    def last_metrics(self, job: str) -> dict[str, Metrics | None]:
        last = sorted(self._last.get(job, {}).items())
        return {box: self._turns[turn][box].metrics for box, turn in last}

    # --- jobs ---

    def add_job(self, values: Mapping[str, Any], state: JobState) -> None:
        self._jobs[values["id"]] = _JobRow(**values, value=state, asked="")

    def job(self, job: str) -> Any:
        return self._jobs.get(job)

    def jobs(self) -> list[Any]:
        return sorted(self._jobs.values(), key=lambda row: (row.created, row.id))

    def save_state(self, state: JobState) -> None:
        self._jobs[state.job].value = state

    def change_job(self, job: str, **values: object) -> int:
        self._jobs[job].__dict__.update(values)
        return 1

    def enlist(self, job: str, box: str, rows: int, reason: str) -> None:
        self._enlisted[job, box] = SimpleNamespace(job=job, box=box, rows=rows, reason=reason)

    def enlisted(self, job: str) -> list[Any]:
        return [row for row in self._enlisted.values() if row.job == job]

    # --- rounds and models ---

    def open_round(self, values: Mapping[str, Any]) -> None:
        blank = dict.fromkeys(("closed", "result", "start", "model"))
        row = SimpleNamespace(**blank, outcome="open", included=0, bytes_up=0, bytes_down=0)
        row.__dict__.update(values)
        self._rounds[row.turn] = row

    def change_round(self, turn: int, **values: object) -> None:
        row = self._rounds[turn]
        row.__dict__.update(values)
        if row.kind == TRAIN and values.get("outcome") == "done":
            latest = self._last.setdefault(row.job, {})
            latest.update(dict.fromkeys(self._turns.get(turn, ()), turn))

    def count_bytes(self, turn: int, up: int, down: int) -> None:
        row = self._rounds[turn]
        row.bytes_up += up
        row.bytes_down += down

    def rounds(self, job: str, after: int = 0) -> list[Any]:
        # Turns only rise, so the rounds are in order already; the newest are asked for most.
        found = []
        for turn, row in reversed(self._rounds.items()):
            if turn <= after:
                break
            if row.job == job:
                found.append(row)
        return found[::-1]

    def round_of(self, turn: int) -> Any:
        return self._rounds.get(turn)

    def metrics(self, turn: int) -> list[Kept]:
        sent = self._turns.get(turn, {})
        return [sent[box] for box in sorted(sent)]

    def save_model(self, values: Mapping[str, Any]) -> None:
        kept = self._models.setdefault((values["job"], values["kind"]), [])
        kept[:] = [row for row in kept if row.digest != values["digest"]]
        kept.append(SimpleNamespace(**values))

    def model(self, job: str, kind: str) -> Any:
        kept = self._models.get((job, kind))
        return kept[-1] if kept else None

    def model_of(self, job: str, digest: bytes) -> Any:
        kept = (row for (of, _), rows in self._models.items() for row in rows if of == job)
        return next((row for row in kept if row.digest == digest), None)

    def model_history(self, job: str) -> list[Any]:
        return list(self._models.get((job, "model"), ()))

    # --- what happened ---

    def say(self, at: float, job: str, text: str) -> None:
        self._log.append(SimpleNamespace(id=len(self._log) + 1, at=at, job=job, text=text[:500]))

    def said(self, job: str, after: int) -> list[Any]:
        return [row for row in self._log[after:] if not job or row.job == job]
