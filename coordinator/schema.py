"""The coordinator's tables, and the ordered steps that make or bring them up to date."""

from collections.abc import Callable

import sqlalchemy as sa

metadata = sa.MetaData()
_moment = sa.Float  # seconds since 1970

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("verifier", sa.LargeBinary, nullable=False),
    sa.Column("box", sa.String(32), nullable=False),
    sa.Column("expires", _moment, nullable=False),
    sa.Column("account", sa.String(200), nullable=False),
    sa.Column("used_by", sa.LargeBinary),
    sa.Column("used_as", sa.String(32)),
)
boxes = sa.Table(
    "boxes",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("joined", _moment, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False, default=False),
    sa.Column("account", sa.String(200), nullable=False),
    sa.Column("online", sa.Boolean, nullable=False, default=False),
    sa.Column("seen", _moment),
    sa.Column("resources", sa.LargeBinary),
    sa.Column("release", sa.String(32)),
)
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("created", _moment, nullable=False),
    sa.Column("task", sa.LargeBinary, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("asked", sa.String(16), nullable=False, default=""),
)
enlistments = sa.Table(
    "enlistments",
    metadata,
    sa.Column("job", sa.String(32), primary_key=True),
    sa.Column("box", sa.String(32), primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("reason", sa.String(200), nullable=False),
)
rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("turn", sa.BigInteger, primary_key=True),
    sa.Column("job", sa.String(32), nullable=False, index=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("kind", sa.Integer, nullable=False),
    sa.Column("opened", _moment, nullable=False),
    sa.Column("closed", _moment),
    sa.Column("outcome", sa.String(16), nullable=False, default="open"),
    sa.Column("plan", sa.LargeBinary, nullable=False),
    sa.Column("included", sa.Integer, nullable=False, default=0),
    sa.Column("result", sa.LargeBinary),
    sa.Column("start", sa.LargeBinary),
    sa.Column("model", sa.LargeBinary),
    sa.Column("bytes_up", sa.BigInteger, nullable=False, default=0),
    sa.Column("bytes_down", sa.BigInteger, nullable=False, default=0),
)
updates = sa.Table(
    "updates",
    metadata,
    sa.Column("id", sa.LargeBinary, primary_key=True),
    # The turn it is counted in, and the one it was made for: the same in synchronous rounds.
    sa.Column("turn", sa.BigInteger, nullable=False),
    sa.Column("made", sa.BigInteger, nullable=False),
    sa.Column("asked", _moment),
    sa.Column("stale", sa.Integer, nullable=False),
    sa.Column("box", sa.String(32), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("metrics", sa.LargeBinary),
    sa.Column("received", _moment, nullable=False),
    sa.Column("epoch", sa.LargeBinary, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("turn", "box"),
    # The replay mark: a frame that was taken can never be taken again, whatever memory forgot.
    sa.UniqueConstraint("epoch", "sequence"),
)
models = sa.Table(
    "models",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("job", sa.String(32), primary_key=True),
    sa.Column("turn", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
log = sa.Table(
    "log",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", _moment, nullable=False),
    sa.Column("job", sa.String(32), nullable=False),
    sa.Column("text", sa.String(500), nullable=False),
)
_applied = sa.Table("migrations", metadata, sa.Column("name", sa.String(64), primary_key=True))


def _first(connection: sa.Connection) -> None:
    # Until the first release; the first change after it gives this step tables of its own.
    metadata.create_all(connection)


MIGRATIONS: tuple[tuple[str, Callable[[sa.Connection], None]], ...] = (("0001-first", _first),)
"""In order; each runs once, in a transaction, and is then never changed."""


class OtherVersion(Exception):
    """A store that this one cannot go on with; its text says what that has or has not."""


def migrate(connection: sa.Connection) -> list[str]:
    """Run what is missing; the names of what was run. The first step may find a bare database.

    Raises OtherVersion, after which all that was run here is to be undone.
    """
    _applied.create(connection, checkfirst=True)
    done = set(connection.scalars(sa.select(_applied.c.name)))
    if newer := sorted(done - {name for name, _ in MIGRATIONS}):
        raise OtherVersion(f"had the change {', '.join(newer)}")
    ran = []
    for name, change in MIGRATIONS:
        if name not in done:
            change(connection)
            connection.execute(_applied.insert().values(name=name))
            ran.append(name)
    if absent := _missing(connection):
        raise OtherVersion(f"no {', '.join(absent)}")
    return ran


def _missing(connection: sa.Connection) -> list[str]:
    """Columns that are not there."""
    found = []
    for table in metadata.tables.values():
        told = connection.execute(sa.text(f'PRAGMA table_info("{table.name}")'))
        there = {row.name for row in told}
        found += [f"{table.name}.{column.name}" for column in table.c if column.name not in there]
    return found
