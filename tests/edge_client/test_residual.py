"""Error feedback: a residual counts once its update is in a model, and not before."""

import numpy as np
import pytest

from edge_client.residual import keep, of_turn, owed
from proto.errors import StorageError
from quantization.pack import pack, unpack_vector
from quantization.scheme import Scheme

BEFORE, AFTER = np.full(3, 1, np.float32), np.full(3, 2, np.float32)


def kept(home, turn=5):
    keep(home, "job", of_turn(b"task", turn, BEFORE, AFTER))


def test_nothing_is_owed_at_first(tmp_path):
    assert owed(tmp_path, "job", b"task", 3, 0).tolist() == [0, 0, 0]


def test_the_residual_is_committed_once_its_update_is_in_a_model(tmp_path):
    kept(tmp_path)
    assert owed(tmp_path, "job", b"task", 3, counted=5).tolist() == AFTER.tolist()


def test_the_one_before_is_restored_when_the_update_missed(tmp_path):
    kept(tmp_path)
    assert owed(tmp_path, "job", b"task", 3, counted=4).tolist() == BEFORE.tolist()


@pytest.mark.parametrize(("job", "task", "size"), [("other", b"task", 3), ("job", b"new", 3)])
def test_another_job_or_task_owes_nothing(tmp_path, job, task, size):
    kept(tmp_path)
    assert not owed(tmp_path, job, task, size, 5).any()


def test_another_size_owes_nothing(tmp_path):
    kept(tmp_path)
    assert owed(tmp_path, "job", b"task", 4, 5).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_a_damaged_file_owes_nothing(tmp_path, cut):
    kept(tmp_path)
    path = next((tmp_path / "residuals").iterdir())
    path.write_bytes(path.read_bytes()[:cut])
    assert owed(tmp_path, "job", b"task", 3, 5).tolist() == [0, 0, 0]


def test_a_disk_that_refuses_is_told(tmp_path):
    (tmp_path / "residuals").write_text("no folder")
    with pytest.raises(StorageError, match="cannot write"):
        kept(tmp_path)


def test_with_feedback_all_of_a_steady_change_arrives_in_time(tmp_path):
    """Top-k alone would send the same tenth for ever."""
    layout, scheme = (("w", (100,)),), Scheme(8, 64, 0.1)
    change = np.linspace(0.1, 1.0, 100, dtype=np.float32)
    arrived = np.zeros(100)
    for turn in range(1, 201):
        before = owed(tmp_path, "job", b"task", 100, turn - 1)
        wanted = change + before
        data = pack({"w": wanted}, layout, scheme, np.random.default_rng(turn))
        sent = unpack_vector(data, layout, scheme)
        keep(tmp_path, "job", of_turn(b"task", turn, before, wanted - sent))
        arrived += sent
    assert np.abs(arrived / 200 - change).max() < 0.1
