"""Everything the coordinator must not forget; the only module with queries.

All writing happens inside `with store.unit():`, one transaction. What must leave the process (an
ack, an offer) is sent only after the unit has committed.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator.jobstate import JobState
from coordinator.schema import (
    boxes,
    enlistments,
    jobs,
    log,
    meta,
    migrate,
    models,
    rounds,
    tokens,
    updates,
)
from proto.errors import StorageError

Row = sa.Row[Any]

# Built once: the hot statements, some for each update or round. `_run` compiles them once, too.
_ADD_UPDATE = upsert(updates).on_conflict_do_nothing()
_SET_FACT = upsert(meta).values(name=sa.bindparam("name"), value=sa.bindparam("value"))
_SET_FACT = _SET_FACT.on_conflict_do_update(["name"], set_={"value": _SET_FACT.excluded.value})
_SAY = log.insert().values(
    at=sa.bindparam("at"), job=sa.bindparam("job"), text=sa.bindparam("text")
)
_COUNT_BYTES = (
    rounds.update()
    .where(rounds.c.turn == sa.bindparam("turn_"))
    .values(
        bytes_up=rounds.c.bytes_up + sa.bindparam("up"),
        bytes_down=rounds.c.bytes_down + sa.bindparam("down"),
    )
)
_DROP_PAYLOADS = (
    updates.update().where(updates.c.turn == sa.bindparam("turn_")).values(payload=sa.null())
)
_SAVE_BOARD = (
    boxes.update()
    .where(boxes.c.id == sa.bindparam("id_"))
    .values(seen=sa.bindparam("seen"), resources=sa.bindparam("resources"))
)
_SAVE_STATE = (
    jobs.update()
    .where(jobs.c.id == sa.bindparam("id_"))
    .values(phase=sa.bindparam("phase"), state=sa.bindparam("state"))
)


class Store:
    """One database. SQLite in WAL mode, every commit on disk before it returns."""

    def __init__(self, path: Path) -> None:
        self._inside = False
        self._compiled: dict[int, tuple[str, tuple[str, ...]]] = {}
        try:
            path.touch(mode=0o600)
            self._engine = sa.create_engine(f"sqlite:///{path}")
            sa.event.listen(self._engine, "connect", _prepare)
            sa.event.listen(self._engine, "begin", _begin)
            self._connection = self._engine.connect()
            with self.unit():
                migrate(self._connection)
        except (OSError, sa.exc.DBAPIError) as error:
            raise StorageError(f"cannot open the store {path}: {error}") from None
        self._path = path

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
            yield
            # The transaction began with its first statement; without one there is nothing to do.
            if self._connection.in_transaction():
                self._connection.commit()
        except sa.exc.OperationalError as error:
            raise StorageError(f"the store cannot be written: {error.orig}") from None
        finally:
            self._inside = False
            if self._connection.in_transaction():
                self._connection.rollback()

    def changes(self) -> int:
        """A number that differs once another process has written; free of locks and waits."""
        return int(self._raw.execute("PRAGMA data_version").fetchone()[0])

    def copy_to(self, path: Path) -> None:
        """A consistent copy, taken while the store is in use."""
        try:
            path.unlink(missing_ok=True)
            self._raw.execute("VACUUM INTO ?", (str(path),))
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot write {path}: {error}") from None
        path.chmod(0o600)

    def _all(self, query: sa.Select[Any]) -> list[Row]:
        with self.unit():
            return list(self._connection.execute(query))

    def _one(self, query: sa.Select[Any]) -> Row | None:
        with self.unit():
            return self._connection.execute(query).first()

    def _do(self, change: sa.Executable, values: Mapping[str, object] | None = None) -> int:
        with self.unit():
            return int(self._connection.execute(change, values).rowcount)

    def _run(self, change: sa.Executable, values: Mapping[str, object]) -> int:
        """`_do` for a hot statement: compiled once, and straight to the driver.

        SQLAlchemy's own way there costs several times what SQLite does with it.
        """
        text, names = self._compiled.get(id(change)) or self._compile(change)
        with self.unit():
            if not self._connection.in_transaction():
                self._connection.begin()
            cursor = self._raw.cursor()
            try:
                cursor.execute(text, tuple(values[name] for name in names))
                return int(cursor.rowcount)
            except sqlite3.OperationalError as error:
                raise StorageError(f"the store cannot be written: {error}") from None
            finally:
                cursor.close()

    def _compile(self, change: Any) -> tuple[str, tuple[str, ...]]:
        compiled = change.compile(dialect=self._engine.dialect)
        self._compiled[id(change)] = str(compiled), tuple(compiled.positiontup or ())
        return self._compiled[id(change)]

    @property
    def _raw(self) -> Any:
        """The driver's own connection, the one all statements of this store go through."""
        return self._connection.connection.driver_connection

    # --- small facts ---

    def fact(self, name: str) -> bytes | None:
        row = self._one(sa.select(meta.c.value).where(meta.c.name == name))
        return None if row is None else row[0]

    def set_fact(self, name: str, value: bytes) -> None:
        self._run(_SET_FACT, {"name": name, "value": value})

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
        """What boxes last said of their boards: mappings of id_, seen, resources."""
        with self.unit():
            self._connection.execute(_SAVE_BOARD, boards)

    def all_offline(self) -> None:
        self._do(boxes.update().values(online=False))

    # --- updates ---

    def add_update(self, values: Mapping[str, object]) -> bool:
        """Keep an update and its replay mark; False when its id, box or frame is there already."""
        return self._run(_ADD_UPDATE, values) == 1

    def knows_update(self, id_: bytes) -> bool:
        return self._one(sa.select(updates.c.turn).where(updates.c.id == id_)) is not None

    def senders(self, turn: int) -> list[str]:
        """Boxes whose update of this turn is here."""
        query = sa.select(updates.c.box).where(updates.c.turn == turn)
        return [row.box for row in self._all(query)]

    def updates(self, turn: int) -> Iterator[Row]:
        """A round's updates, one at a time."""
        query = sa.select(updates).where(updates.c.turn == turn, updates.c.payload.is_not(None))
        yield from self._connection.execute(query.order_by(updates.c.box))

    def drop_payloads(self, turn: int) -> int:
        """Forget what updates held, not that they came."""
        return self._run(_DROP_PAYLOADS, {"turn_": turn})

    def last_turns(self, job: str) -> dict[str, int]:
        """The latest counted training turn of each box."""
        return {str(row.box): int(row.latest) for row in self._all(_last_trained(job))}

    def last_metrics(self, job: str) -> list[Row]:
        """Each box's metrics of its latest counted training turn."""
        last = _last_trained(job).subquery()
        same = (updates.c.turn == last.c.latest) & (updates.c.box == last.c.box)
        return self._all(sa.select(updates.c.box, updates.c.metrics).join(last, same))

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
        self._run(_SAVE_STATE, {"id_": state.job, **packed})

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
        self._do(rounds.insert(), values)

    def change_round(self, turn: int, **values: object) -> None:
        self._do(rounds.update().where(rounds.c.turn == turn).values(**values))

    def count_bytes(self, turn: int, up: int, down: int) -> None:
        self._run(_COUNT_BYTES, {"turn_": turn, "up": up, "down": down})

    def rounds(self, job: str, after: int = 0) -> list[Row]:
        """A job's rounds above a turn, in order."""
        query = sa.select(rounds).where(rounds.c.job == job, rounds.c.turn > after)
        return self._all(query.order_by(rounds.c.turn))

    def metrics(self, turn: int) -> list[Row]:
        query = sa.select(updates.c.box, updates.c.rows, updates.c.metrics, updates.c.received)
        return self._all(query.where(updates.c.turn == turn).order_by(updates.c.box))

    def save_model(self, values: Mapping[str, object]) -> None:
        change = upsert(models).values(**values)
        self._do(change.on_conflict_do_update(["digest", "job"], set_={"turn": values["turn"]}))

    def model(self, job: str, kind: str) -> Row | None:
        """The newest "model" or "features" of a job, or its aggregation's "server" state."""
        query = sa.select(models).where(models.c.job == job, models.c.kind == kind)
        return self._one(query.order_by(models.c.turn.desc()).limit(1))

    def model_history(self, job: str) -> list[Row]:
        query = sa.select(models).where(models.c.job == job, models.c.kind == "model")
        return self._all(query.order_by(models.c.turn))

    # --- what happened ---

    def say(self, at: float, job: str, text: str) -> None:
        self._run(_SAY, {"at": at, "job": job, "text": text[:500]})

    def said(self, job: str, after: int) -> list[Row]:
        query = sa.select(log).where(log.c.id > after)
        query = query.where(log.c.job == job) if job else query
        return self._all(query.order_by(log.c.id))


def _last_trained(job: str) -> sa.Select[Any]:
    """Each box of a job, and the `latest` training turn of it that counted."""
    return (
        sa.select(updates.c.box, sa.func.max(updates.c.turn).label("latest"))
        .join(rounds, rounds.c.turn == updates.c.turn)
        .where(rounds.c.job == job, rounds.c.kind == 1, rounds.c.outcome == "done")
        .group_by(updates.c.box)
    )


def _prepare(connection: Any, _record: object) -> None:
    # The driver's own transaction handling would commit behind our back; `_begin` does it openly.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    # Immediate: a reader that turns writer half-way could not wait for its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
