"""Everything the coordinator must not forget; with `statements.py` all there is of queries.

All writing happens inside `with store.unit():`, one transaction. What must leave the process (an
ack, an offer) is sent only after the unit has committed.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import asdict
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator import statements
from coordinator.jobstate import JobState
from coordinator.schema import (
    OtherVersion,
    boxes,
    enlistments,
    jobs,
    log,
    migrate,
    models,
    rounds,
    tokens,
    updates,
)
from coordinator.statements import Statement
from coordinator.updates import Kept
from proto.errors import StorageError
from proto.messages import TRAIN, Metrics

Row = sa.Row[Any]

_metrics: msgspec.msgpack.Decoder[Metrics | None] = msgspec.msgpack.Decoder(Metrics | None)
_BARE_ROUND = {c.name: c.default.arg if c.default else None for c in rounds.c}  # type: ignore[attr-defined]


class Store:
    """One database. SQLite in WAL mode, every commit on disk before it returns."""

    def __init__(self, path: Path) -> None:
        self._inside = False
        self._path = path
        try:
            path.touch(mode=0o600)
            self._engine = sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
            sa.event.listen(self._engine, "connect", _prepare)
            self._connection = self._engine.connect()
            self._driver: sqlite3.Connection = self._connection.connection.driver_connection  # type: ignore[assignment]
            with self.unit():
                self._begin()
                migrate(self._connection)
        except (OSError, sqlite3.Error, sa.exc.DBAPIError) as error:
            raise StorageError(f"cannot open the store {path}: {error}") from None
        except OtherVersion as error:  # nothing of it was changed: the unit was undone
            self.close()
            raise StorageError(
                f"the store {path} was written by another version of Qfleet: it has {error}; go on"
                " with that version, or begin anew in another --home"
            ) from None

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    @contextmanager
    def unit(self) -> Iterator[None]:
        """One transaction: all of it or nothing. Raises StorageError when the disk is full."""
        if self._inside:
            yield
            return
        self._inside = True
        try:
            with _refused(self._path):
                yield
                # The transaction began with its first statement; else there is nothing to do.
                if self._driver.in_transaction:
                    self._driver.commit()
        finally:
            self._inside = False
            if self._driver.in_transaction:
                self._driver.rollback()

    def _begin(self) -> None:
        if not self._driver.in_transaction:
            # Immediate: a reader that turns writer half-way could not wait for its turn.
            self._driver.execute("BEGIN IMMEDIATE")

    def changes(self) -> int:
        """A number that differs once another process has written; free of locks and waits."""
        with _refused(self._path):
            return int(self._driver.execute("PRAGMA data_version").fetchone()[0])

    def copy_to(self, path: Path) -> None:
        """A consistent copy, taken while the store is in use."""
        try:
            path.unlink(missing_ok=True)
            self._driver.execute("VACUUM INTO ?", (str(path),))
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot write {path}: {error}") from None

    def _all(self, query: sa.Select[Any]) -> list[Row]:
        with self.unit():
            self._begin()
            return list(self._connection.execute(query))

    def _one(self, query: sa.Select[Any]) -> Row | None:
        with self.unit():
            self._begin()
            return self._connection.execute(query).first()

    def _do(self, change: sa.Executable) -> int:
        with self.unit():
            self._begin()
            return int(self._connection.execute(change).rowcount)

    def _run(self, change: Statement, values: Mapping[str, object]) -> int:
        """`_do` for a hot statement."""
        if not self._inside:
            with self.unit():
                return self._run(change, values)
        self._begin()
        return change.run(self._driver, values).rowcount

    def _read(self, query: Statement, **values: object) -> list[Any]:
        """`_all` for a hot statement; a list, so that no query is open while the next one runs."""
        if self._inside:
            self._begin()
            return query.rows(self._driver, values)
        with _refused(self._path):
            return query.rows(self._driver, values)

    # --- small facts ---

    def fact(self, name: str) -> bytes | None:
        rows = self._read(statements.FACT, name=name)
        return rows[0].value if rows else None

    def set_fact(self, name: str, value: bytes) -> None:
        self._run(statements.SET_FACT, {"name": name, "value": value})

    def count(self, name: str) -> int:
        """A fact that only rises: a session, a turn, a version. 0 where there is none yet."""
        return int.from_bytes(self.fact(name) or b"", "big")

    def set_count(self, name: str, value: int) -> None:
        self.set_fact(name, value.to_bytes(8, "big"))

    # --- who belongs ---

    def add_token(self, values: Mapping[str, object]) -> None:
        self._do(tokens.insert().values(**values))

    def token(self, token: str) -> Row | None:
        return self._one(sa.select(tokens).where(tokens.c.id == token))

    def open_tokens(self, now: float) -> list[Row]:
        """Tokens that may still be shown, used ones too: a box may ask for its answer again."""
        return self._all(sa.select(tokens).where(tokens.c.expires > now))

    def admit(self, token: str, box: Mapping[str, object]) -> bool:
        """Burn the token and add the box, in one transaction; False when it was burnt already."""
        with self.unit():
            unused = tokens.update().where(tokens.c.id == token, tokens.c.used_by.is_(None))
            if not self._do(unused.values(used_by=box["key"], used_as=box["id"])):
                return False
            self._do(boxes.insert().values(**box))
        return True

    def box(self, box: str) -> Row | None:
        return self._one(sa.select(boxes).where(boxes.c.id == box))

    def members(self) -> list[Row]:
        return self._all(sa.select(boxes).order_by(boxes.c.id))

    def change_box(self, box: str, **values: object) -> int:
        return self._do(boxes.update().where(boxes.c.id == box).values(**values))

    def save_boards(self, boards: Sequence[Mapping[str, object]]) -> None:
        """What boxes last said of their boards: mappings of `of` (the box), seen, resources."""
        with self.unit():
            for board in boards:
                self._run(statements.SAVE_BOARD, board)

    def all_offline(self) -> None:
        self._do(boxes.update().values(online=False))

    # --- updates ---

    def add_update(self, update: Kept) -> bool:
        """Keep an update and its replay mark; False when its id, box or frame is there already."""
        packed = msgspec.msgpack.encode(update.metrics)
        return self._run(statements.ADD_UPDATE, {**asdict(update), "metrics": packed}) == 1

    def knows_update(self, id_: bytes) -> bool:
        return self._one(sa.select(updates.c.turn).where(updates.c.id == id_)) is not None

    def senders(self, turn: int) -> list[str]:
        """Boxes whose update is counted in this turn."""
        query = sa.select(updates.c.box).where(updates.c.turn == turn)
        return [row.box for row in self._all(query)]

    def answered(self, turn: int) -> list[str]:
        """Boxes that delivered what this turn asked of them, in whichever turn it is counted."""
        query = sa.select(updates.c.box).where(updates.c.made == turn)
        return [row.box for row in self._all(query)]

    @contextmanager
    def updates(self, turn: int) -> Iterator[Iterator[Kept]]:
        """A round's updates, one at a time; the query ends with the block."""
        with self.unit():
            self._begin()
            with closing(statements.UPDATES.run(self._driver, {"turn": turn})) as cursor:
                yield (Kept(**_told(row)._asdict()) for row in statements.UPDATES.named(cursor))

    def drop_payloads(self, turn: int) -> int:
        """Forget what updates held, not that they came."""
        return self._run(statements.DROP_PAYLOADS, {"of": turn})

    def last_metrics(self, job: str) -> dict[str, Metrics | None]:
        """Each box's metrics of its latest counted training turn."""
        last = _last_trained(job).subquery()
        same = (updates.c.turn == last.c.latest) & (updates.c.box == last.c.box)
        rows = self._all(sa.select(updates.c.box, updates.c.metrics).join(last, same))
        return {row.box: _metrics.decode(row.metrics) for row in rows}

    # --- jobs ---

    def add_job(self, values: Mapping[str, object], state: JobState) -> None:
        packed = {"phase": state.phase.value, "state": msgspec.json.encode(state)}
        self._do(jobs.insert().values(**values, **packed, asked=""))

    def job(self, job: str) -> Row | None:
        return self._one(sa.select(jobs).where(jobs.c.id == job))

    def jobs(self) -> list[Row]:
        return self._all(sa.select(jobs).order_by(jobs.c.created, jobs.c.id))

    def save_state(self, state: JobState) -> None:
        packed = {"phase": state.phase.value, "state": msgspec.json.encode(state)}
        self._run(statements.SAVE_STATE, {"of": state.job, **packed})

    def change_job(self, job: str, **values: object) -> int:
        """`asked` is how another process asks for something: "stop" or "resume"."""
        return self._do(jobs.update().where(jobs.c.id == job).values(**values))

    def enlist(self, job: str, box: str, rows: int, reason: str) -> None:
        values = {"rows": rows, "reason": reason}
        change = upsert(enlistments).values(job=job, box=box, **values)
        self._do(change.on_conflict_do_update(["job", "box"], set_=values))

    def enlisted(self, job: str) -> list[Row]:
        return self._all(sa.select(enlistments).where(enlistments.c.job == job))

    # --- rounds and models ---

    def open_round(self, values: Mapping[str, object]) -> None:
        self._run(statements.OPEN_ROUND, {**_BARE_ROUND, **values})

    def change_round(self, turn: int, **values: object) -> None:
        self._run(statements.changing(rounds, "turn", tuple(values)), {"of": turn, **values})

    def count_bytes(self, turn: int, up: int, down: int) -> None:
        self._run(statements.COUNT_BYTES, {"of": turn, "up": up, "down": down})

    def rounds(self, job: str, after: int = 0) -> list[Row]:
        """A job's rounds above a turn, in order."""
        return self._read(statements.ROUNDS, job=job, after=after)

    def round_of(self, turn: int) -> Row | None:
        return self._one(sa.select(rounds).where(rounds.c.turn == turn))

    def metrics(self, turn: int) -> list[Any]:
        """What a turn's updates told, and when they came, in the order of their boxes."""
        return [_told(row) for row in self._read(statements.METRICS, turn=turn)]

    def save_model(self, values: Mapping[str, object]) -> None:
        self._run(statements.SAVE_MODEL, values)

    def model(self, job: str, kind: str) -> Row | None:
        """The newest "model" or "features" of a job, or its aggregation's "server" state."""
        return next(iter(self._read(statements.MODEL, job=job, kind=kind)), None)

    def model_of(self, job: str, digest: bytes) -> Row | None:
        query = sa.select(models).where(models.c.job == job, models.c.digest == digest)
        return self._one(query)

    def model_history(self, job: str) -> list[Row]:
        query = sa.select(models).where(models.c.job == job, models.c.kind == "model")
        return self._all(query.order_by(models.c.turn))

    # --- what happened ---

    def say(self, at: float, job: str, text: str) -> None:
        self._run(statements.SAY, {"at": at, "job": job, "text": text[:500]})

    def said(self, job: str, after: int) -> list[Row]:
        query = sa.select(log).where(log.c.id > after)
        query = query.where(log.c.job == job) if job else query
        return self._all(query.order_by(log.c.id))


def _last_trained(job: str) -> sa.Select[Any]:
    """Each box of a job, and the `latest` training turn of it that counted."""
    return (
        sa.select(updates.c.box, sa.func.max(updates.c.turn).label("latest"))
        .join(rounds, rounds.c.turn == updates.c.turn)
        .where(rounds.c.job == job, rounds.c.kind == TRAIN, rounds.c.outcome == "done")
        .group_by(updates.c.box)
    )


def _told(row: Any) -> Any:
    """A row of an update with its metrics read."""
    return row._replace(metrics=_metrics.decode(row.metrics))


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """What the disk or the driver refuses, said as StorageError. A broken rule is our own fault."""
    try:
        yield
    except (sqlite3.IntegrityError, sa.exc.IntegrityError):
        raise
    except (sqlite3.Error, sa.exc.DBAPIError) as error:
        raise StorageError(f"{path} cannot be used: {getattr(error, 'orig', error)}") from None


def _prepare(connection: Any, _record: object) -> None:
    # The driver's own transaction handling would commit behind our back; `unit` does it openly.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}").close()
