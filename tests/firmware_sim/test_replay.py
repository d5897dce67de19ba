"""Recorded runs played again through the round table."""

from pathlib import Path

import pytest

from coordinator.recording import Recorder
from firmware_sim.emulation import Settings, emulate
from firmware_sim.fleet import Fleet
from firmware_sim.replay import replay
from proto.errors import ConfigError, StorageError
from tests.firmware_sim.test_emulation import scenario


@pytest.fixture
def record(tmp_path: Path) -> Path:
    more = (
        '[[script]]\ndo = "kill-coordinator"\nstate = "collecting"\nround = 2\nlength = "20s"\n'
        '[[script]]\ndo = "kill"\nclients = [3]\nat = "20s"\n'
    )
    path = tmp_path / "record.jsonl"
    result = emulate(scenario(tmp_path, more), 0, Settings(record=path))
    (tmp_path / "rounds").write_text(
        repr(
            [
                (r.turn, r.kind, r.round, r.outcome, len(r.asked), len(r.included))
                for r in result.rounds
            ]
        )
    )
    return path


def test_a_record_replays_to_the_rounds_of_the_run_restarts_and_all(record: Path, tmp_path: Path):
    found = replay(record)
    rows = [
        (r.turn, r.kind, r.round, r.outcome, len(r.asked), len(r.included)) for r in found.rounds
    ]
    assert repr(rows) == (tmp_path / "rounds").read_text()
    assert found.untrue == ()
    assert found.phases == {"fleet": "finished"}


def test_a_record_without_one_of_its_events_is_found_untrue(record: Path):
    lines = record.read_bytes().splitlines(keepends=True)
    late = next(n for n, line in enumerate(lines) if b'"event":"Restarted"' in line and n > 5)
    stored = max(n for n in range(late) if b'"event":"Published"' in lines[n])
    record.write_bytes(b"".join(lines[:stored] + lines[stored + 1 :]))
    assert replay(record).untrue


def test_a_real_coordinators_record_replays_to_what_its_store_holds(tmp_path: Path):
    from tests.flow.test_faults import NAMES, finish, own_rows, task

    fleet = Fleet(tmp_path)
    fleet.record = Recorder(tmp_path / "record.jsonl")
    store = fleet.start_coordinator()
    for seed, name in enumerate(NAMES):
        fleet.add_box(name, own_rows(tmp_path / f"{name}.csv", seed))
    fleet.submit(task())
    finish(fleet)
    found = replay(tmp_path / "record.jsonl")
    assert [(r.turn, r.round, r.outcome, len(r.included)) for r in found.rounds] == [
        (r.turn, r.round, r.outcome, r.included) for r in store.rounds("job")
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json\n", "line 1 is no event of a record"),
        ('{"at":1.0,"job":"j","event":"Nothing","what":{}}\n', "line 1 is no event of a record"),
        ('{"at":1.0,"job":"j","event":"Tick","what":{}}\n', "before its state"),
    ],
)
def test_what_is_no_record_is_refused_by_its_line(tmp_path: Path, text: str, says: str):
    path = tmp_path / "record.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        replay(path)


def test_files_that_are_not_there_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read"):
        replay(tmp_path / "none")
    with pytest.raises(StorageError, match="cannot record"):
        Recorder(tmp_path / "no" / "folder")
