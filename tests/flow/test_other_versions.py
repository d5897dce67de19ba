"""A store that another version of Qfleet wrote is refused with what to do, and left as it is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.store import Store
from firmware_sim.fleet import Fleet
from proto.errors import ConfigError, StorageError
from tests.flow.test_faults import finish, make, task, until_round


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Whose job is over and whose coordinator is away."""
    found = make(tmp_path)
    found.submit(task(1))
    finish(found)
    found.kill_coordinator()
    return found


def change(fleet: Fleet, sql: str) -> bytes:
    path = fleet.home / "coordinator" / "qfleet.db"
    with closing(sqlite3.connect(path)) as store:
        assert store.execute(sql).rowcount != 0
        store.commit()
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def refused(fleet: Fleet, *words: str) -> str:
    found = CliRunner().invoke(app, [*words, "--home", str(fleet.home / "coordinator")])
    assert isinstance(found.exception, ConfigError | StorageError)
    assert "another version of Qfleet" in str(found.exception)
    assert "another --home" in str(found.exception)
    return str(found.exception)


@pytest.mark.parametrize(
    ("change_to", "what"),
    [
        ("state = replace(state, '\"job\"', '\"task\"')", "the state of job job"),
        ("task = CAST('{}' AS BLOB)", "the task of job job"),
    ],
)
def test_a_job_of_another_version_stops_the_coordinator_with_a_word(tmp_path, change_to, what):
    fleet = make(tmp_path)
    fleet.submit(task(3))
    until_round(fleet, 2)
    fleet.kill_coordinator()
    change(fleet, f"UPDATE jobs SET {change_to}")
    fleet.start_coordinator()
    with pytest.raises(ConfigError, match=f"{what} was written by another version"):
        fleet.run(lambda: False, 10.0)


@pytest.mark.parametrize("words", [("list",), ("show", "job"), ("decisions", "job")])
def test_commands_that_read_a_job_of_another_version_say_so(fleet, words):
    state = "replace(state, '\"phase\"', '\"stage\"'), '\"rules\":{', '\"rules\":[{'"
    change(fleet, f"UPDATE jobs SET state = replace({state})")
    assert "the state of job job" in refused(fleet, *words)


def test_a_plan_and_figures_of_another_version_are_told_by_their_turn(fleet):
    change(fleet, "UPDATE rounds SET plan = replace(plan, 'cohort', 'chosen')")
    assert "the plan of turn 1" in refused(fleet, "decisions", "job")
    change(fleet, "UPDATE rounds SET result = replace(result, ':', '::') WHERE result NOT NULL")
    assert "what turn 1 brought" in refused(fleet, "show", "job")


def test_a_store_without_a_column_is_refused_by_its_name_and_keeps_every_byte(fleet):
    fleet.store.close()
    before = change(fleet, "ALTER TABLE updates DROP COLUMN stale")
    assert "it has no updates.stale" in refused(fleet, "list")
    assert (fleet.home / "coordinator" / "qfleet.db").read_bytes() == before


def test_a_store_that_a_newer_release_has_changed_is_refused(fleet):
    fleet.store.close()
    change(fleet, "INSERT INTO migrations VALUES ('9999-later')")
    assert "it has had the change 9999-later" in refused(fleet, "list")


def test_somebody_elses_database_is_refused_and_nothing_added_to_it(tmp_path):
    path = tmp_path / "qfleet.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE jobs (title TEXT)")
        theirs.commit()
    with pytest.raises(StorageError, match=r"it has no jobs\.id"):
        Store(path)
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("jobs",)]
