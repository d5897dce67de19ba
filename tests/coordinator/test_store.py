"""What the coordinator must not forget, and what it must never write half."""

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from coordinator import schema
from coordinator.jobstate import Phase, Rules, new_job
from coordinator.store import Store
from coordinator.updates import Kept
from proto.errors import StorageError
from proto.messages import Metrics

RULES = Rules(rounds=3, cohort=0, quorum=2, deadline=60.0, gather=5.0, scorer="random", seed=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "qfleet.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


def add_job(store: Store, name: str = "job") -> None:
    values = {"id": name, "created": 1.0, "task": b"task", "key": b"k" * 32}
    store.add_job(values, new_job(name, RULES, moments=False))


def update(turn: int, box: str, **changes) -> Kept:
    base = {
        "id": f"{box}/{turn}".encode(),
        "turn": turn,
        "made": turn,
        "asked": None,
        "stale": 0,
        "box": box,
        "rows": 40,
        "payload": b"payload",
        "metrics": None,
        "received": 1.0,
        "epoch": box.encode(),
        "sequence": turn,
    }
    return Kept(**(base | changes))


def told(steps: int) -> Metrics:
    return Metrics(
        first_loss=1.0,
        last_loss=0.5,
        validation_loss=0.7,
        validation_accuracy=0.8,
        validation_rows=9,
        steps=steps,
    )


def payloads(store: Store, turn: int) -> list[bytes]:
    with store.updates(turn) as rows:
        return [row.payload for row in rows]


def close_round(store: Store, turn: int, outcome: str = "done", kind: int = 1) -> None:
    values = {"turn": turn, "job": "job", "round": turn, "kind": kind, "opened": 1.0, "plan": b""}
    store.open_round(values)
    store.change_round(turn, outcome=outcome)


@contextmanager
def interrupted(store: Store) -> Iterator[None]:
    """A unit of work that fails at its end."""
    with suppress(ZeroDivisionError), store.unit():
        yield
        raise ZeroDivisionError


# --- units of work --------------------------------------------------------------------------------


def test_a_unit_is_all_or_nothing(store):
    store.set_fact("name", b"before")
    with interrupted(store):
        store.set_fact("name", b"after")
        add_job(store)
    assert store.fact("name") == b"before"
    assert store.jobs() == []


def test_units_within_a_unit_belong_to_it(store):
    with interrupted(store), store.unit():
        store.set_fact("inner", b"1")
    assert store.fact("inner") is None


def test_nothing_of_a_unit_is_seen_outside_before_it_ends(store, path):
    other = Store(path)
    with store.unit():
        store.set_fact("name", b"1")
        raw = sqlite3.connect(path)
        assert raw.execute("SELECT count(*) FROM meta WHERE name = 'name'").fetchone() == (0,)
        raw.close()
    assert other.fact("name") == b"1"
    other.close()


def test_after_a_failed_unit_the_next_one_works(store):
    with interrupted(store):
        store.set_fact("name", b"1")
    store.set_fact("name", b"2")
    assert store.fact("name") == b"2"


# --- processes ------------------------------------------------------------------------------------


def test_everything_is_there_after_reopening(path):
    store = Store(path)
    add_job(store)
    store.add_update(update(1, "a"))
    store.set_fact("turn", b"1")
    store.close()
    again = Store(path)
    assert again.job("job").phase == "waiting"
    assert again.senders(1) == ["a"]
    assert again.fact("turn") == b"1"
    again.close()


def test_a_process_killed_in_a_unit_leaves_nothing_of_it(path):
    Store(path).close()
    code = f"""
        import os, pathlib, signal
        from coordinator.store import Store
        store = Store(pathlib.Path({str(path)!r}))
        store.set_fact("whole", b"1")
        with store.unit():
            store.set_fact("half", b"1")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=False)
    assert run.returncode == -9
    store = Store(path)
    assert (store.fact("whole"), store.fact("half")) == (b"1", None)
    store.close()


def test_another_process_is_noticed_by_its_changes_one_s_own_are_not(store, path):
    before = store.changes()
    store.set_fact("own", b"1")
    assert store.changes() == before
    other = Store(path)
    other.set_fact("theirs", b"1")
    other.close()
    assert store.changes() != before
    assert store.fact("theirs") == b"1"


def test_the_store_is_its_owners_alone(store, path):
    assert path.stat().st_mode & 0o077 == 0


def test_a_copy_is_whole_and_its_owners_alone(store, path, tmp_path):
    add_job(store)
    store.add_update(update(1, "a"))
    copied = tmp_path / "it's a copy.db"
    store.copy_to(copied)
    store.set_fact("later", b"1")
    store.copy_to(tmp_path / "second.db")
    assert copied.stat().st_mode & 0o077 == 0
    copy = Store(copied)
    assert copy.job("job").task == b"task"
    assert copy.senders(1) == ["a"]
    assert copy.fact("later") is None
    copy.close()


def test_a_copy_may_replace_an_older_one(store, tmp_path):
    store.copy_to(tmp_path / "copy.db")
    store.set_fact("later", b"1")
    store.copy_to(tmp_path / "copy.db")
    copy = Store(tmp_path / "copy.db")
    assert copy.fact("later") == b"1"
    copy.close()


# --- trouble --------------------------------------------------------------------------------------


def fill(store: Store) -> None:
    """Let the database grow no more, as on a full disk."""
    pages = store._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    store._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")


def write_both(store: Store) -> None:
    with store.unit():
        store.set_fact("small", b"1")
        store.set_fact("large", bytes(10**6))


def test_a_full_disk_is_a_storage_error_and_nothing_is_half_written(store):
    fill(store)
    with pytest.raises(StorageError, match="full"):
        write_both(store)
    assert (store.fact("small"), store.fact("large")) == (None, None)


def test_after_a_full_disk_small_things_still_fit(store):
    fill(store)
    with pytest.raises(StorageError):
        store.set_fact("large", bytes(10**6))
    store.set_fact("small", b"1")
    assert store.fact("small") == b"1"


def test_a_place_that_cannot_hold_a_store_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot open the store"):
        Store(tmp_path / "nowhere" / "qfleet.db")
    (tmp_path / "text.db").write_text("this is no database, " * 100)
    with pytest.raises(StorageError, match="not a database"):
        Store(tmp_path / "text.db")


# --- migrations -----------------------------------------------------------------------------------


def test_migrations_make_every_table_of_an_empty_database_and_run_once(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with engine.begin() as connection:
        assert schema.migrate(connection) == [name for name, _ in schema.MIGRATIONS]
        assert schema.migrate(connection) == []
        tables = set(sa.inspect(connection).get_table_names())
    engine.dispose()
    assert tables == set(schema.metadata.tables)


def test_migrations_are_named_in_order():
    names = [name for name, _ in schema.MIGRATIONS]
    assert names == sorted(set(names))


# --- updates and rounds ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "twin",
    [
        update(1, "a"),
        update(1, "a", id=b"new", sequence=9),
        update(2, "b", id=b"a/1"),
        update(2, "a", sequence=1),
    ],
)
def test_an_update_is_kept_once_by_its_id_its_box_and_turn_and_its_frame(store, twin):
    assert store.add_update(update(1, "a"))
    assert not store.add_update(twin)
    assert store.senders(1) == ["a"]
    assert store.senders(2) == []


def test_dropped_payloads_leave_the_knowledge_that_they_came(store):
    store.add_update(update(1, "a"))
    store.drop_payloads(1)
    assert payloads(store, 1) == []
    assert store.senders(1) == ["a"]
    assert store.knows_update(b"a/1")
    assert not store.add_update(update(1, "a"))


def test_updates_come_in_the_order_of_their_boxes(store):
    for box in "cab":
        store.add_update(update(1, box))
    with store.updates(1) as rows:
        assert [row.box for row in rows] == ["a", "b", "c"]


def test_the_last_turn_of_a_box_is_its_last_training_round_that_counted(store):
    for turn in range(1, 5):
        store.add_update(update(turn, "a", metrics=told(turn)))
    close_round(store, 1)
    close_round(store, 2)
    close_round(store, 3, outcome="missed")
    close_round(store, 4, kind=2)
    assert store.last_metrics("job") == {"a": told(2)}


def test_the_newest_model_is_that_of_the_highest_turn(store):
    for turn, data in ((0, b"first"), (5, b"newest"), (3, b"older")):
        values = {"digest": data, "job": "job", "turn": turn, "kind": "model", "data": data}
        store.save_model(values)
    assert store.model("job", "model").data == b"newest"
    assert [row.data for row in store.model_history("job")] == [b"first", b"older", b"newest"]
    assert store.model("job", "features") is None


def test_a_state_is_found_by_its_phase_too(store):
    add_job(store)
    state = new_job("job", RULES, moments=False)
    store.save_state(replace(state, phase=Phase.STOPPED))
    assert store.job("job").phase == "stopped"


def test_bytes_of_a_round_add_up(store):
    close_round(store, 1)
    store.count_bytes(1, 10, 1)
    store.count_bytes(1, 5, 2)
    (row,) = store.rounds("job")
    assert (row.bytes_up, row.bytes_down) == (15, 3)
