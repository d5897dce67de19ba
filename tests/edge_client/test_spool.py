"""The outbox keeps what it promised to keep, whatever happens to the process or the disk."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge_client.journal import COMPACT_AT
from edge_client.spool import MAX_KEPT, Spool
from proto.errors import StorageError
from proto.messages import Era, Update


def update(number: int, size: int = 100) -> Update:
    return Update(
        id=number.to_bytes(16, "big"),
        turn=number,
        model=bytes(32),
        rows=40,
        payload=bytes([number % 256]) * size,
        metrics=None,
    )


def reopened(spool: Spool, folder: Path) -> Spool:
    spool.close()
    return Spool(folder)


def test_what_was_put_is_there_after_a_restart_oldest_first(tmp_path):
    spool = Spool(tmp_path)
    for number in (3, 1, 2):
        spool.put(update(number))
    again = reopened(spool, tmp_path)
    assert list(again.waiting().values()) == [3, 1, 2]
    assert again.get(update(1).id) == update(1)
    again.close()


def test_what_was_dropped_stays_away(tmp_path):
    spool = Spool(tmp_path)
    spool.put(update(1))
    spool.put(update(2))
    spool.drop(update(1).id)
    spool.drop(update(1).id)
    again = reopened(spool, tmp_path)
    assert list(again.waiting().values()) == [2]
    again.close()


def test_an_update_that_is_not_there_is_a_storage_error(tmp_path):
    spool = Spool(tmp_path)
    with pytest.raises(StorageError, match="no update"):
        spool.get(bytes(16))
    spool.close()


def test_the_outbox_is_its_owners_alone(tmp_path):
    spool = Spool(tmp_path / "outbox")
    spool.put(update(1))
    for path in (tmp_path / "outbox", *(tmp_path / "outbox").iterdir()):
        assert path.stat().st_mode & 0o077 == 0
    spool.close()


def test_an_update_that_was_put_survives_kill_9(tmp_path):
    code = f"""
        import os, pathlib, signal
        from edge_client.spool import Spool
        from tests.edge_client.test_spool import update
        Spool(pathlib.Path({str(tmp_path)!r})).put(update(7))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, timeout=60, check=False, cwd=root).returncode == -signal.SIGKILL
    spool = Spool(tmp_path)
    assert spool.get(update(7).id) == update(7)
    spool.close()


@pytest.mark.parametrize("cut", [1, 8, 60, 149])
def test_a_torn_last_record_costs_only_itself(tmp_path, cut):
    spool = Spool(tmp_path)
    spool.put(update(1))
    spool.put(update(2))
    spool.close()
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - cut)
    again = Spool(tmp_path)
    assert list(again.waiting().values()) == [1]
    again.put(update(3))
    again = reopened(again, tmp_path)
    assert list(again.waiting().values()) == [1, 3]
    again.close()


def test_a_damaged_file_stops_nobody_from_starting(tmp_path):
    spool = Spool(tmp_path)
    spool.put(update(1))
    spool.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(os.urandom(500))
    again = Spool(tmp_path)
    assert again.waiting() == {}
    again.put(update(2))
    assert list(reopened(again, tmp_path).waiting().values()) == [2]


def test_what_was_dropped_stays_away_though_no_room_is_left_to_tidy_up(tmp_path):
    spool = Spool(tmp_path)
    for number in (1, 2, 3):
        spool.put(update(number, COMPACT_AT // 2))
    (path,) = tmp_path.iterdir()
    path.with_suffix(f"{path.suffix}.new").mkdir()  # nothing can be written under this name
    spool.drop(update(1).id)
    spool.drop(update(2).id)
    again = reopened(spool, tmp_path)
    assert list(again.waiting().values()) == [3]
    again.close()


def test_a_full_disk_is_a_storage_error_and_nothing_is_half_written(tmp_path):
    """A limit on file sizes, in a process of its own, stands for the full disk."""
    code = f"""
        import pathlib, resource, signal
        from edge_client.spool import Spool
        from proto.errors import StorageError
        from tests.edge_client.test_spool import update
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spool = Spool(pathlib.Path({str(tmp_path)!r}))
        spool.put(update(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            spool.put(update(2, 5000))
        except StorageError as error:
            print("said:", error)
        spool.put(update(3))
        print("kept:", list(spool.waiting().values()))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, timeout=60, check=True, cwd=root, capture_output=True, text=True)
    assert "said: cannot write" in run.stdout
    assert "kept: [1, 3]" in run.stdout
    spool = Spool(tmp_path)
    assert list(spool.waiting().values()) == [1, 3]
    spool.close()


def test_more_than_it_can_ever_need_is_refused(tmp_path):
    spool = Spool(tmp_path)
    for number in range(MAX_KEPT):
        spool.put(update(number))
    with pytest.raises(StorageError, match=f"holds {MAX_KEPT} updates"):
        spool.put(update(MAX_KEPT))
    spool.drop(update(0).id)
    spool.put(update(MAX_KEPT))
    spool.close()


def test_its_file_does_not_grow_for_ever(tmp_path):
    spool = Spool(tmp_path)
    spool.put(update(0))
    for number in range(1, 60):
        spool.put(update(number, 60_000))
        spool.drop(update(number).id)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 2 * 1024 * 1024
    again = reopened(spool, tmp_path)
    assert list(again.waiting().values()) == [0]
    again.close()


ERA, NEXT = Era(number=1, nonce=bytes(8)), Era(number=2, nonce=bytes(8))


def test_the_turns_taken_are_remembered_beside_the_updates(tmp_path):
    spool = Spool(tmp_path)
    spool.remember(ERA, {"a": 3})
    spool.put(update(1))
    spool.remember(ERA, {"a": 3, "b": 5})
    again = reopened(spool, tmp_path)
    assert (again.seen.era, again.seen.turns) == (ERA, {"a": 3, "b": 5})
    assert list(again.waiting().values()) == [1]
    again.remember(NEXT, {})
    last = reopened(again, tmp_path)
    assert (last.seen.era, last.seen.turns) == (NEXT, {})
    last.close()


def test_turns_alone_do_not_make_the_file_grow_for_ever(tmp_path):
    spool = Spool(tmp_path)
    spool.put(update(1))
    for turn in range(400):
        spool.remember(ERA, {f"job-{n}": turn for n in range(400)})
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 2 * 1024 * 1024
    again = reopened(spool, tmp_path)
    assert set(again.seen.turns.values()) == {399}
    assert list(again.waiting().values()) == [1]
    again.close()
