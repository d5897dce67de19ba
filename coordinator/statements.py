"""The store's hot statements: written with SQLAlchemy, compiled once, run by the driver itself.

Some run for each update. SQLAlchemy's own way to the driver costs several times what SQLite does.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator.schema import boxes, jobs, log, meta, models, rounds, updates

_DIALECT = sqlite.dialect()


class Statement:
    """SQL text, the order of its parameters and, of a query, rows with its columns' names.

    Columns must be of types the driver gives back as they are: no booleans in a query.
    """

    def __init__(self, statement: Any) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._text, self._names = str(compiled), tuple(compiled.positiontup or ())
        columns = [c.name for c in statement.selected_columns] if statement.is_select else []
        self._make = _maker(columns)

    def run(self, driver: sqlite3.Connection, values: Mapping[str, object]) -> sqlite3.Cursor:
        """Every parameter has its value by name; others are of no account."""
        return driver.execute(self._text, [values[name] for name in self._names])

    def rows(self, driver: sqlite3.Connection, values: Mapping[str, object]) -> list[Any]:
        return list(self.named(self.run(driver, values)))

    def named(self, cursor: sqlite3.Cursor) -> Iterator[Any]:
        """A query's rows, one at a time, as they are asked for."""
        return map(self._make, cursor)


def _maker(columns: list[str]) -> Callable[[Iterable[Any]], Any]:
    row = namedtuple("Row", columns)  # type: ignore[misc]  # noqa: PYI024 - known only now
    return row._make


def _given(*columns: sa.Column[Any]) -> dict[str, sa.BindParameter[Any]]:
    """Each column's value is a parameter of its name."""
    return {column.name: sa.bindparam(column.name) for column in columns}


def _upsert(table: sa.Table, change: str) -> Statement:
    """Insert a row, or change this one column of the row that has its key."""
    given, keys = upsert(table).values(_given(*table.c)), list(table.primary_key)
    return Statement(given.on_conflict_do_update(keys, set_={change: given.excluded[change]}))


def _newest() -> Statement:
    query = sa.select(models).where(
        models.c.job == sa.bindparam("job"), models.c.kind == sa.bindparam("kind")
    )
    # A `limit` would bring parameters of its own.
    return Statement(query.order_by(models.c.turn.desc()).suffix_with("LIMIT 1"))


@lru_cache
def changing(table: sa.Table, key: str, names: tuple[str, ...]) -> Statement:
    """Change these columns of the row whose `key` is the parameter `of`."""
    row = table.c[key] == sa.bindparam("of")
    return Statement(table.update().where(row).values(_given(*(table.c[n] for n in names))))


_turn = updates.c.turn == sa.bindparam("turn")

FACT = Statement(sa.select(meta.c.value).where(meta.c.name == sa.bindparam("name")))
SET_FACT = _upsert(meta, "value")
SAY = Statement(log.insert().values(_given(log.c.at, log.c.job, log.c.text)))
ADD_UPDATE = Statement(upsert(updates).values(_given(*updates.c)).on_conflict_do_nothing())
UPDATES = Statement(
    sa.select(updates).where(_turn, updates.c.payload.is_not(None)).order_by(updates.c.box)
)
METRICS = Statement(
    sa.select(
        updates.c.box,
        updates.c.rows,
        updates.c.metrics,
        updates.c.received,
        updates.c.made,
        updates.c.asked,
    )
    .where(_turn)
    .order_by(updates.c.box)
)
DROP_PAYLOADS = Statement(
    updates.update().where(updates.c.turn == sa.bindparam("of")).values(payload=sa.null())
)
OPEN_ROUND = Statement(rounds.insert().values(_given(*rounds.c)))
ROUNDS = Statement(
    sa.select(rounds)
    .where(rounds.c.job == sa.bindparam("job"), rounds.c.turn > sa.bindparam("after"))
    .order_by(rounds.c.turn)
)
COUNT_BYTES = Statement(
    rounds.update()
    .where(rounds.c.turn == sa.bindparam("of"))
    .values(
        bytes_up=rounds.c.bytes_up + sa.bindparam("up"),
        bytes_down=rounds.c.bytes_down + sa.bindparam("down"),
    )
)
SAVE_MODEL = _upsert(models, "turn")
MODEL = _newest()
SAVE_STATE = changing(jobs, "id", ("phase", "state"))
SAVE_BOARD = changing(boxes, "id", ("seen", "resources"))
